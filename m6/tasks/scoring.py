"""What the scores of the tasks share: which examples are scored, which are drawn together, and when an answer is right.

A right answer is compared as the field judges questions about pictures (VQA, Antol et al. 2015, arXiv 1505.00468): form
of letters, case, blanks and marks do not count, but for marks within a number, so that 3.5 is not 35.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import wraps

from m6.tasks.example import Example
from m6.tasks.metrics.statistic import Statistic

Score = Callable[[Sequence[str], Sequence[Example], Sequence[Example]], dict[str, Statistic]]
"""`score` of a task."""
_DROPPED = re.compile(
    r"""\s | (?<!\d)[.,:] | [.,:](?!\d) | [;!?'"`()\[\]{}<>_。、·…—~“”‘’「」『』《》〈〉【】〔〕]""", re.VERBOSE
)
"""Marks as NFKC has them, full-width ones made narrow."""


def stripped(text: str) -> str:
    """What the model wrote without blanks around it, `decode` of most tasks."""
    return text.strip()


def plain(text: str) -> str:
    """A text as answers are compared: without blanks and marks, half-width, in small letters; one of nothing but marks
    stays as it is."""
    return _DROPPED.sub("", unicodedata.normalize("NFKC", text)).casefold() or text.strip()


def is_right(answer: str, example: Example) -> bool:
    """Whether it is one of the right answers, but for blanks, marks, case and width."""
    return plain(answer) in map(plain, example.answers)


def of_told(score: Score) -> Score:
    """A score of those examples alone whose right answers are told, no score where none is; drawn by what hangs
    together (`Example.cluster`)."""

    @wraps(score)
    def scored(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
        told = [(answer, example) for answer, example in zip(answers, examples, strict=True) if example.answers]
        if not told:
            return {}
        asked = [example for _, example in told]
        return by_cluster(score([answer for answer, _ in told], asked, known), asked)

    return scored


def by_cluster(scores: dict[str, Statistic], examples: Sequence[Example]) -> dict[str, Statistic]:
    """The same scores, drawn by the clusters of the examples; one of all texts at once stays as it is."""
    names = [example.cluster for example in examples]
    return {name: score.grouped(names) if len(score.parts) == len(names) else score for name, score in scores.items()}
