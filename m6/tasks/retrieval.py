"""Image-text retrieval, both ways: all texts of a split ranked for every picture, and all pictures for every text.

An Example is a picture with its texts; it may have none, then it is among what the texts are looked for in, as in MUGE.
Whoever ranks makes a matrix of how well they fit, pictures by `texts_of(examples)`, and has it scored by `score_ranks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import stripped

FIELDS = {
    "image": "path of the picture, from the folder of the file",
    "texts": "a list of the texts that fit; empty for a picture that is only looked through",
    "kind?": "kind of the picture, each of which is scored on its own too, among all others",
}
KIND = "ranked"
LONGEST = 64
MAIN = "text_to_image.mean_recall"

RANKS = (1, 5, 10)


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example, whose answers are all texts that fit. ValueError."""
    kind = fields.optional_text(record, "kind")
    texts, picture = fields.several(record, "texts", least=0), fields.picture(record, folder)
    return [Example(key, "", texts, picture, about={"kind": kind} if kind else {})]


def sample(example: Example, segments: Segments) -> Sample:
    """The picture, then its first text."""
    return answered("captioning", example, segments)


decode = stripped


def texts_of(examples: Sequence[Example]) -> list[str]:
    """All texts of a split, each once: T of them, the columns of the matrix of ranks."""
    return list(dict.fromkeys(text for example in examples for text in example.answers))


def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """From the text that ranks first for each picture: the share of pictures that it fits."""
    first = [answer in example.answers for answer, example in zip(answers, examples, strict=True)]
    weights = [float(bool(example.answers)) for example in examples]
    return {"image_to_text.recall_1": Statistic.mean(first, weights)}


def score_ranks(fits: np.ndarray, examples: Sequence[Example]) -> dict[str, Statistic]:
    """From how well each picture and text fit together [E, T], pictures by `texts_of(examples)`: recall at 1, 5 and 10
    and the mean of the three, both ways, that from texts to pictures being MUGE's; of all, and of each kind among all.
    A row is found at a rank if one of its own is among so many; what fits just as well as that is ranked before it.
    ValueError for another shape."""
    texts = {text: column for column, text in enumerate(texts_of(examples))}
    if fits.shape != (len(examples), len(texts)):
        raise ValueError(f"{fits.shape} of {len(examples)} pictures and {len(texts)} texts")
    right = np.zeros(fits.shape, bool)
    for row, example in enumerate(examples):
        right[row, [texts[text] for text in example.answers]] = True
    asking = [row for row in range(len(examples)) if right[row].any()]  # a picture without texts asks nothing
    fitting = right.argmax(0).tolist()  # a picture that each text fits
    return {
        **_recalls("image_to_text", ranks(fits[asking], right[asking]), [examples[row] for row in asking]),
        **_recalls("text_to_image", ranks(fits.T, right.T), [examples[row] for row in fitting]),
    }


def ranks(fits: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of each row [N, M] the rank, from 1, of the best that is right, behind all wrong ones that fit as well: [N]."""
    best = np.where(right, fits, -np.inf).max(1, keepdims=True, initial=-np.inf)
    return np.asarray(1 + (~right & ~(fits < best)).sum(1))


def _recalls(way: str, found: np.ndarray, of: Sequence[Example]) -> dict[str, Statistic]:
    """By ranks [N] and the pictures that they are about, whose texts hang together."""
    hits = {f"recall_{rank}": (found <= rank).astype(float) for rank in RANKS}
    hits["mean_recall"] = np.mean(list(hits.values()), axis=0)
    kinds = [each.about.get("kind", "") for each in of]
    scores = {f"{way}.{name}": Statistic.mean(values) for name, values in hits.items()}
    for kind in sorted(set(kinds) - {""}):
        asked = [float(own == kind) for own in kinds]
        scores |= {f"{way}.{name}.{kind}": Statistic.mean(values, asked) for name, values in hits.items()}
    return {name: score.grouped([each.cluster for each in of]) for name, score in scores.items()}
