"""Image-text matching: does a text fit a picture, or which of some does (paper section 5.6).

Two kinds of records. Of one text with a label it is asked as in pretraining, with the mark `<match>` behind the text,
and 是 or 否 is chosen. Of a text with hard negatives, texts that nearly fit, the true one is chosen: likelihoods of the
texts after the picture, less those after nothing, which take away what makes a text likely by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m6.data.objectives import NO, YES
from m6.data.sample import Branch, Sample, Text
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, asked, target
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import by_cluster, is_right, of_told, stripped
from m6.tokenizer.vocabulary import MATCH

FIELDS = {
    "image": "path of the picture, from the folder of the file",
    "text": "a text; the true one, if there are negatives",
    "label|negatives": "whether the text fits, true or false, 是 or 否, 1 or 0; or a list of texts that do not fit",
}
KIND = "chosen"
LONGEST = 64
MAIN = "accuracy"

LABELS = {"true": YES, "1": YES, YES: YES, "false": NO, "0": NO, NO: NO}


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example: its choices are 是 and 否 about the text of its prompt, or a text and its negatives. ValueError."""
    text = fields.text(record, "text")
    fields.one_of(record, "label", "negatives")
    if "label" in record:
        return [Example(key, text, _label(record["label"]), fields.picture(record, folder), (YES, NO))]
    negatives = fields.several(record, "negatives")
    if text in negatives:
        raise ValueError(f'field "negatives": the text itself, {fields.shown(text)}, is among them')
    choices = tuple(sorted((text, *negatives)))  # so that the place of the true one says nothing
    return [Example(key, "", (text,), fields.picture(record, folder), choices)]


def sample(example: Example, segments: Segments) -> Sample:
    """Picture, text and mark, then 是 or 否; or the picture, then the text that fits."""
    shared, own = asked(example, segments)
    if not own:
        return Sample(example.key, shared, (Branch("captioning", (), target(example, segments)),))
    question = Text((*segments.text(example.prompt).ids, MATCH))
    return Sample(example.key, shared, (Branch("matching", (question,), target(example, segments)),))


decode = stripped


@of_told
def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """Share of right choices."""
    return {"accuracy": Statistic.mean(list(map(is_right, answers, examples)))}


def score_pairs(fits: Sequence[np.ndarray], examples: Sequence[Example]) -> dict[str, Statistic]:
    """From how well each choice of each example fits: `pair_accuracy`, the share of triples (picture, right text,
    negative) of which the right text fits better; of two that fit equally well it is half. Chance is 0.5. Records with
    a label are none, and of these alone there is no score."""
    shares, weights = [], []
    for own, example in zip(fits, examples, strict=True):
        right = np.array([choice in example.answers for choice in example.choices])
        pairs = np.sign(own[right][:, None] - own[~right]) / 2 + 0.5
        asked = pairs.size and not example.prompt
        shares.append(float(pairs.mean()) if asked else 0.0)
        weights.append(float(pairs.size) if asked else 0.0)
    return by_cluster({"pair_accuracy": Statistic.mean(shares, weights)}, examples) if any(weights) else {}


def _label(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    found = LABELS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
    if found is None:
        raise ValueError(f'field "label": {fields.shown(value)}; allowed are true or false, 是 or 否, 1 or 0')
    return (found,)
