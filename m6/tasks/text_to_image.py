"""Text to image: is the painting of a known text nearest to its own picture, and does the model know it again?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m6.corpus.document import Document
from m6.tasks import fields
from m6.tasks.example import Example, Record

FIELDS: Mapping[str, str] = {
    "text": "what is to be painted",
    "image": "path of the picture, from the folder of the file; null in a test split whose pictures are not told",
}


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example: the text its prompt, the picture what is meant by it. ValueError."""
    return [Example(key, fields.text(record, "text"), picture=fields.optional_picture(record, folder))]


def sample(document: Document) -> str:
    """The prompt: the document's text, as in training."""
    return document["text"]


def distances(pictures: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Squared error of each picture [N, S, S, 3] to each known one [M, S, S, 3], up to a constant a picture: [N, M]."""
    ours, theirs = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (pictures, known))
    return np.asarray((theirs**2).sum(1)[None] - 2 * ours @ theirs.T)


def nearest(pictures: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of the known pictures is nearest to each picture: [N]."""
    return np.asarray(distances(pictures, known).argmin(1))


def choices(count: int, options: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `count` paintings: `options` different prompts [count, options], and the place [count] of its own."""
    rng = np.random.default_rng(seed)
    options = min(options, count)
    rows, places = [], []
    for index in range(count):
        others = rng.choice([other for other in range(count) if other != index], options - 1, replace=False)
        place = int(rng.integers(options))
        rows.append(np.insert(others, place, index))
        places.append(place)
    return np.array(rows), np.array(places)


def score(chosen: Sequence[int], true: Sequence[int]) -> dict[str, float]:
    """Share of right ones."""
    return {"right": float(np.mean(np.asarray(chosen) == np.asarray(true)))}
