"""What tests of sources share: reading a source whole, and small pictures."""

from __future__ import annotations

import functools
from typing import Any

from m6.corpus.config import SourceConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.sources import reader
from m6.corpus.starter import emoji_pictures

NAME = "shop"
POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"


def read_all(config: SourceConfig) -> list[Document | Drop]:
    """All that a source gives, part by part."""
    module = reader(config.kind)
    return [item for part in module.parts(NAME, config) for item in module.read(part, config, 0)]


def outcomes(config: SourceConfig) -> list[str]:
    """The text of each Document, and the reason of each Drop in brackets."""
    return [f"({item.reason})" if isinstance(item, Drop) else item["text"] for item in read_all(config)]


def same(item: Document | Drop) -> Any:
    """What has to be the same however the work is cut: a Document but for its place, the reason of a Drop."""
    return item.reason if isinstance(item, Drop) else {name: value for name, value in item.items() if name != "where"}


@functools.cache
def png(number: int = 0) -> bytes:
    """A real picture of a few kilobytes."""
    pictures = emoji_pictures()
    return pictures[sorted(pictures)[number]]
