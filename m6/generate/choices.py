"""A closed set of answers as a grammar: after every token only those that lead to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from m6.config import UserError
from m6.generate.grammar import Grammar
from m6.tokenizer.vocabulary import END

LEFT = -1
"""The state of what is no beginning of an answer, or has ended."""


class Choices(Grammar):
    """A trie over token ids, whose nodes are the states; an answer may end where one of the set does. UserError for an
    empty set."""

    start = 0

    def __init__(self, answers: Iterable[Sequence[int]], vocab_size: int) -> None:
        """answers: ids of each, without an end mark."""
        super().__init__()
        self._vocab_size = vocab_size
        self._next: list[dict[int, int]] = [{}]
        """Of every node: which token leads where."""
        for ids in answers:
            node = 0
            for token in ids:
                if token not in self._next[node]:
                    self._next[node][token] = len(self._next)
                    self._next.append({})
                node = self._next[node][token]
            self._next[node][END] = LEFT
        if not self._next[0]:
            raise UserError("there is nothing to choose from")

    def after(self, state: int, token: int) -> int:
        return self._next[state].get(token, LEFT) if state != LEFT else LEFT

    def _allowed(self, state: int) -> Tensor:
        mask = torch.zeros(self._vocab_size, dtype=torch.bool)
        mask[list(self._next[state]) if state != LEFT else [END]] = True
        return mask
