"""Writing poems in a form: which characters may follow at each place (paper section 5.5, recalled).

Every line of a poem has five or seven characters, the same number throughout; lines come in pairs, the first closed by
"，", the second by "。" and a new line; four lines at least, sixteen at most. A form (五言绝句) fixes the length of
a line, and of the poem where its name says so. The rule is a mask over the vocabulary, asked before each token, so the
model chooses freely among what the form allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from m6.config import UserError
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import END

MIN_LINES, MAX_LINES = 4, 16
MARKS = ("，", "。", "\n")
LINE_LENGTHS = {"五": 5, "七": 7}
NUM_LINES = {"绝": 4, "律": 8}


def line_length(form: str) -> int:
    """Characters of a line in a form, 0 if its name does not say."""
    return next((length for name, length in LINE_LENGTHS.items() if form.startswith(name)), 0)


def num_lines(form: str) -> int:
    """Lines of a poem in a form, 0 if its name does not say."""
    return next((number for name, number in NUM_LINES.items() if name in form), 0)


def has_form(poem: str, form: str = "") -> bool:
    """Whether a finished text keeps the rule; it is read as a person would, without knowledge of the masks."""
    lines = re.findall(r"[^，。\n]+[，。]", poem)
    lengths = {len(line) - 1 for line in lines}
    wanted = {line_length(form)} if line_length(form) else {5, 7}
    return (
        "".join(lines) == poem.replace("\n", "")
        and len(lengths) == 1
        and lengths <= wanted
        and MIN_LINES <= len(lines) <= MAX_LINES
        and len(lines) % 2 == 0
        and (not num_lines(form) or len(lines) == num_lines(form))
        and all(line.endswith("，" if index % 2 == 0 else "。") for index, line in enumerate(lines))
    )


class PoemGrammar:
    """Tokens written so far -> which tokens may follow, [V] bool. Pieces of several characters are counted whole.

    UserError for a vocabulary that was not made for poems."""

    def __init__(self, tokenizer: TextTokenizer, vocab_size: int, form: str = "") -> None:
        self._tokenizer = tokenizer
        self._length = line_length(form)
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

    def __call__(self, written: Sequence[int]) -> Tensor:
        text = "".join(self._tokenizer.piece(token) for token in written)
        lines = re.split(r"[，。]", text.replace("\n", ""))
        done, current = len(lines) - 1, len(lines[-1])
        length = self._length or (len(lines[0]) if done else 0)
        if current and current in ((length,) if length else LINE_LENGTHS.values()):
            mark = self._only("，" if done % 2 == 0 else "。")
            return mark | self._characters(7 - current) if not length and current < 7 else mark
        if text.endswith("。"):
            last = self._lines or MAX_LINES
            if done >= last:
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
