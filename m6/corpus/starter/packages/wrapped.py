"""Wrapped and spaced text: broken lines become paragraphs again, and Chinese loses its spaces."""

import re

_SPACES = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])[ \u3000]+(?=[\u3000-\u9fff\uff00-\uffef])")


def join(first: str, second: str) -> str:
    """Two pieces of a wrapped line: with a space only where both sides are ASCII, since Chinese has none."""
    spaced = first and second and first[-1].isascii() and second[0].isascii()
    return f"{first} {second}" if spaced else first + second


def close_up(text: str) -> str:
    """Text without spaces between Chinese characters: 网络 设备 的 becomes 网络设备的."""
    return _SPACES.sub("", text)
