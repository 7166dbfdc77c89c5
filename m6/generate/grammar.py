"""Grammars: what may follow what is written, as states and tokens, for every way of decoding.

    start -> state, after(state, token) -> state, allowed(state) -> mask over the vocabulary

A step costs one look-up for each answer, however long it is already. Poems (`poems`) and closed sets (`choices`) are
grammars.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


class Grammar(ABC):
    """An automaton over token ids. Masks are made once for each state that is met."""

    start: Any
    """The state of an answer of which nothing is written; states are hashable."""

    def __init__(self) -> None:
        self._masks: dict[Hashable, Tensor] = {}

    @abstractmethod
    def after(self, state: Any, token: int) -> Any:
        """The state that a token leads to."""

    @abstractmethod
    def _allowed(self, state: Any) -> Tensor: ...

    def allowed(self, state: Any) -> Tensor:
        """Which tokens may follow, [V] bool; not to be written to."""
        if state not in self._masks:
            self._masks[state] = self._allowed(state)
        return self._masks[state]

    def masks(self, states: Sequence[Any]) -> Tensor:
        """The same of many, [N, V] bool."""
        unlike = list(dict.fromkeys(states))
        place = {state: index for index, state in enumerate(unlike)}
        return torch.stack([self.allowed(state) for state in unlike])[[place[state] for state in states]]

    def __call__(self, written: Sequence[int]) -> Tensor:
        """Which tokens may follow these, [V] bool."""
        state = self.start
        for token in written:
            state = self.after(state, token)
        return self.allowed(state)
