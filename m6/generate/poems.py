"""Writing poems in a form: which characters may follow at each place (paper section 5.5, recalled).

Every line of a poem has five or seven characters, the same number throughout; lines come in pairs, the first closed by
"，", the second by "。" and a new line; four lines at least, sixteen at most. A form (五言绝句) fixes the length of
a line, and of the poem where its name says so. The rule is a mask over the vocabulary, asked before each token, so the
model chooses freely among what the form allows.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor

from m6.config import UserError
from m6.data.poem_forms import LINE_LENGTHS, MAX_LINES, MIN_LINES, line_length, num_lines
from m6.generate.grammar import Grammar
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import END

MARKS = ("，", "。", "\n")


class Place(NamedTuple):
    """How far a poem is."""

    length: int
    """Characters of a line, 0 while that is open."""
    done: int = 0
    """Lines that are closed."""
    current: int = 0
    """Characters of the line that is being written."""
    paired: bool = False
    """Whether it stands behind a "。"."""


class PoemGrammar(Grammar):
    """Poems of a form, or of any. Pieces of several characters are counted whole.

    UserError for a vocabulary that was not made for poems."""

    def __init__(self, tokenizer: TextTokenizer, vocab_size: int, form: str = "") -> None:
        super().__init__()
        self.start = Place(line_length(form))
        self._lines = num_lines(form)
        self._width = torch.zeros(vocab_size, dtype=torch.long)  # characters of a piece of Chinese; 0 for all else
        self._marks: dict[str, int] = {}
        for token in range(tokenizer.size):
            piece = tokenizer.piece(token)
            if re.fullmatch(r"[\u4e00-\u9fff]+", piece):
                self._width[token] = len(piece)
            elif piece in MARKS:
                self._marks[piece] = token
        if len(self._marks) < len(MARKS) or not self._width.any():
            raise UserError("this model cannot write poems: its vocabulary lacks their marks; train it on some")
        self._widths: list[int] = self._width.tolist()

    def after(self, state: Place, token: int) -> Place:
        if token in (self._marks["，"], self._marks["。"]):
            return Place(state.length or state.current, state.done + 1, 0, token == self._marks["。"])
        return state._replace(current=state.current + self._widths[token], paired=False)

    def _allowed(self, state: Place) -> Tensor:
        length, done, current, paired = state
        if current and current in ((length,) if length else LINE_LENGTHS.values()):
            mark = self._only("，" if done % 2 == 0 else "。")
            return mark | self._characters(7 - current) if not length and current < 7 else mark
        if paired:
            if done >= (self._lines or MAX_LINES):
                return self._end()
            return self._only("\n") | self._end() if done >= MIN_LINES and not self._lines else self._only("\n")
        return self._characters((length or 7) - current)

    def _characters(self, room: int) -> Tensor:
        return (self._width > 0) & (self._width <= room)

    def _only(self, mark: str) -> Tensor:
        allowed = torch.zeros(len(self._width), dtype=torch.bool)
        allowed[self._marks[mark]] = True
        return allowed

    def _end(self) -> Tensor:
        allowed = torch.zeros(len(self._width), dtype=torch.bool)
        allowed[END] = True
        return allowed
