"""The HTTP interface: OpenAI's routes for texts, pictures and paintings, a few of our own, and the studio page.

request -> Service -> Job -> events -> answer, whole or as a stream of server-sent events
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m6.config import UserError
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.generate.decoding import Decoding
from m6.generate.sampling import MAX_SEED, Sampling
from m6.serve import schema
from m6.serve.jobs import Event, Job, TimedOutError
from m6.serve.scheduler import BusyError
from m6.serve.service import LENGTHS, Service

STUDIO = Path(__file__).parent / "studio"
EXAMPLES = ("1F34E", "1F431", "1F697")  # 苹果, 猫, 汽车 of the bundled pictures
POLICY = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Failed, "description": description}
    for status, description in (
        (400, "Something in the request is wrong; the message says what"), (401, "The key is missing or wrong"),
        (413, "The request is too large"), (422, "Not used: such requests get 400"),
        (429, "Too many are waiting; ask again after Retry-After"), (500, "A fault of the server"),
        (503, "The server is closing"), (504, "It took longer than it may"),
    )
}  # fmt: skip


class Task:
    """One request of one caller: its jobs, and what they make."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self.jobs: list[Job] = []

    def tell(self, index: int) -> Callable[[Event], None]:
        """What job `index` tells its events to."""

        def told(event: Event) -> None:
            with suppress(RuntimeError):  # the server has gone
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return told

    async def events(self, request: Request) -> AsyncIterator[tuple[int, Event]]:
        """All events until all jobs are done. Raises what went wrong; a caller who has gone cancels the jobs."""
        left = len(self.jobs)
        try:
            while left:
                try:
                    index, event = await asyncio.wait_for(self._events.get(), 0.5)
                except TimeoutError:
                    if await request.is_disconnected():
                        return
                    continue
                if event.kind == "failed":
                    raise event.value
                left -= event.kind == "done"
                yield index, event
        finally:
            for job in self.jobs:
                job.cancelled.set()


