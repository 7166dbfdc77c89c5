"""What is asked: of a conversation the task, the text and the picture; of a picture's URL the bytes.

A data URL holds the picture itself. Any other address is fetched only if the server was told so, from public addresses
alone, redirects included, for a limited time and up to a limited size (`m6/corpus/fetch/web.py`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

from m6.config import UserError
from m6.corpus.fetch.web import PUBLIC, Limits, Reach, get
from m6.serve import schema
from m6.serve.config import ServeConfig
from m6.serve.scheduler import BusyError

MOST_REDIRECTS = 3
REASONS = {
    "port": "its port is not asked, of those of the web 80, 443, 8080 and 8443 are",
    "not http": "it is not http or https",
    "time-out": "it did not answer in time, a time-out",
    "empty": "it answered with nothing",
    "compressed": "it answered with compressed bytes",
    "certificate": "its certificate is not trusted",
    "TLS": "it speaks no TLS that is known",
    "cut short": "its answer was cut short",
    "bad answer": "it answered with what is no HTTP",
    "bad URL": "the address makes no sense",
    "too large": "the picture is too large",
    "private address": "it is a private address",
    "no such host": "there is no such host",
    "no connection": "there is no connection to it",
}
"""What is said for what `web` calls it; else it is a status of HTTP."""
AT_ONCE = 8  # pictures that are fetched; a server that answers slowly holds up no more than these


def understood(asked: schema.ChatRequest) -> tuple[str, str, str]:
    """The task, the text, and the URL of the picture of a conversation: those of the last message of the user, and the
    last picture up to it; "" without one. UserError for one that asks nothing, or what no task takes."""
    turns = [message for message in asked.messages if message.role == "user"]
    if not turns:
        raise UserError("messages: there is none of the user")
    text = url = ""
    for message in turns:
        content = message.content
        parts = content if isinstance(content, list) else [schema.Part(type="text", text=content)]
        text = "\n".join(part.text for part in parts if part.type == "text" and part.text).strip()
        shown = _pictures(parts)
        url = shown[0] if shown else url
    if len(shown) > 1:
        raise UserError(f"messages: {len(shown)} pictures in one message, one is read; send one")
    if asked.form and asked.task != "poem":
        raise UserError(f'form {asked.form}: it is for poems; add "task": "poem", or leave it out')
    if asked.task == "poem":
        if shown:
            raise UserError("a poem is written to a title alone: leave the picture out, or the task")
        if not text:
            raise UserError("a poem needs a title: send it as the message")
        return "poem", text, ""
    if url:
        wanted = "" if asked.task == "caption" or text.startswith(("描述", "说说")) else text
        return ("visual_question" if wanted else "caption"), wanted, url
    if asked.task == "caption":
        raise UserError("a caption needs a picture: send it as image_url")
    if not text:
        raise UserError("messages: the last one of the user is empty")
    return "question", text, ""


def _pictures(parts: Sequence[schema.Part]) -> list[str]:
    """The URLs of all pictures of a message."""
    wanted = [part.image_url for part in parts if part.type == "image_url"]
    if any(image is None or not image.url for image in wanted):
        raise UserError("image_url: it is missing")
    return [image.url for image in wanted if image is not None]


class Pictures:
    """Pictures as they are sent, or where they are."""

    def __init__(self, config: ServeConfig, reach: Reach = PUBLIC) -> None:
        self._config, self._most, self._reach = config, int(config.max_picture_mb * 2**20), reach
        self._threads = ThreadPoolExecutor(AT_ONCE, "fetch")  # of their own: a slow server holds up nothing else
        self._under_way = 0

    async def read(self, url: str, field: str = "image_url", ends: float = float("inf")) -> bytes:
        """The bytes behind a URL, had before `ends`, a time of `time.monotonic`. UserError, which names the field of
        the request, for one that cannot or may not be had; BusyError."""
        try:
            return await self._read(url, ends)
        except UserError as error:
            raise UserError(f"{field}: {error}") from None

    async def _read(self, url: str, ends: float) -> bytes:
        if url.startswith("data:"):
            return await asyncio.to_thread(self._decoded, url)
        if not self._config.fetch_pictures:
            raise UserError("addresses are not fetched; send the picture itself, as data:image/png;base64,...")
        if self._under_way >= AT_ONCE:
            raise BusyError
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._fetched, url, ends)
        finally:
            self._under_way -= 1

    def _decoded(self, url: str) -> bytes:
        head, comma, data = url.partition(",")
        if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
            raise UserError("it has to be an address, or data:image/png;base64,... (or another kind)")
        if len(data) * 3 // 4 > self._most:
            raise UserError(f"the picture is larger than {self._most} bytes; make it smaller")
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise UserError("what follows base64, is not base64") from None

    def _fetched(self, url: str, ends: float) -> bytes:
        ends = min(ends, time.monotonic() + self._config.fetch_seconds)
        for _ in range(MOST_REDIRECTS + 1):
            left = max(0.0, ends - time.monotonic())
            answer = get(url, "open-m6", Limits(left, left, self._most), self._reach, honour_opt_out=False)
            if not answer.redirect:
                break
            try:
                url = urljoin(url, answer.redirect)
            except ValueError:
                raise UserError("it leads to an address that makes no sense") from None
        else:
            raise UserError(f"it leads on more than {MOST_REDIRECTS} times; send the last address")
        if answer.reason:
            why = REASONS.get(answer.reason, f"it answered with status {answer.reason}")
            raise UserError(f"no picture from there: {why}; send the picture as a data URL")
        return answer.bytes
