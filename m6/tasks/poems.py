"""Poems: a title and a form in, a poem out; scored by form, by surprise at poems of unseen poets, and by copying."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from m6.corpus.document import Document
from m6.data.objectives import poem_prompt
from m6.data.sample import Branch, Sample, Text
from m6.tasks.metrics import mean


def read(documents: Iterable[Document], split: str) -> list[Document]:
    """The poems of a split."""
    return [d for d in documents if d["source"] == "poems" and d["split"] == split]


def prompt(document: Document) -> str:
    """How the poem is asked for."""
    return poem_prompt(document["title"], document["attributes"]["form"])


def sample(prompt: Text, poem: Text) -> Sample:
    """The whole poem as target, for its likelihood."""
    return Sample("poem", (), (Branch("poem", (prompt,), poem),))


def decode(text: str) -> list[str]:
    """The lines of a poem, without marks."""
    return [line for line in re.split(r"[，。！？；、\s]", text) if line]


def score(written: Sequence[str], kept_form: Sequence[bool], known_lines: set[str]) -> dict[str, float]:
    """Share of poems that keep their form, and of lines that stand in the training set."""
    lines = [line for poem in written for line in decode(poem)]
    return {"form_rate": mean(kept_form), "copied_rate": mean(line in known_lines for line in lines)}


def bits_per_character(losses: Iterable[float], poems: Sequence[str]) -> float:
    """Losses in nats of whole poems -> bits a character, marks and line ends counted as characters."""
    return float(sum(losses)) / math.log(2) / sum(map(len, poems))


def unigram_bits(training: Sequence[str], poems: Sequence[str]) -> float:
    """The baseline: bits a character of a model that knows how frequent each is, with one added to every count."""
    counts = Counter("".join(training))
    known = set(counts) | set("".join(poems))
    total = sum(counts.values()) + len(known)
    bits = -sum(math.log2((counts[character] + 1) / total) for poem in poems for character in poem)
    return bits / sum(map(len, poems))
