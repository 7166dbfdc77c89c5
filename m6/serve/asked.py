"""What is asked: of a conversation the task, the text and the picture; of a picture's URL the bytes.

A data URL holds the picture itself. Any other address is fetched only if the server was told so, from public addresses
alone, redirects included, for a limited time and up to a limited size (`m6/corpus/fetch/web.py`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

from m6.config import UserError
from m6.corpus.fetch.web import PUBLIC, Limits, Reach, get
from m6.serve import schema
from m6.serve.config import ServeConfig
from m6.serve.scheduler import BusyError

MOST_REDIRECTS = 3
AT_ONCE = 8  # pictures that are fetched; a server that answers slowly holds up no more than these


def understood(asked: schema.ChatRequest) -> tuple[str, str, str]:
    """The task, the text, and the URL of the picture of a conversation: those of the last message of the user, and the
    last picture up to it; "" without one. UserError for one that asks nothing."""
    turns = [message for message in asked.messages if message.role == "user"]
    if not turns:
        raise UserError("messages: there is none of the user")
    text = url = ""
    for message in turns:
        content = message.content
        parts = content if isinstance(content, list) else [schema.Part(type="text", text=content or "")]
        text = "\n".join(part.text for part in parts if part.type == "text" and part.text).strip()
        for part in parts:
            if part.type == "image_url":
                if part.image_url is None or not part.image_url.url:
                    raise UserError("image_url: it is missing")
                url = part.image_url.url
    if asked.task == "poem":
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
            raise UserError(f"no picture from there ({answer.reason}); send the picture as a data URL")
        return answer.bytes