def make_app(service: Service) -> FastAPI:
    """The app of a run."""
    app = FastAPI(title="M6", version="1", docs_url="/docs", redoc_url=None, responses=ERRORS)
    names = {"id": service.name, "pixels": service.engine.picture_size, "able": service.able, "created": service.made}

    @app.get("/v1/models")
    async def models() -> schema.Models:
        return schema.Models(data=[schema.Model(**names)])

    @app.post("/v1/chat/completions", response_model=schema.ChatAnswer)
    async def chat(asked: schema.ChatRequest, request: Request) -> Any:
        task, text, image = understood(asked)
        most = asked.max_completion_tokens or asked.max_tokens
        return await write(asked, request, task, text, image, asked.form, most, "chat")

    @app.post("/v1/completions", response_model=schema.CompletionAnswer)
    async def completions(asked: schema.CompletionRequest, request: Request) -> Any:
        return await write(asked, request, "question", asked.prompt, None, "", asked.max_tokens, "text")

    async def write(
        asked: schema.Sampled, request: Request, task: str, text: str, image: bytes | None, form: str, most: int | None,
        kind: Literal["chat", "text"],
    ) -> Any:  # fmt: skip
        seed = asked.seed if asked.seed is not None else secrets.randbelow(MAX_SEED)
        decoding = Decoding(temperature=asked.temperature, top_p=asked.top_p, seed=seed)
        work = Task()
        prefix = await asyncio.to_thread(service.prefix, task, text, image, form)
        for index in range(asked.n):
            limit = most or LENGTHS[task]
            work.jobs.append(service.write(work.tell(index), task, prefix, decoding, limit, form, index, asked.stream))
        stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        about = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": service.name}
        limit = min(most or LENGTHS[task], LENGTHS[task])
        if asked.stream:
            body = streamed(work, request, stops, limit, kind, about)
            return StreamingResponse(body, media_type="text/event-stream")
        read = sum(len(getattr(segment, "ids", ())) for segment in prefix)
        ids: dict[int, list[int]] = {}
        async for index, event in work.events(request):
            ids[index] = event.value
        choices = []
        for index in range(len(ids)):
            said, reason = ended(service.engine.tokenizer.decode(ids[index]), ids[index], stops, limit)
            content = {"message": {"content": said}} if kind == "chat" else {"text": said}
            choices.append({"index": index, "finish_reason": reason, **content})
        written = sum(map(len, ids.values()))
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return {**about, "choices": choices, "usage": usage}

    async def streamed(
        work: Task, request: Request, stops: Sequence[str], limit: int, kind: str, about: dict[str, Any]
    ) -> AsyncIterator[str]:
        name = "chat.completion.chunk" if kind == "chat" else "text_completion"
        told: dict[int, str] = {}

        def chunk(index: int, piece: str | None, reason: str | None) -> str:
            content = (
                {"delta": {} if piece is None else {"content": piece}} if kind == "chat" else {"text": piece or ""}
            )
            return sent({**about, "object": name, "choices": [{"index": index, **content, "finish_reason": reason}]})

        with_errors = work.events(request)
        try:
            async for index, event in with_errors:
                before = told.get(index, "")
                ids = event.value if event.kind == "done" else service.steady(event.value)
                text, reason = ended(service.engine.tokenizer.decode(ids), event.value, stops, limit)
                if len(text) > len(before):
                    told[index] = text
                    yield chunk(index, text[len(before) :], None)
                if event.kind == "done":
                    yield chunk(index, None, reason)
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield sent(answer_of(error)[1])

    @app.post("/v1/images/generations", response_model=schema.PaintAnswer)
    async def paint(asked: schema.PaintRequest, request: Request) -> Any:
        seed = asked.seed if asked.seed is not None else secrets.randbelow(MAX_SEED - schema.MOST_CHOICES)
        sampling = Sampling(temperature=asked.temperature, seed=min(seed, MAX_SEED))
        work = Task()
        halves = 1 if asked.guidance == 1.0 else 2
        size = "" if asked.size in (None, "auto") else asked.size or ""
        at_once = max(1, service.scheduler.most_paintings // halves)
        for start in range(0, asked.n, at_once):
            count = min(at_once, asked.n - start)
            drawn = Sampling(temperature=sampling.temperature, seed=(seed + start) % (MAX_SEED + 1))
            work.jobs.append(
                service.paint(work.tell(start), asked.prompt, count, size, drawn, asked.guidance, asked.stream)
            )
        if asked.stream:
            return StreamingResponse(shown(work, request), media_type="text/event-stream")
        found: dict[int, str] = {}
        async for start, event in work.events(request):
            for index, png in enumerate(await asyncio.to_thread(service.pngs, event.value)):
                found[start + index] = png
        return {"created": int(time.time()), "data": [{"b64_json": found[index]} for index in sorted(found)]}

    async def shown(work: Task, request: Request) -> AsyncIterator[str]:
        try:
            async for start, event in work.events(request):
                kind = "completed" if event.kind == "done" else "partial_image"
                for index, png in enumerate(await asyncio.to_thread(service.pngs, event.value)):
                    yield sent({"type": f"image_generation.{kind}", "index": start + index, "b64_json": png})
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield sent(answer_of(error)[1])

    @app.post("/v1/match")
    async def match(asked: schema.MatchRequest) -> schema.MatchAnswer:
        image = decoded(asked.image)
        return schema.MatchAnswer(scores=await asyncio.to_thread(service.match, image, asked.texts))

    @app.get("/healthz", response_class=PlainTextResponse)
    @app.get("/readyz", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "ok\n"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        scheduler = service.scheduler
        gauges = {"waiting": scheduler.waiting, "working": scheduler.working}
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

    @app.exception_handler(Exception)
    @app.exception_handler(UserError)
    @app.exception_handler(BusyError)
    @app.exception_handler(TimedOutError)
    @app.exception_handler(HTTPException)
    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: Exception) -> JSONResponse:
        status, body = answer_of(error)
        headers = {"Retry-After": "1"} if status in (429, 503) else {}
        return JSONResponse(body, status, headers)

    app.add_middleware(Door, key=service.config.api_key, most=int(service.config.max_body_mb * 2**20))
    if STUDIO.is_dir():
        app.mount("/", StaticFiles(directory=STUDIO, html=True), name="studio")
    return app


class Door:
    """Lets requests in: the key, how large they are, and what a browser may do with the answer."""

    def __init__(self, app: ASGIApp, key: str, most: int) -> None:
        self.app, self.key, self.most = app, key.encode(), most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if self.key and scope["path"].startswith("/v1/") and not hmac.compare_digest(given, self.key):
            body = schema.failed("the key is missing or wrong", "authentication_error", "invalid_api_key")
            await JSONResponse(body, 401)(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        too_large = schema.failed(f"the request is larger than {self.most} bytes", "invalid_request_error", "too_large")
        if length.isdigit() and int(length) > self.most:
            await JSONResponse(too_large, 413)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, too_large["error"]["message"])
            return message

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                extra = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
                if scope["path"] == "/docs":
                    extra.pop("content-security-policy")
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in extra.items())]
            await send(message)

        await self.app(scope, counted, dressed)


