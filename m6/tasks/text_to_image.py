"""Text to image: a text in, a picture of it out (paper section 5.1).

An Example's text is its prompt, the picture what is meant by it. Whoever paints has the pictures of a split scored: is
its own text the one that a painting is told by, and is its own picture the one that it is nearest to?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m6.data.sample import Branch, Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.retrieval import ranks
from m6.tasks.scoring import stripped

FIELDS: Mapping[str, str] = {
    "text": "what is to be painted",
    "image": "path of the picture, from the folder of the file; null in a test split whose pictures are not told",
}
KIND = "painted"
LONGEST = 0
MAIN = "round_trip.recall_1"

RANKS = (1, 5, 10)


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example: the text its prompt, the picture what is meant by it. ValueError."""
    return [Example(key, fields.text(record, "text"), picture=fields.optional_picture(record, folder))]


def sample(example: Example, segments: Segments) -> Sample:
    """The text, and the size where that is told; then the codes of the picture."""
    assert example.picture is not None, "nothing is learnt from a text alone"
    codes = segments.codes(example.picture)
    prompt = (segments.text(example.prompt),) if example.prompt else ()
    return Sample(example.key, (), (Branch("text_to_image", (*prompt, *segments.size(codes)), codes),))


decode = stripped


def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """Nothing: an answer is the name of a painting here. See `score_round_trip` and `score_nearest`."""
    return {}


def texts_of(examples: Sequence[Example]) -> list[str]:
    """All texts of a split, each once: T of them."""
    return list(dict.fromkeys(example.prompt for example in examples))


def score_round_trip(fits: np.ndarray, examples: Sequence[Example]) -> dict[str, Statistic]:
    """From how well each painting and text fit together [E, T], texts by `texts_of(examples)`: the share of paintings
    whose own text is among the 1, 5, 10 that fit best, what fits as well being ranked before it."""
    texts = {text: column for column, text in enumerate(texts_of(examples))}
    right = np.zeros(fits.shape, bool)
    right[np.arange(len(examples)), [texts[example.prompt] for example in examples]] = True
    found = ranks(fits, right)
    return {f"round_trip.recall_{rank}": Statistic.mean(found <= rank) for rank in RANKS}


def score_nearest(painted: np.ndarray, meant: np.ndarray) -> Statistic:
    """The share of paintings [E, S, S, 3] of which no picture that another text means [E, S, S, 3] is nearer."""
    return Statistic.mean(nearest(painted, meant) == np.arange(len(meant)))


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
