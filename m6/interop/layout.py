"""Where the tokens of a row stand and which of them are written: told by the ids alone.

    <image> <image> ... a question  <text> an answer <end>
    \\________ prefix ___________/  \\______ target _____/

What stands before the mark `<text>` is prefix, which is read in both directions, but pictures at its start do not see
the text behind them, which in training is that of one branch of several; the mark and what follows are target, written
token by token. A picture is as many `<image>` as it has patches, in reading order. So ids and the attention mask of
transformers are all that is needed, and a batch may be filled up on either side.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from m6.model.masks import boolean_mask
from m6.tokenizer.vocabulary import IMAGE, TEXT


class Layout(NamedTuple):
    """position: [B, T, 3] int64, order, row and column as `m6.data.packing` gives them; causal: [B, T] bool; branch:
    [B, T] int64, 0 for pictures at the start, then 1."""

    position: Tensor
    causal: Tensor
    branch: Tensor


def lay_out(ids: Tensor, visible: Tensor, grid: tuple[int, int]) -> Layout:
    """ids: [B, T] int64; visible: [B, T] bool, false for filling; grid: rows and columns of every picture."""
    rows, columns = grid
    picture = ids == IMAGE
    cell = (picture.cumsum(1) - 1) % (rows * columns)
    steps = visible & (~picture | (cell == 0))  # a picture is one step of order
    order = (steps.cumsum(1) - 1).clamp(min=0)
    row, column = ((axis + 1) * picture for axis in (cell // columns, cell % columns))  # text lies at 0
    branch = ((visible & ~picture).cumsum(1) > 0).long()
    return Layout(torch.stack([order, row, column], -1), (ids == TEXT).cumsum(1) > 0, branch)


def mask(visible: Tensor, causal: Tensor, branch: Tensor, past: int) -> Tensor | None:
    """Who sees whom, [B, 1, T, P + T] bool: the rule of `m6.model.masks` for a row of one branch. None if all do.

    visible: [B, P + T] bool; causal: [B, T] bool; branch: [B, T] int64. Behind `past` tokens in a cache there is only
    target.
    """
    length = causal.shape[1]
    if past:
        if length == 1:
            return visible[:, None, None]
        order = torch.ones(length, past + length, dtype=torch.bool, device=visible.device).tril(past)
        return visible[:, None, None] & order
    filling = visible.int() - 1
    return boolean_mask(filling, branch, causal)


def picture_places(ids: Tensor, count: int) -> Tensor:
    """Flat places [count] in [B * T] of the first `count` patches of pictures, in order. Of a shape that is known
    before the ids are, which exporters ask for."""
    picture = (ids == IMAGE).flatten()
    place = torch.arange(len(picture), device=ids.device)
    return torch.where(picture, place, place + len(picture)).topk(count, largest=False).values