def understood(asked: schema.ChatRequest) -> tuple[str, str, bytes | None]:
    """The task, the text and the picture of a conversation: those of the last message of the user, and the last
    picture before it. UserError for one that asks nothing."""
    turns = [message for message in asked.messages if message.role == "user"]
    if not turns:
        raise UserError("messages: there is none of the user")
    text, image = "", None
    for message in turns:
        content = message.content
        parts = content if isinstance(content, list) else [schema.Part(type="text", text=content or "")]
        text = "\n".join(part.text for part in parts if part.type == "text" and part.text).strip()
        for part in parts:
            if part.type == "image_url":
                if part.image_url is None:
                    raise UserError("image_url: it is missing")
                image = decoded(part.image_url.url)
    if asked.task == "poem":
        if not text:
            raise UserError("a poem needs a title: send it as the message")
        return "poem", text, None
    if image is not None:
        wanted = "" if asked.task == "caption" or text.startswith(("描述", "说说")) else text
        return ("visual_question" if wanted else "caption"), wanted, image
    if not text:
        raise UserError("messages: the last one of the user is empty")
    return "question", text, None


def decoded(url: str) -> bytes:
    """The bytes of a data URL. UserError for any other."""
    head, comma, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise UserError("image_url: send the picture itself, as data:image/png;base64,...; addresses are not fetched")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise UserError("image_url: what follows base64, is not base64") from None


def ended(text: str, ids: Sequence[int], stops: Sequence[str], limit: int) -> tuple[str, str]:
    """A text up to the first of the stops, and why it ends."""
    found = [text.index(stop) for stop in stops if stop and stop in text]
    if found:
        return text[: min(found)], "stop"
    return text, "length" if len(ids) >= limit else "stop"


def sent(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def answer_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error."""
    if isinstance(error, BusyError):
        return 429, schema.failed("too many requests are waiting; ask again in a second", "server_busy", "busy")
    if isinstance(error, TimedOutError):
        return 504, schema.failed("it took longer than this server allows; ask for less", "timeout", "timeout")
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return 400, schema.failed(f"{where}: {first['msg']}", "invalid_request_error", param=where or None)
    if isinstance(error, HTTPException):
        return error.status_code, schema.failed(str(error.detail), "invalid_request_error")
    if isinstance(error, UserError):
        return 400, schema.failed(str(error), "invalid_request_error")
    return 500, schema.failed("a fault of the server; its log has more", "server_error")


def code(row: dict[str, Any]) -> str:
    """The code points of a bundled picture, as file names have them."""
    return "-".join(f"{ord(character):X}" for character in row["emoji"])
