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
from m6.generate.engine import Engine
from m6.generate.grammar import Grammar
from m6.generate.prefill import Prefix
from m6.generate.sampling import Sampling, choose, choose_at, generators, guide, uniform
from m6.generate.text_to_image import Grid
from m6.generate.writing import Writing
from m6.tokenizer.vocabulary import IMAGE, TEXT


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
    slots: list[int] = field(default_factory=list)
    """Those that it has, one a prefix."""
    done: bool = False

    paints = False

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
    def next(self) -> tuple[Tensor, Tensor]:
        """The next token [n] of each slot, and its position [n, 3]."""

    @abstractmethod
    def take(self, engine: Engine, logits: Tensor) -> None:
        """The logits [n, V] of each slot after the last `next`."""

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

    @property
    def prefixes(self) -> Sequence[Prefix]:
        return [self.prefix]

    @property
    def length(self) -> int:
        return self.most

    def begin(self, orders: Sequence[int]) -> None:
        self._order = orders[0]
        self._token = torch.tensor([TEXT])
        self._writing = Writing(1, self.grammar)

    def next(self) -> tuple[Tensor, Tensor]:
        return self._token, torch.tensor([[self._order, 0, 0]])

    def take(self, engine: Engine, logits: Tensor) -> None:
        scores = logits[:, : engine.vocabulary.text_size]
        scores = restrict(scores, self._writing.written, self.decoding, self._writing.allowed())
        self._token = choose(scores, self.decoding, [self.draw] if self.draw is not None else [])
        self._writing.add(self._token)
        self._order += 1
        answer = self._writing.answers[0]
        self.done = self._writing.done or self._writing.written.shape[1] >= self.most
        self.tell(Event("done" if self.done else "ids", list(answer)))


@dataclass
class PaintJob(Job):
    """Pictures of prompts, each with its half without a prompt if it is guided."""

    asked: Sequence[Prefix] = ()
    blank: Sequence[Prefix] = ()  # one each for guidance, or none
    grid: Grid = Grid(0, 0)  # noqa: RUF009, it is a tuple
    sampling: Sampling = Sampling()  # noqa: RUF009, it is frozen
    guidance: float = 1.0
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
        self._orders = torch.tensor(orders)
        self._numbers = uniform(generators(self.sampling.seed, len(self.asked)), self.length)
        self._codes = np.full((len(self.asked), self.length), HIDDEN)
        self._tokens = torch.full((len(self.prefixes),), IMAGE)
        self._painted = 0

    def next(self) -> tuple[Tensor, Tensor]:
        row, column = divmod(self._painted, self.grid.width)
        cell = torch.tensor([row + 1, column + 1]).expand(len(self._orders), -1)
        return self._tokens, torch.cat([self._orders[:, None], cell], 1)

    def take(self, engine: Engine, logits: Tensor) -> None:
        scores = logits[:, engine.vocabulary.text_size :]
        if self.blank:
            scores = guide(scores[: len(self.asked)], scores[len(self.asked) :], self.guidance)
        codes = choose_at(scores, self.sampling, self._numbers[:, self._painted])
        self._codes[:, self._painted] = codes.numpy()
        self._tokens = (codes + engine.vocabulary.text_size).repeat(2 if self.blank else 1)
        self._painted += 1
        self.done = self._painted == self.length
        if self.done or (self.tell_every and self._painted % self.tell_every == 0):
            grids = self._codes.reshape(-1, self.grid.height, self.grid.width).copy()
            self.tell(Event("done" if self.done else "codes", grids))
