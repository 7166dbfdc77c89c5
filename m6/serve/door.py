"""Who is let in, and how it is said that something is wrong: OpenAI's form of errors, keys, sizes, headers."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m6.config import UserError
from m6.serve import schema
from m6.serve.jobs import TimedOutError
from m6.serve.scheduler import BusyError
from m6.serve.service import Service

POLICY = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Failed, "description": description}
    for status, description in (
        (400, "Something in the request is wrong; the message says what"), (401, "The key is missing or wrong"),
        (404, "There is no such model"),
        (408, "The request did not come in time"), (413, "The request is too large"),
        (422, "Not used: such requests get 400"),
        (429, "Too many are waiting; ask again after Retry-After"), (500, "A fault of the server"),
        (503, "The server is closing"), (504, "It took longer than it may"),
    )
}  # fmt: skip
NOWHERE = (HTTPStatus.NOT_FOUND.phrase, HTTPStatus.METHOD_NOT_ALLOWED.phrase)
"""What a framework says of no route; anything but GET is of the second kind, since the page has files alone."""
LOOK = 0.5  # seconds between two looks at whether the server closes
GONE = 499  # nobody reads it; for the log


class GoneError(Exception):
    """The caller has left."""


class UnknownModelError(Exception):
    """A model is asked for that is not served here; the message says which is."""


class Door:
    """Lets requests in: the key, how large they are and how long they take, and what a browser may do with the
    answer. A request finds in `state.ends` when it has to be done, a time of `time.monotonic`."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service, self.key = app, service, service.config.api_key.encode()
        self.most = int(service.config.max_body_mb * 2**20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        right = scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self.key)
        if self.key and scope["path"].startswith("/v1/") and not right:
            line = "the key is missing or wrong; send it as Authorization: Bearer KEY"
            body = schema.failed(line, "authentication_error", "invalid_api_key")
            await JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        too_large = f"the request is larger than {self.most} bytes"
        if length.isdigit() and int(length) > self.most:
            body = schema.failed(too_large, "invalid_request_error", "too_large")
            await JSONResponse(body, 413)(scope, receive, send)
            return
        seen, whole = 0, False
        ends = time.monotonic() + self.service.config.max_seconds
        scope.setdefault("state", {})["ends"] = ends

        async def counted() -> Message:
            nonlocal seen, whole
            message = await (receive() if whole else self._in_time(receive, ends))
            whole = whole or not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, too_large)
            return message

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                extra = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
                if scope["path"] == "/docs":
                    extra.pop("content-security-policy")
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in extra.items())]
            await send(message)

        try:
            await self.app(scope, counted, dressed)
        except asyncio.CancelledError:
            if self.service.closing == float("inf"):
                raise  # else the server has waited long enough: nothing is wrong

    async def _in_time(self, receive: Receive, ends: float) -> Message:
        """What comes next of a body. HTTPException if it does not come in time."""
        while (left := min(ends, self.service.closing) - time.monotonic()) > 0:
            with suppress(TimeoutError):
                return await asyncio.wait_for(receive(), min(left, LOOK))
        late = f"the body has not come within {self.service.config.max_seconds:g} s"
        line = late if time.monotonic() >= ends else "the server closes, and the body has not come"
        raise HTTPException(408, f"{line}; send it again", {"Connection": "close"})


def refuse_as_openai(app: FastAPI) -> None:
    """Makes all errors of an app answers in OpenAI's form."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        status, body = answer_of(_said_better(error, request))
        headers = dict(getattr(error, "headers", None) or {})
        if status in (429, 503):
            headers["Retry-After"] = "1"
        return JSONResponse(body, status, headers)

    for kind in (
        Exception, UserError, BusyError, TimedOutError, GoneError, UnknownModelError, HTTPException,
        RequestValidationError,
    ):  # fmt: skip
        app.add_exception_handler(kind, refuse)


def _said_better(error: Exception, request: Request) -> Exception:
    """The same, or what a caller can make more of."""
    kind = request.headers.get("content-type", "none").partition(";")[0]
    if isinstance(error, RequestValidationError) and request.method == "POST" and not kind.endswith("json"):
        return UserError(f"the header Content-Type is {kind}; it has to be application/json")
    if isinstance(error, HTTPException) and error.detail in NOWHERE:
        line = f"nothing answers {request.method} {request.url.path}; /openapi.json has all that does"
        return HTTPException(error.status_code, line, error.headers)
    return error


def answer_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error."""
    if isinstance(error, BusyError):
        return 429, schema.failed("too many requests are waiting; ask again in a second", "server_busy", "busy")
    if isinstance(error, TimedOutError):
        return 504, schema.failed("it took longer than this server allows; ask for less", "timeout", "timeout")
    if isinstance(error, GoneError):
        return GONE, schema.failed("the caller has left", "invalid_request_error")
    if isinstance(error, UnknownModelError):
        return 404, schema.failed(str(error), "invalid_request_error", "model_not_found", "model")
    if isinstance(error, RequestValidationError):
        where, said = _wrong(error)
        message = f"{where}: {said}" if where else f"the body has to be an object of JSON: {said}"
        return 400, schema.failed(message, "invalid_request_error", param=where or None)
    if isinstance(error, HTTPException):
        return error.status_code, schema.failed(str(error.detail), "invalid_request_error")
    if isinstance(error, UserError):
        return 400, schema.failed(str(error), "invalid_request_error")
    return 500, schema.failed("a fault of the server; its log has more", "server_error")


def _wrong(error: RequestValidationError) -> tuple[str, str]:
    """The field that is wrong, with dots, "" for the whole body; and what is wrong with it."""
    first = error.errors()[0]
    kind, loc = first["type"], first["loc"][1:]
    if kind == "json_invalid":
        text, at = str(error.body), int(loc[0])
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        return "", f"{first['ctx']['error']}, line {line}, column {column}"
    path = [str(part) for part in loc if isinstance(part, int) or part.isidentifier()]  # others are pydantic's own
    where = ".".join(path)
    said = schema.HINTS.get(where) or schema.HINTS.get(path[0] if path else "")
    if said is None:
        wanted = {"string_too_short": "it is empty", "model_attributes_type": "it has to be an object"}
        said = wanted.get(kind, first["msg"])
    return where, f"{said}; a part is {schema.PART}" if schema.PARTS in loc else said


def sent(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
