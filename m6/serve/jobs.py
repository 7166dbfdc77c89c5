"""Requests as the scheduler works on them: what they need of the model, and what they make of a step.

A job takes one slot or several, is told the logits of its rows after each step, and says which tokens follow; what it
has made it gives away as events. One that fails or is cancelled leaves its slots, and no other job notices.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from m6.data.sample import HIDDEN
from m6.generate.decoding import Decoding, restrict
from m6.generate.grammar import Grammar
from m6.generate.prefill import Prefix
from m6.generate.sampling import Sampling, choose, choose_at, generators, guide, uniform
from m6.generate.text_to_image import Grid
from m6.tokenizer.vocabulary import END, IMAGE, TEXT

LIKELIEST = Decoding()


@dataclass(frozen=True)
class Event:
    """Something a job has made."""

    kind: Literal["ids", "codes", "done", "failed"]
    value: Any = None
    """ids: all token ids so far; codes: all grids [n, h, w] so far; failed: what went wrong, an exception."""


class TimedOutError(Exception):
    """A job took longer than it may."""


@dataclass
class Job(ABC):
    """A request. `tell` is called by the thread of the scheduler."""

    tell: Callable[[Event], None]
    deadline: float = field(default=float("inf"))
    """Time of `time.monotonic` at which it ends, done or not."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    enough: bool = False
    """Set before `cancelled` by a caller who has all that he wants: the job has not failed him."""
    slots: list[int] = field(default_factory=list)
    """Those that it has, one a prefix."""
    done: bool = False
    begun: bool = False
    """Whether it has made a token."""
    since: float = field(default_factory=time.monotonic)
    """Time at which it was made."""

    paints = False

    @property
    def kind(self) -> str:
        """For metrics."""
        return "painting" if self.paints else "text"

    @property
    @abstractmethod
    def prefixes(self) -> Sequence[Prefix]:
        """One a slot."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens behind a prefix, at the most."""

    @abstractmethod
    def begin(self, orders: Sequence[int]) -> None:
        """Its prefixes have been read; `orders`: where what follows each stands."""

    @abstractmethod
    def next(self) -> list[tuple[int, int, int, int]]:
        """The next token of each slot, and its position: order, row, column."""

    @abstractmethod
    def take(self, logits: Tensor) -> None:
        """The logits of each slot after the last `next`: [n, V'] of the text vocabulary, or of the codes if it
        paints."""

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline


@dataclass
class TextJob(Job):
    """A text behind a prefix."""

    prefix: Prefix = ()
    most: int = 0
    decoding: Decoding = Decoding()  # noqa: RUF009, it is frozen
    draw: torch.Generator | None = None
    grammar: Grammar | None = None
    watched: bool = False
    """Tells every token; else the end alone."""

    @property
    def prefixes(self) -> Sequence[Prefix]:
        return [self.prefix]

    @property
    def length(self) -> int:
        return self.most

    @property
    def likeliest(self) -> bool:
        """Whether it takes the likeliest token, whatever it is: then `put` is told of it instead of `take`."""
        return self.grammar is None and self.decoding == LIKELIEST

    def begin(self, orders: Sequence[int]) -> None:
        self._order, self._token = orders[0], TEXT
        self.written: list[int] = []
        self._state = self.grammar.start if self.grammar is not None else None

    def next(self) -> list[tuple[int, int, int, int]]:
        return [(self._token, self._order, 0, 0)]

    def take(self, logits: Tensor) -> None:
        allowed = self.grammar.allowed(self._state)[None] if self.grammar is not None else None
        written = torch.tensor([self.written], dtype=torch.long)
        scores = restrict(logits, written, self.decoding, allowed)
        self.put(int(choose(scores, self.decoding, [self.draw] if self.draw is not None else [])))

    def put(self, token: int) -> None:
        """Writes a token."""
        if token == END:
            self.done = True
        else:
            self.written.append(token)
            self.done = len(self.written) >= self.most
            if self.grammar is not None:
                self._state = self.grammar.after(self._state, token)
        self._token = token
        self._order += 1
        if self.done or self.watched:
            self.tell(Event("done" if self.done else "ids", list(self.written)))


@dataclass
class PaintJob(Job):
    """Pictures of prompts, each with its half without a prompt if it is guided."""

    asked: Sequence[Prefix] = ()
    blank: Sequence[Prefix] = ()  # one each for guidance, or none
    grid: Grid = Grid(0, 0)  # noqa: RUF009, it is a tuple
    sampling: Sampling = Sampling()  # noqa: RUF009, it is frozen
    guidance: float = 1.0
    first_code: int = 0
    """The id of the code 0."""
    tell_every: int = 0
    """Codes of a picture between two events; 0 tells the end alone."""

    paints = True

    @property
    def prefixes(self) -> Sequence[Prefix]:
        return [*self.asked, *self.blank]

    @property
    def length(self) -> int:
        return self.grid.height * self.grid.width

    def begin(self, orders: Sequence[int]) -> None:
        self._orders = orders
        self._numbers = uniform(generators(self.sampling.seed, len(self.asked)), self.length)
        self._codes = np.full((len(self.asked), self.length), HIDDEN)
        self._tokens = [IMAGE] * len(orders)
        self._painted = 0

    def next(self) -> list[tuple[int, int, int, int]]:
        row, column = divmod(self._painted, self.grid.width)
        return [(token, order, row + 1, column + 1) for token, order in zip(self._tokens, self._orders, strict=True)]

    def take(self, logits: Tensor) -> None:
        scores = logits
        if self.blank:
            scores = guide(scores[: len(self.asked)], scores[len(self.asked) :], self.guidance)
        codes = choose_at(scores, self.sampling, self._numbers[:, self._painted])
        self._codes[:, self._painted] = codes.numpy()
        self._tokens = (codes + self.first_code).tolist() * (2 if self.blank else 1)
        self._painted += 1
        self.done = self._painted == self.length
        if self.done or (self.tell_every and self._painted % self.tell_every == 0):
            grids = self._codes.reshape(-1, self.grid.height, self.grid.width).copy()
            self.tell(Event("done" if self.done else "codes", grids))
