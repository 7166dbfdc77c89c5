"""What is written to a batch of requests, token by token, and which of them are still written to.

Rows of requests that have ended stay in the batch until few others are left, since taking rows out of the caches costs
time; then `add` says which rows go on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m6.generate.grammar import Grammar
from m6.generate.prefill import CROWDED
from m6.tokenizer.vocabulary import END


class Writing:
    """B answers; row r of a step is that of request `_request[r]`."""

    def __init__(self, count: int, grammar: Grammar | None) -> None:
        self.answers: list[list[int]] = [[] for _ in range(count)]
        self.written = torch.zeros(count, 0, dtype=torch.long)
        """All tokens of each row, those behind an end mark too."""
        self._grammar = grammar
        self._states: list[Any] = [grammar.start] * count if grammar is not None else []
        self._request = torch.arange(count)
        self._left = torch.ones(count, dtype=torch.bool)

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return not bool(self._left.any())

    def allowed(self) -> Tensor | None:
        """What the grammar lets follow in each row, [N, V] bool; None without one."""
        return self._grammar.masks(self._states) if self._grammar is not None else None

    def add(self, tokens: Tensor) -> Tensor | None:
        """Notes the next token [N] of each row; returns the rows [M] that go on, if the others are to be taken out."""
        self.written = torch.cat([self.written, tokens[:, None]], 1)
        if self._grammar is not None:
            pairs = zip(self._states, tokens.tolist(), strict=True)
            self._states = [self._grammar.after(state, token) for state, token in pairs]
        self._left &= tokens != END
        rows = self._left.nonzero().flatten()
        for row in rows.tolist():
            self.answers[self._request[row]].append(int(tokens[row]))
        if not 0 < len(rows) < CROWDED * len(tokens):
            return None
        self.written, self._request, self._left = self.written[rows], self._request[rows], self._left[rows]
        self._states = [self._states[row] for row in rows.tolist()] if self._states else []
        return rows
