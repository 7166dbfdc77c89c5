"""Held-out documents that nearly equal one that was trained on: they would measure memory.

A picture of a thing leaks if a trained one looks nearly the same (difference hash), a question if it was asked in
training, and a text, of eight letters or more, if most of its pairs of characters stand together in a trained one. The
corpus drops near duplicates by longer runs of letters, which one changed letter breaks too often in a text of twenty.
"""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil

import numpy as np
from PIL import Image

from m6.corpus.document import Document
from m6.corpus.images.prepare import difference_hash

NEAR = 3
"""Bits of the hashes in which pictures may differ that count as the same."""
SIMILARITY = 0.6
"""Jaccard similarity of their pairs of characters from which two texts count as the same."""
SHORT = 8
"""Letters below which texts are alike by right: many riddles end in the same three."""
SCENES = "scenes"


def leaks(documents: Sequence[Document]) -> set[str]:
    """The ids of held-out documents that nearly equal one that was trained on."""
    trained = [each for each in documents if each["split"] == "train"]
    held = [each for each in documents if each["split"] != "train"]
    return _pictures(trained, held) | _questions(trained, held) | _texts(trained, held)


def is_thing(document: Document) -> bool:
    """Whether it is a picture of one named thing."""
    return bool(document["images"] and document["text"] and document["source"] != SCENES)


def letters(text: str) -> str:
    """A text without blanks and marks."""
    return re.sub(r"[\W_]", "", text)


def near_texts(held: Sequence[str], trained: Sequence[str], similarity: float = SIMILARITY) -> list[int]:
    """Which of the held-out texts have a trained one at least so similar.

    Sets of that similarity s share one of their rarest (1 - s) n + 1 elements, rare ones first; so only texts that do
    are compared.
    """
    sets = [_pairs(text) for text in trained]
    counts = Counter(pair for each in sets for pair in each)

    def rarest(pairs: set[str]) -> list[str]:
        return sorted(pairs, key=lambda pair: (counts[pair], pair))[: len(pairs) - ceil(similarity * len(pairs)) + 1]

    having: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(sets):
        for pair in rarest(each):
            having[pair].append(index)
    found = []
    for number, text in enumerate(held):
        own = _pairs(text)
        candidates = {index for pair in rarest(own) for index in having.get(pair, ())}
        if any(len(own & sets[index]) >= similarity * len(own | sets[index]) for index in candidates):
            found.append(number)
    return found


def _pictures(trained: Sequence[Document], held: Sequence[Document]) -> set[str]:
    hashes = np.array([_hash(each) for each in trained if is_thing(each)], np.uint64)
    return {
        each["id"]
        for each in held
        if is_thing(each) and (np.bitwise_count(hashes ^ np.uint64(_hash(each))) <= NEAR).any()
    }


def _questions(trained: Sequence[Document], held: Sequence[Document]) -> set[str]:
    known = {letters(asked["question"]) for each in trained if not each["images"] for asked in each["questions"]}
    return {
        each["id"]
        for each in held
        if not each["images"] and any(letters(asked["question"]) in known for asked in each["questions"])
    }


def _texts(trained: Sequence[Document], held: Sequence[Document]) -> set[str]:
    old, new = ([each for each in side if not each["images"] and _is_long(each)] for side in (trained, held))
    return {new[index]["id"] for index in near_texts([each["text"] for each in new], [each["text"] for each in old])}


def _is_long(document: Document) -> bool:
    return len(letters(document["text"])) >= SHORT


def _pairs(text: str) -> set[str]:
    kept = letters(text)
    return {kept[start : start + 2] for start in range(len(kept) - 1)}


def _hash(document: Document) -> int:
    with Image.open(io.BytesIO(document["images"][0]["bytes"])) as picture:
        return difference_hash(picture.convert("RGB"))
