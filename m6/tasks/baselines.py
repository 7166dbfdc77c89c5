"""Baselines that train nothing: what has to be beaten before anything can be said to have been learnt.

    most_frequent    the answer most often right among the known examples, to the same question if it was asked there
    nearest_text     the answer of the known example whose prompt is most alike
    nearest_picture  the answer of the known example whose picture is most alike, to the same question if it was asked
    trigram          writes nothing; how likely what is right is by three characters in a row of the known answers

In: known examples, and those that are asked. Out: an answer for each, written freely; `alike` and `ranked`
tell which choices and texts it shares most characters with.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from m6.corpus.text import fluency
from m6.data.images import PictureAt
from m6.tasks.example import Example

Pixels = Callable[[PictureAt], np.ndarray]
"""Where a picture lies -> its pixels [S, S, 3] uint8."""
BUCKETS = 2**11  # of hashed pairs of characters
SIDE = 16  # pixels to which pictures are averaged before they are compared
AT_ONCE = 256  # examples that are compared with all known ones


def most_frequent(known: Sequence[Example], examples: Sequence[Example]) -> list[str]:
    """Of the known examples with the same prompt; else of those of the same kind; else of all."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for each in known:
        for name in ("", f"kind {_kind(each)}", f"prompt {each.prompt}"):
            counts[name].update(each.answers)

    def usual(example: Example) -> str:
        names = (f"prompt {example.prompt}", f"kind {_kind(example)}", "")
        found = next((counts[name] for name in names if counts[name]), None)
        return found.most_common(1)[0][0] if found else ""

    return [usual(example) for example in examples]


def nearest_text(known: Sequence[Example], examples: Sequence[Example]) -> list[str]:
    """By the cosine of pairs of characters, weighted by how rare they are (TF-IDF)."""
    counts = np.stack([_pairs(each.prompt) for each in known])
    rare = np.log((1 + len(known)) / (1 + (counts > 0).sum(0)))
    theirs = _unit(counts * rare)
    found: list[str] = []
    for start in range(0, len(examples), AT_ONCE):
        ours = _unit(np.stack([_pairs(each.prompt) for each in examples[start : start + AT_ONCE]]) * rare)
        found += [_answer(known[index]) for index in (ours @ theirs.T).argmax(1)]
    return found


def nearest_picture(known: Sequence[Example], examples: Sequence[Example], pixels: Pixels) -> list[str]:
    """By the squared error of pixels, averaged to a few."""
    alike: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(known):
        if each.picture is not None:
            alike[each.prompt].append(index)
    every = [index for indices in alike.values() for index in indices]
    small = _Small(pixels)
    theirs = {index: small(known[index]) for index in every}
    stacked: dict[str, tuple[list[int], np.ndarray]] = {}
    found = []
    for example in examples:
        name = example.prompt if example.prompt in alike else "\0"
        if name not in stacked:
            indices = alike.get(name) or every
            stacked[name] = indices, np.stack([theirs[index] for index in indices])
        indices, pictures = stacked[name]
        found.append(_answer(known[indices[int(((pictures - small(example)) ** 2).sum(1).argmin())]]))
    return found


def trigram(known: Sequence[Example], examples: Sequence[Example]) -> np.ndarray:
    """log p of the first right answer of each example by a Kneser-Ney model of the known ones, nats: [N]; blind to the
    prompt, and without the end of the answer, which it is spared."""
    model = fluency.train((answer for each in known for answer in each.answers), fewest=1)
    right = [each.answers[0] for each in examples]
    return -np.log(model.perplexities(right)) * np.array([len(answer) for answer in right])


def alike(text: str, example: Example) -> np.ndarray:
    """How much what was written shares with each choice of an example: [M]."""
    return ranked([text], example.choices)[0]


def ranked(written: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """How much what was written for each picture shares with every text: [N, M]."""
    ours, theirs = (_unit(np.stack([_pairs(text) for text in several])) for several in (written, texts))
    return np.asarray(ours @ theirs.T)


class _Small:
    """Pictures averaged to SIDE x SIDE pixels, flat; each is read once."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._found: dict[PictureAt, np.ndarray] = {}

    def __call__(self, example: Example) -> np.ndarray:
        assert example.picture is not None, "a text has no nearest picture"
        if example.picture not in self._found:
            pixels = self._pixels(example.picture).astype(np.float32) / 255
            edges = np.linspace(0, len(pixels), SIDE + 1).astype(int)[:-1]
            sums = np.add.reduceat(np.add.reduceat(pixels, edges, 0), edges, 1)
            self._found[example.picture] = (sums / (len(pixels) / SIDE) ** 2).reshape(-1)
        return self._found[example.picture]


def _pairs(text: str) -> np.ndarray:
    """How often each hashed character and pair of characters stands in a text: [BUCKETS]."""
    counts = np.zeros(BUCKETS, np.float32)
    for size in (1, 2):
        for start in range(len(text) - size + 1):
            counts[zlib.crc32(text[start : start + size].encode()) % BUCKETS] += 1
    return counts


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _answer(example: Example) -> str:
    return example.answers[0] if example.answers else ""


def _kind(example: Example) -> str:
    return example.about.get("kind", "")
