"""Vocabulary: the one source of truth for id ranges.

One table of ids serves text and pictures: `[0, text_size)` are the text entries (specials first), and
`[text_size, size)` are the image codes. Everything that needs to know what an id is asks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # help pages need none
    import numpy as np

SPECIALS = (
    "<pad>",  # fills a row; never seen, never a target
    "<text>",  # begins a text target
    "<image>",  # begins a target of image codes
    "<end>",  # ends a text target
    "<mask>",  # stands for one masked span
    "<match>",  # asks whether the text before it fits the picture
)
PAD, TEXT, IMAGE, END, MASK, MATCH = range(len(SPECIALS))


@dataclass(frozen=True)
class Vocabulary:
    """Sizes of the two ranges, and the questions one may ask of an id."""

    text_size: int
    num_codes: int

    @property
    def size(self) -> int:
        return self.text_size + self.num_codes

    def code_ids(self, codes: np.ndarray) -> np.ndarray:
        """The ids of image codes (0 to num_codes - 1), int64 of the same shape."""
        return codes.astype("int64") + self.text_size
