"""Captioning: a picture in, a text about it out (paper section 5.3); as in pretraining nothing else is the prompt.

Scored as MUGE does, by CIDEr-D, BLEU-4 and ROUGE-L over characters against all captions of a picture. Pictures of named
things have captions of the form `name。keyword、keyword` and may list all their keywords: then it counts too whether
the name is right, and how well the keywords are met.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import of_told, stripped
from m6.tasks.written import score_texts

FIELDS = {
    "image": "path of the picture, from the folder of the file",
    "caption|captions": "a text, or a list of texts that are all right; null in a test split whose captions are not "
    "told",
    "keywords?": "all keywords of a named thing, whose captions are of the form `name。keyword、keyword`",
}
KIND = "written"
LONGEST = 64
MAIN = "cider_d"


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example, whose answers are all captions. ValueError."""
    captions = fields.told(record, "caption", "captions")
    keywords = fields.several(record, "keywords", least=0) if record.get("keywords") is not None else ()
    about = {"keywords": "\n".join(keywords)} if keywords else {}
    return [Example(key, "", captions, fields.picture(record, folder), about=about)]


def sample(example: Example, segments: Segments) -> Sample:
    """The picture, then its first caption."""
    return answered("captioning", example, segments)


decode = stripped


@of_told
def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """How near the captions come; of named things also the share of right names, and the mean F1 of keywords."""
    scores = score_texts(answers, examples, known)
    if any("keywords" in example.about for example in examples):
        scores |= _named(answers, examples)
    return scores


def name_and_keywords(caption: str) -> tuple[str, set[str]]:
    """The two parts of a caption of the form `name。keyword、keyword`."""
    name, _, rest = caption.partition("。")
    return name, set(filter(None, re.split("[、。，]", rest)))


def _named(answers: Sequence[str], examples: Sequence[Example]) -> dict[str, Statistic]:
    weights, names, keywords = [], [], []
    for answer, example in zip(answers, examples, strict=True):
        name, words = name_and_keywords(answer)
        true = set(filter(None, example.about.get("keywords", "").split("\n")))
        weights.append(float(bool(true)))
        names.append(name in [name_and_keywords(caption)[0] for caption in example.answers])
        keywords.append(2 * len(words & true) / max(len(words) + len(true), 1))
    return {"name": Statistic.mean(names, weights), "keyword_f1": Statistic.mean(keywords, weights)}
