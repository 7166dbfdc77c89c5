"""What the file of a task holds, and where it is found by the name of the task."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

from m6.data.sample import Sample
from m6.tasks.example import Example, Record, Segments
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.names import check_name


class Task(Protocol):
    """What a task's file holds."""

    FIELDS: Mapping[str, str]
    """The fields of a record of its plain data file, and what each holds; those that may be missing end with "?", of
    those with "|" between them one is given."""
    KIND: Literal["written", "chosen", "ranked", "painted"]
    """Whether the model writes its answer, chooses it among the example's choices, ranks all texts of a split for every
    picture, and all pictures for every text (`m6.tasks.retrieval`), or paints (`m6.tasks.text_to_image`)."""
    LONGEST: int
    """Tokens of an answer that is a text, at the most."""
    MAIN: str
    """The name of the score that counts most."""

    @staticmethod
    def read(record: Record, folder: Path, key: str) -> list[Example]:
        """The Examples of a record, pictures looked for in `folder`. ValueError, which says what is wrong with it."""

    @staticmethod
    def sample(example: Example, segments: Segments) -> Sample:
        """What is trained on; its prefixes alone are what the model goes on from."""

    @staticmethod
    def decode(text: str) -> str:
        """What the model wrote, as it is compared and shown."""

    @staticmethod
    def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
        """All scores by name, from one decoded answer an example; `known` are the examples that were trained on."""


def named(name: str) -> Task:
    """The task of this name. UserError for a name that is none, with the nearest one."""
    check_name(name)
    return cast(Task, importlib.import_module(f"m6.tasks.{name}"))
