"""Sample: what one row of any objective or task looks like before it becomes numbers in a batch.

    Sample(prefix=[Picture], branches=[Branch("captioning", prefix=[], target=Text), ...])

The shared prefix is seen by every branch and computed once; branches do not see one another. A branch's own prefix is
read in both directions, its target is written token by token and carries the loss. An objective that stands alone has
one branch and an empty shared prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

HIDDEN = -1
"""In the place of a code: this cell is not there."""


@dataclass(frozen=True)
class Text:
    """Token ids of a text, specials allowed (a span mask, the matching question)."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """Pixels [S, S', 3] uint8; both sides are multiples of the patch size, unless the model reads crops."""

    pixels: np.ndarray


@dataclass(frozen=True)
class Codes:
    """Image codes [h, w] int, 0 to num_codes - 1, of the image tokenizer; cells that are `HIDDEN` are left out."""

    grid: np.ndarray
    coarse: np.ndarray | None = None
    """Of a picture that is painted over a small one of itself, the codes [h, w] of that at each cell, see `spread`."""
    blanks: np.ndarray | None = None
    """Cells [h, w] bool of a target that are written as any other, and not read by those after them."""


def spread(small: np.ndarray, height: int, width: int) -> np.ndarray:
    """The codes [h', w'] of a small picture at each cell [height, width] of the large one."""
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), small.shape, strict=True))
    return small[rows[:, None], columns]


Segment: TypeAlias = Text | Picture | Codes


@dataclass(frozen=True)
class Branch:
    """One objective on top of the shared prefix."""

    objective: str
    prefix: tuple[Segment, ...]
    target: Text | Codes
    weight: float = 1.0
    """Factor of this branch's loss."""


@dataclass(frozen=True)
class Sample:
    """`key` names the document behind the sample in logs and errors."""

    key: str
    prefix: tuple[Segment, ...] = ()
    branches: tuple[Branch, ...] = field(default=())
