"""The mask rule against its drawing, and its two forms against each other."""

import torch

from m6.model.masks import block_mask, boolean_mask

DRAWING = """
x x . . . . . . .
x x . . . . . . .
x x x . . . . . .
x x x x . . . . .
x x x x x . . . .
x x . . . x . . .
x x . . . x x . .
. . . . . . . x x
. . . . . . . x x
"""
# Two samples in a row: the one drawn in m6/model/masks.py (I I a b b c c), then one of two prefix tokens.
SAMPLE = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 1]])
BRANCH = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 0, 0]])
CAUSAL = torch.tensor([[False, False, False, True, True, True, True, False, False]])


def test_mask_is_as_drawn() -> None:
    drawn = torch.tensor([[mark == "x" for mark in line.split()] for line in DRAWING.strip().splitlines()])
    assert torch.equal(boolean_mask(SAMPLE, BRANCH, CAUSAL)[0, 0], drawn)


def test_block_mask_allows_the_same() -> None:
    """FlexAttention's rule, asked at every place, says what the boolean mask says."""
    rule = block_mask(SAMPLE, BRANCH, CAUSAL).mask_mod
    length = SAMPLE.shape[1]
    asked = [
        [bool(rule(torch.tensor(0), torch.tensor(0), torch.tensor(q), torch.tensor(k))) for k in range(length)]
        for q in range(length)
    ]
    assert torch.equal(torch.tensor(asked), boolean_mask(SAMPLE, BRANCH, CAUSAL)[0, 0])
