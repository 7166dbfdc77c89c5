"""Documents that cannot be used: a picture that does not decode, a row or a file of the storage that cannot be read.

Such a document is skipped, and the one that stands next in its order takes its place. So what a step is made of is
still decided by the step alone, whoever makes it, and no rank is left with less to do. What was skipped travels with
the batch, and the training counts it (`m6/train/guard.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from m6.config import UserError

T = TypeVar("T")

ATTEMPTS = 8
"""Documents that are tried for one place; then it stays empty."""
LONGEST_REASON = 200  # characters


@dataclass(frozen=True)
class Skipped:
    """A document that could not be used: its key, or the row where it stands, and why."""

    key: str
    reason: str


class UnusableError(Exception):
    """A document that cannot be used, as it was found."""

    def __init__(self, skipped: Skipped) -> None:
        super().__init__(f"{skipped.key}: {skipped.reason}")
        self.skipped = skipped


@contextmanager
def usable(key: str) -> Iterator[None]:
    """For the reading of one document and the decoding of its picture, and for nothing else: whatever goes wrong
    inside is the document's fault, since decoders raise errors of any kind. UnusableError."""
    try:
        yield
    except (MemoryError, UnusableError):
        raise
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        words = " ".join(said.split())[:LONGEST_REASON]
        raise UnusableError(Skipped(key, words)) from error


def first_usable(make: Callable[[int], T]) -> tuple[T | None, list[Skipped]]:
    """What `make` gives in the first attempt, counted from 0, that works, or None after `ATTEMPTS`; and what was
    skipped on the way."""
    skipped: list[Skipped] = []
    for attempt in range(ATTEMPTS):
        try:
            return make(attempt), skipped
        except UnusableError as error:
            skipped.append(error.skipped)
    return None, skipped
