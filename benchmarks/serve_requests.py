"""What a server is asked while it is measured: bundled pictures and titles of poems, in the form of OpenAI's interface.

Request(path, body)     the same number is the same request in every run
"""

from __future__ import annotations

import base64
import functools
from typing import Any, NamedTuple

from m6.corpus.starter import emoji_pictures, poem_rows

CHAT, PAINT, MATCH = "/v1/chat/completions", "/v1/images/generations", "/v1/match"
MOST = 64
"""Tokens of an answer whose speed is measured."""
SHORT = 16  # tokens of one among many
NO_PICTURE = "data:image/png;base64,AAAA"
MALFORMED: tuple[tuple[str, Any], ...] = (
    (CHAT, b'{"messages": [{"role": "user", "conte'),
    (CHAT, {"messages": []}),
    (CHAT, {"messages": [{"role": "user", "content": "春" * 5_000}]}),
    (CHAT, {"messages": [{"role": "user", "content": "春"}], "temperature": -1}),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": NO_PICTURE}}]}]}),
    (PAINT, {"prompt": "猫", "size": "17x16"}),
    (MATCH, {"image": "no picture", "texts": ["猫"]}),
)  # fmt: skip


class Request(NamedTuple):
    """One request."""

    path: str
    body: Any


def plain(number: int) -> Request:
    """A question or, every second time, a picture to describe: what both sides of a comparison can do."""
    return describe(number, MOST) if number % 2 else question(number, MOST)


def question(number: int, most: int) -> Request:
    """About a picture, which every run that reads has learnt; without one few have."""
    return describe(number, most, "这是什么？")


def describe(number: int, most: int, text: str = "") -> Request:
    """A picture, and a question about it if there is a text."""
    return _chat([{"type": "image_url", "image_url": {"url": picture(number)}}, *_said(text)], most)


def good(number: int) -> Request:
    """One of the kinds that people ask, by turns."""
    kind = number % 6
    if kind == 0:
        return describe(number, SHORT)
    if kind == 1:
        return describe(number, SHORT, "左边是什么？")
    if kind == 2:
        return question(number, SHORT)
    if kind == 3:
        poem = {"task": "poem", "form": "五言绝句", "temperature": 0.8, "seed": number}
        asked = _chat(_title(number), 2 * SHORT)
        return Request(asked.path, {**asked.body, **poem})
    if kind == 4:
        return Request(PAINT, {"prompt": _title(number), "size": "32x32", "seed": number, "guidance": 1.0 + number % 2})
    return Request(MATCH, {"image": picture(number), "texts": [_title(number + step) for step in range(3)]})


def malformed(number: int) -> Request:
    """One that has to be refused."""
    return Request(*MALFORMED[number % len(MALFORMED)])


@functools.cache
def picture(number: int) -> str:
    """A bundled picture as it is sent."""
    files = emoji_pictures()
    encoded = files[sorted(files)[number * 37 % len(files)]]
    return f"data:image/png;base64,{base64.b64encode(encoded).decode()}"


def _title(number: int) -> str:
    rows = poem_rows()
    title: str = rows[number * 37 % len(rows)]["title"]
    return title[:12]


def _said(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}] if text else []


def _chat(content: Any, most: int) -> Request:
    return Request(CHAT, {"messages": [{"role": "user", "content": content}], "max_tokens": most})
