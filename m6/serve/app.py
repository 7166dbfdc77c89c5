"""The HTTP interface: OpenAI's routes for texts, pictures and paintings, a few of our own, and the studio page.

request -> Service -> Job -> events -> answer, whole or as a stream of server-sent events
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from m6.config import UserError
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.data.poem_forms import form_of
from m6.generate.decoding import Decoding
from m6.generate.sampling import GREEDY, MAX_SEED, Sampling
from m6.serve import schema
from m6.serve.asked import understood
from m6.serve.door import ERRORS, Door, UnknownModelError, answer_of, refuse_as_openai, sent
from m6.serve.metrics import PLAIN
from m6.serve.service import LENGTHS, POEM, UPDATES, Service, png
from m6.serve.task import Task, ended, settled

STUDIO = Path(__file__).parent / "studio"
EXAMPLES = ("1F34E", "1F431", "1F697")  # 苹果, 猫, 汽车 of the bundled pictures
ANY_NAME = "m6"
"""Names whatever is served."""

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
    app = FastAPI(
        title="M6", version="1", docs_url="/docs", redoc_url=None, responses=ERRORS, redirect_slashes=False
    )  # fmt: skip
    key = [Depends(HTTPBearer(auto_error=False))] if service.config.api_key else []  # told; the door asks for it
    v1 = APIRouter(prefix="/v1", dependencies=key)
    names = {"id": service.name, "pixels": service.engine.picture_size, "able": service.able, "created": service.made}

    def check_model(name: str | None) -> None:
        if name and name not in (service.name, ANY_NAME):
            raise UnknownModelError(f"model {name!r}: this server has {service.name}; ask for that, or for none")

    @v1.get("/models")
    async def models() -> schema.Models:
        return schema.Models(data=[schema.Model(**names)])

    @v1.get("/models/{name}")
    async def model(name: str) -> schema.Model:
        check_model(name)
        return schema.Model(**names)

    @v1.post("/chat/completions", response_model=schema.ChatAnswer, responses=STREAM)
    async def chat(asked: schema.ChatRequest, request: Request) -> Any:
        check_model(asked.model)
        task, text, url = understood(asked)
        image = await service.pictures.read(url, ends=request.state.ends) if url else None
        most = asked.max_completion_tokens or asked.max_tokens
        form = form_of(asked.form) if asked.form else ""
        return await write(asked, request, task, text, image, form, most, "chat")

    @v1.post("/completions", response_model=schema.CompletionAnswer, responses=STREAM)
    async def completions(asked: schema.CompletionRequest, request: Request) -> Any:
        check_model(asked.model)
        if not asked.prompt.strip():
            raise UserError("prompt: it is empty")
        return await write(asked, request, "question", asked.prompt, None, "", asked.max_tokens, "text")

    async def write(
        asked: schema.Sampled, request: Request, task: str, text: str, image: bytes | None, form: str, most: int | None,
        kind: Literal["chat", "text"],
    ) -> Any:  # fmt: skip
        seed = asked.seed if asked.seed is not None else secrets.randbelow(MAX_SEED)
        usual = POEM if task == "poem" else GREEDY
        decoding = Decoding(
            temperature=usual.temperature if asked.temperature is None else asked.temperature,
            top_p=usual.top_p if asked.top_p is None else asked.top_p,
            seed=seed,
        )
        work, count = Task(), asked.n or 1
        if image is None:
            prefix = service.prefix(task, text, None, form)
        else:
            service.reading.check()
            prefix = await service.reading.run(request.state.ends, service.prefix, task, text, image, form)
        limit = min(most or LENGTHS[task], LENGTHS[task])
        stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        watched = bool(asked.stream or stops)  # else an answer that ends is enough
        with work.beginning() as jobs:
            for index in range(count):
                jobs[index] = service.write(
                    work.tell(index), request.state.ends, task, prefix, decoding, limit, form, index, watched
                )
        about = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": service.name}
        pieces = written(work, request, stops, limit)
        read = service.length(prefix)
        if asked.stream:
            counted = read if asked.stream_options and asked.stream_options.include_usage else None
            return StreamingResponse(streamed(pieces, kind, about, counted), media_type="text/event-stream")
        found = {piece.number: piece async for piece in pieces if piece.reason}
        choices: list[dict[str, Any]] = []
        for index in range(count):
            said = found[index].whole
            content = {"message": {"content": said}} if kind == "chat" else {"text": said}
            choices.append({"index": index, "finish_reason": found[index].reason, **content})
        return {**about, "choices": choices, "usage": used(read, (piece.tokens for piece in found.values()))}

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

    async def streamed(
        pieces: AsyncIterator[Piece], kind: str, about: dict[str, Any], read: int | None
    ) -> AsyncIterator[str]:
        """Server-sent events; `read`: tokens of the prompt, if the last event is to tell how many were used."""
        about["object"] = "chat.completion.chunk" if kind == "chat" else "text_completion"
        usage = {} if read is None else {"usage": None}
        made: dict[int, int] = {}

        def chunk(index: int, piece: str | None, reason: str | None) -> str:
            delta = {} if index in made else {"role": "assistant"}
            delta |= {} if piece is None else {"content": piece}
            content = {"delta": delta} if kind == "chat" else {"text": piece or ""}
            return sent({**about, "choices": [{"index": index, **content, "finish_reason": reason}], **usage})

        try:
            async for piece in pieces:
                if piece.text:
                    yield chunk(piece.number, piece.text, None)
                    made[piece.number] = piece.tokens
                if piece.reason:
                    yield chunk(piece.number, None, piece.reason)
                    made[piece.number] = piece.tokens
            if read is not None:
                yield sent({**about, "choices": [], "usage": used(read, made.values())})
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield sent(answer_of(error)[1])

    @v1.post("/images/generations", response_model=schema.PaintAnswer, responses=STREAM)
    async def paint(asked: schema.PaintRequest, request: Request) -> Any:
        check_model(asked.model)
        n, best = asked.n or 1, asked.best or 0
        if best > n:
            raise UserError(f"best {best}: it has to be at most n, here {n}")
        guidance = 1.0 if asked.guidance is None else asked.guidance
        temperature = 1.0 if asked.temperature is None else asked.temperature
        shown = (UPDATES - 1 if asked.partial_images is None else asked.partial_images) if asked.stream else 0
        highest = MAX_SEED - n + 1
        seed = asked.seed if asked.seed is not None else secrets.randbelow(highest)
        if seed > highest:
            raise UserError(f"seed {seed}: with n {n} it has to be at most {highest}")
        work = Task()
        size = "" if asked.size in (None, "auto") else asked.size or ""
        at_once = max(1, service.scheduler.most_paintings // (1 if guidance == 1.0 else 2))
        with work.beginning() as jobs:
            for start in range(0, n, at_once):
                count, drawn = min(at_once, n - start), Sampling(temperature=temperature, seed=seed + start)
                jobs[start] = service.paint(
                    work.tell(start), request.state.ends, asked.prompt, count, size, drawn, guidance,
                    shown, best,
                )  # fmt: skip
        pictures = painted(work, request, asked.prompt, best, seed)
        if asked.stream:
            return StreamingResponse(told(pictures), media_type="text/event-stream")
        found = [picture async for kind, picture in pictures if kind == "completed"]
        if not best:
            found.sort(key=lambda picture: picture["index"])
        return {"created": int(time.time()), "data": found}

    async def painted(
        work: Task, request: Request, prompt: str, best: int, seed: int
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Pictures as they come; those that are chosen among all, best first, when all are there."""
        all_of: dict[int, tuple[Any, dict[str, Any]]] = {}
        partial: Counter[int] = Counter()
        async for start, event in work.events(request):
            pixels = await asyncio.to_thread(service.pixels, event.value)
            for index, one in enumerate(pixels, start=start):
                about = {"index": index, "seed": seed + index, "b64_json": await asyncio.to_thread(png, one)}
                if event.kind == "done":
                    all_of[index] = one, about
                if event.kind == "done" and not best:
                    yield "completed", about
                else:
                    yield "partial_image", about | {"partial_image_index": partial[index]}
                    partial[index] += 1
        if best:
            rows = [all_of[index] for index in sorted(all_of)]
            made = [one for one, _ in rows]
            scores = await service.scoring.run(request.state.ends, service.scores, made, prompt)
            for index in sorted(range(len(rows)), key=lambda index: -scores[index])[:best]:
                yield "completed", {**rows[index][1], "score": scores[index]}

    async def told(pictures: AsyncIterator[tuple[str, dict[str, Any]]]) -> AsyncIterator[str]:
        try:
            async for kind, about in pictures:
                yield sent({"type": f"image_generation.{kind}", **about})
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield sent(answer_of(error)[1])

    @v1.post("/match")
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
    async def metrics() -> Response:
        return Response(service.metrics.told(), media_type=PLAIN)

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
    app.include_router(v1)
    page = StaticFiles(directory=STUDIO, html=True)

    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        await page(scope, receive, send)

    app.router.default = other  # no mount, which would answer for what others have, but not by this method
    return app


def used(read: int, made: Iterable[int]) -> dict[str, int]:
    """Tokens of a request as OpenAI tells them; `made`: of each answer."""
    written = sum(made)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def code(row: dict[str, Any]) -> str:
    """The code points of a bundled picture, as file names have them."""
    return "-".join(f"{ord(character):X}" for character in row["emoji"])
