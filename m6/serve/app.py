"""The HTTP interface: OpenAI's routes for texts, pictures and paintings, a few of our own, and the studio page.

request -> Service -> Job -> events -> answer, whole or as a stream of server-sent events
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from m6.config import UserError
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.generate.decoding import Decoding
from m6.generate.sampling import MAX_SEED, Sampling
from m6.serve import schema
from m6.serve.asked import understood
from m6.serve.door import ERRORS, Door, answer_of, refuse_as_openai, sent
from m6.serve.service import LENGTHS, Service, png
from m6.serve.task import Task, ended, settled

STUDIO = Path(__file__).parent / "studio"
EXAMPLES = ("1F34E", "1F431", "1F697")  # 苹果, 猫, 汽车 of the bundled pictures


STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Whole, or with `stream` as server-sent events", "content": {"text/event-stream": {}}}
}


class Piece(NamedTuple):
    """A piece of a text that is written."""

    number: int  # of the answer
    text: str  # what is new
    whole: str  # all so far
    reason: str  # why it ends; "" if it does not
    tokens: int  # so far


def make_app(service: Service) -> FastAPI:
    """The app of a run."""
    app = FastAPI(title="M6", version="1", docs_url="/docs", redoc_url=None, responses=ERRORS)
    names = {"id": service.name, "pixels": service.engine.picture_size, "able": service.able, "created": service.made}

    @app.get("/v1/models")
    async def models() -> schema.Models:
        return schema.Models(data=[schema.Model(**names)])

    @app.post("/v1/chat/completions", response_model=schema.ChatAnswer, responses=STREAM)
    async def chat(asked: schema.ChatRequest, request: Request) -> Any:
        task, text, url = understood(asked)
        image = await service.pictures.read(url, ends=request.state.ends) if url else None
        most = asked.max_completion_tokens or asked.max_tokens
        return await write(asked, request, task, text, image, asked.form, most, "chat")

    @app.post("/v1/completions", response_model=schema.CompletionAnswer, responses=STREAM)
    async def completions(asked: schema.CompletionRequest, request: Request) -> Any:
        if not asked.prompt.strip():
            raise UserError("prompt: it is empty")
        return await write(asked, request, "question", asked.prompt, None, "", asked.max_tokens, "text")

    async def write(
        asked: schema.Sampled, request: Request, task: str, text: str, image: bytes | None, form: str, most: int | None,
        kind: Literal["chat", "text"],
    ) -> Any:  # fmt: skip
        seed = asked.seed if asked.seed is not None else secrets.randbelow(MAX_SEED)
        decoding = Decoding(temperature=asked.temperature, top_p=asked.top_p, seed=seed)
        work = Task()
        if image is None:
            prefix = service.prefix(task, text, None, form)
        else:
            service.reading.check()
            prefix = await service.reading.run(request.state.ends, service.prefix, task, text, image, form)
        limit = min(most or LENGTHS[task], LENGTHS[task])
        stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        watched = asked.stream or bool(stops)  # else an answer that ends is enough
        with work.beginning() as jobs:
            for index in range(asked.n):
                jobs[index] = service.write(
                    work.tell(index), request.state.ends, task, prefix, decoding, limit, form, index, watched
                )
        about = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": service.name}
        pieces = written(work, request, stops, limit)
        if asked.stream:
            return StreamingResponse(streamed(pieces, kind, about), media_type="text/event-stream")
        found = {piece.number: piece async for piece in pieces if piece.reason}
        choices: list[dict[str, Any]] = []
        for index in range(asked.n):
            said = found[index].whole
            content = {"message": {"content": said}} if kind == "chat" else {"text": said}
            choices.append({"index": index, "finish_reason": found[index].reason, **content})
        read = sum(len(getattr(segment, "ids", ())) for segment in prefix)
        made = sum(piece.tokens for piece in found.values())
        usage = {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
        return {**about, "choices": choices, "usage": usage}

    async def written(work: Task, request: Request, stops: Sequence[str], limit: int) -> AsyncIterator[Piece]:
        told: dict[int, str] = {}
        decode = service.engine.tokenizer.decode
        async for index, event in work.events(request):
            done = event.kind == "done"
            text = decode(event.value if done else service.steady(event.value))
            cut = ended(text, stops)
            if cut is not None:
                work.end(index)
            whole = cut if cut is not None else text if done else settled(text, stops)
            reason = "stop" if cut is not None else ("length" if len(event.value) >= limit else "stop") if done else ""
            before = told.get(index, "")
            if reason or len(whole) > len(before):
                told[index] = whole
                yield Piece(index, whole[len(before) :], whole, reason, len(event.value))

    async def streamed(pieces: AsyncIterator[Piece], kind: str, about: dict[str, Any]) -> AsyncIterator[str]:
        name = "chat.completion.chunk" if kind == "chat" else "text_completion"

        def chunk(index: int, piece: str | None, reason: str | None) -> str:
            content = (
                {"delta": {} if piece is None else {"content": piece}} if kind == "chat" else {"text": piece or ""}
            )
            return sent({**about, "object": name, "choices": [{"index": index, **content, "finish_reason": reason}]})

        try:
            async for piece in pieces:
                if piece.text:
                    yield chunk(piece.number, piece.text, None)
                if piece.reason:
                    yield chunk(piece.number, None, piece.reason)
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield sent(answer_of(error)[1])

    @app.post("/v1/images/generations", response_model=schema.PaintAnswer, responses=STREAM)
    async def paint(asked: schema.PaintRequest, request: Request) -> Any:
        if asked.best > asked.n:
            raise UserError(f"best {asked.best}: it has to be at most n, here {asked.n}")
        highest = MAX_SEED - asked.n + 1
        seed = asked.seed if asked.seed is not None else secrets.randbelow(highest)
        if seed > highest:
            raise UserError(f"seed {seed}: with n {asked.n} it has to be at most {highest}")
        work = Task()
        size = "" if asked.size in (None, "auto") else asked.size or ""
        at_once = max(1, service.scheduler.most_paintings // (1 if asked.guidance == 1.0 else 2))
        with work.beginning() as jobs:
            for start in range(0, asked.n, at_once):
                count, drawn = min(at_once, asked.n - start), Sampling(temperature=asked.temperature, seed=seed + start)
                jobs[start] = service.paint(
                    work.tell(start), request.state.ends, asked.prompt, count, size, drawn, asked.guidance,
                    asked.stream, asked.best,
                )  # fmt: skip
        pictures = painted(work, request, asked.prompt, asked.best, seed)
        if asked.stream:
            return StreamingResponse(shown(pictures), media_type="text/event-stream")
        found = [picture async for kind, picture in pictures if kind == "completed"]
        if not asked.best:
            found.sort(key=lambda picture: picture["index"])
        return {"created": int(time.time()), "data": found}

    async def painted(
        work: Task, request: Request, prompt: str, best: int, seed: int
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Pictures as they come; those that are chosen among all, best first, when all are there."""
        all_of: dict[int, tuple[Any, dict[str, Any]]] = {}
        async for start, event in work.events(request):
            pixels = await asyncio.to_thread(service.pixels, event.value)
            for index, one in enumerate(pixels, start=start):
                about = {"index": index, "seed": seed + index, "b64_json": await asyncio.to_thread(png, one)}
                if event.kind == "done":
                    all_of[index] = one, about
                yield "completed" if event.kind == "done" and not best else "partial_image", about
        if best:
            rows = [all_of[index] for index in sorted(all_of)]
            pixels = [one for one, _ in rows]
            scores = await service.scoring.run(request.state.ends, service.scores, pixels, prompt)
            for index in sorted(range(len(rows)), key=lambda index: -scores[index])[:best]:
                yield "completed", {**rows[index][1], "score": scores[index]}

    async def shown(pictures: AsyncIterator[tuple[str, dict[str, Any]]]) -> AsyncIterator[str]:
        try:
            async for kind, about in pictures:
                yield sent({"type": f"image_generation.{kind}", **about})
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield sent(answer_of(error)[1])

    @app.post("/v1/match")
    async def match(asked: schema.MatchRequest, request: Request) -> schema.MatchAnswer:
        ends = request.state.ends
        image = await service.pictures.read(asked.image, "image", ends)
        service.scoring.check()
        scores = await service.scoring.run(ends, service.match, image, asked.texts, ends)
        return schema.MatchAnswer(scores=scores)

    @app.get("/healthz", response_class=PlainTextResponse)
    @app.get("/readyz", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "ok\n"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        scheduler = service.scheduler
        waiting = scheduler.waiting + service.scoring.waiting
        gauges = {"waiting": waiting, "working": scheduler.working}
        lines = [
            f"# TYPE m6_{name}_total counter\nm6_{name}_total {value}" for name, value in vars(scheduler.counts).items()
        ]
        lines += [f"# TYPE m6_{name} gauge\nm6_{name} {value}" for name, value in gauges.items()]
        return "\n".join([*lines, ""])

    @app.get("/examples/{number}.png", include_in_schema=False)
    async def example(number: int) -> Response:
        row = next(
            (row for row in emoji_rows() if 1 <= number <= len(EXAMPLES) and EXAMPLES[number - 1] == code(row)), None
        )
        if row is None:
            raise HTTPException(404, "no such example")
        return Response(emoji_pictures()[row["file"]], media_type="image/png")

    refuse_as_openai(app)
    app.add_middleware(Door, service=service)
    if STUDIO.is_dir():
        app.mount("/", StaticFiles(directory=STUDIO, html=True), name="studio")
    return app


def code(row: dict[str, Any]) -> str:
    """The code points of a bundled picture, as file names have them."""
    return "-".join(f"{ord(character):X}" for character in row["emoji"])
