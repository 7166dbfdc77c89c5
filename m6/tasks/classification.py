"""Text classification as likelihood: a text in, perhaps with a picture, and the likeliest of a set of labels out.

The labels are words, which the model has read before; the prompt ends with a cue, `……类别：`, so that a label follows.
Which labels there are is said by the training split or by a file labels.txt, a label a line (`m6.tasks.files`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import is_right, of_told, stripped

FIELDS = {
    "text": "a text",
    "label": "a word or a number; null in a test split whose labels are not told",
    "image?": "path of a picture, from the folder of the file",
}
KIND = "chosen"
LONGEST = 24
MAIN = "accuracy"


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example without choices, which are those of its data. ValueError."""
    untold = "label" in record and record["label"] is None
    answers = () if untold else (fields.label(record, "label"),)
    prompt = f"{fields.text(record, 'text')}类别："
    return [Example(key, prompt, answers, fields.optional_picture(record, folder))]


def sample(example: Example, segments: Segments) -> Sample:
    """The text, then its label."""
    return answered("classification", example, segments)


decode = stripped


@of_told
def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """Accuracy, and the mean over labels of their F1, in which rare ones count as much as frequent ones."""
    true = [example.answers[0] for example in examples]
    right = [is_right(answer, example) for answer, example in zip(answers, examples, strict=True)]
    return {"accuracy": Statistic.mean(right), "macro_f1": macro_f1(answers, true)}


def macro_f1(answers: Sequence[str], true: Sequence[str]) -> Statistic:
    """The mean of 2 TP / (2 TP + FP + FN) over the labels that are true of an example or given to one."""
    labels = sorted({*answers, *true})
    given, is_true = (np.array([[one == label for label in labels] for one in found]) for found in (answers, true))
    hits, wrong = given & is_true, given ^ is_true

    def value(sums: np.ndarray) -> np.ndarray:
        hit, miss = np.split(sums, 2, axis=-1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean(2 * hit / (2 * hit + miss), axis=-1))

    return Statistic(np.concatenate([hits, wrong], axis=1).astype(float), value)
