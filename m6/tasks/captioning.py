"""Captioning: a picture in, its text out. Of a named thing the name is scored; of a scene the whole sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from m6.corpus.document import Document
from m6.data.sample import Segment
from m6.tasks.metrics import exact, f1, mean


def read(documents: Iterable[Document], source: str, split: str) -> list[Document]:
    """The documents that have a picture and a text."""
    return [d for d in documents if d["source"] == source and d["split"] == split and d["images"] and d["text"]]


def sample(picture: Segment) -> tuple[Segment, ...]:
    """The prefix: the picture alone."""
    return (picture,)


def decode(text: str) -> tuple[str, set[str]]:
    """Name and keywords of a caption of the form "name。keyword、keyword"."""
    name, _, rest = text.partition("。")
    return name, set(filter(None, re.split("[、。，]", rest)))


def score(written: Sequence[str], documents: Sequence[Document]) -> dict[str, float]:
    """Share of right names, and the mean F1 of the keywords against all that the document has."""
    decoded = [decode(text) for text in written]
    return {
        "exact": exact([name for name, _ in decoded], [decode(d["text"])[0] for d in documents]),
        "keyword_f1": mean(f1(words, set(d["keywords"])) for (_, words), d in zip(decoded, documents, strict=True)),
    }
