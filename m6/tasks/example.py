"""Example: one thing that a task asks of a model, and what is right; the one value type of tasks.

Readers of data files make Examples out of records, a task turns an Example into a Sample to train on or to go on from,
and scores what was written against its answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from m6.data.images import PictureAt
from m6.data.sample import Branch, Codes, Sample, Segment, Text

__all__ = ["Example", "PictureAt", "Record", "Segments", "answered", "asked", "target"]

Record = Mapping[str, Any]
"""One line of a data file."""
IDS = ("id", "image_id", "question_id")
"""Fields of any record that stand beside its answer in the file of answers, so that these can be joined."""


@dataclass(frozen=True)
class Example:
    """One thing that is asked."""

    key: str
    """Names it in errors and results, as "test.jsonl line 12"."""
    prompt: str = ""
    """Text that is read, after the picture if there is one."""
    answers: tuple[str, ...] = ()
    """All right answers, of which the first is trained on; empty where they are not told."""
    picture: PictureAt | None = None
    choices: tuple[str, ...] = ()
    """What the answer is chosen from, if it is not written freely."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Anything else that a score, its table or the file of answers needs, by name: kind of question, form of a poem."""
    group: str = ""
    """Names what it hangs together with other than by its picture: the thing that several examples are about."""

    @property
    def cluster(self) -> str:
        """What is drawn together in intervals: its group, else its picture, else it stands alone."""
        return self.group or (f"picture {self.picture}" if self.picture else f"key {self.key}")


class Segments(Protocol):
    """What turns raw material into segments of a Sample, in the form that a model reads."""

    def text(self, text: str) -> Text: ...

    def picture(self, at: PictureAt) -> Segment: ...

    def codes(self, at: PictureAt) -> Codes:
        """Of a picture as it is painted."""

    def size(self, codes: Codes) -> tuple[Text, ...]:
        """How the size of a painting is told, if it is."""


def asked(example: Example, segments: Segments) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """The shared prefix, a picture or nothing, and the prefix of the example's own branch, its prompt or nothing."""
    picture = (segments.picture(example.picture),) if example.picture else ()
    return picture, (segments.text(example.prompt),) if example.prompt else ()


def target(example: Example, segments: Segments) -> Text:
    """What is to be written: the first answer, or nothing where none is told."""
    return segments.text(example.answers[0] if example.answers else "")


def answered(name: str, example: Example, segments: Segments) -> Sample:
    """Picture and prompt in, the first answer out, under the name of an objective."""
    shared, own = asked(example, segments)
    return Sample(example.key, shared, (Branch(name, own, target(example, segments)),))
