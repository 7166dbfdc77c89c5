"""Product description: title, attributes and picture of a product in, any of them or all, a text about it out.

The prompt is that of pretraining (`m6.data.objectives.product_prompt`): `晴雨伞；颜色：红。描述：`; there is
none with a picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m6.data.objectives import product_prompt
from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import of_told, stripped
from m6.tasks.written import score_texts

FIELDS = {
    "description": "a text; null in a test split whose descriptions are not told",
    "title?": "a text",
    "attributes?": 'an object of names and values, as {"颜色": "红"}',
    "image?": "path of the picture, from the folder of the file; of these three one is needed",
}
KIND = "written"
LONGEST = 128
MAIN = "chrf"


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example, title and attributes its prompt. ValueError."""
    if "description" in record and record["description"] is None:
        answers: tuple[str, ...] = ()
    else:
        answers = (fields.text(record, "description"),)
    title, attributes = fields.optional_text(record, "title"), fields.attributes(record, "attributes")
    picture = fields.optional_picture(record, folder)
    if not (title or attributes or picture):
        raise ValueError('none of the fields "title", "attributes", "image"; what is described?')
    return [Example(key, product_prompt(title, attributes), answers, picture)]


def sample(example: Example, segments: Segments) -> Sample:
    """Picture, title and attributes, then the description."""
    return answered("product_description", example, segments)


decode = stripped


@of_told
def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """How near the descriptions come, how much they vary, and how much of them stands in training as it is."""
    return score_texts(answers, examples, known)
