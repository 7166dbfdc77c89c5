"""The mask rule against its drawing, and its two forms against each other."""

import torch
from torch.nn import functional as F

from m6.model.attention import attend
from m6.model.masks import PieceMask, block_mask, boolean_mask, piece_mask
from m6.model.sparse import Tiles

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


def test_attention_in_pieces_is_attention_under_the_whole_mask() -> None:
    """Values and gradients, in float64; the second row begins as the first ends, and both end in padding."""
    sample = torch.cat([SAMPLE, torch.full((1, 3), 2), torch.full((1, 2), -1)], dim=1).repeat(2, 1)
    branch, causal = (F.pad(part, (0, 5)).repeat(2, 1) for part in (BRANCH, CAUSAL))
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(3, 2, 4, sample.shape[1], 8, generator=generator, dtype=torch.float64).requires_grad_()
    query, key, value = given.unbind()
    whole = attend(query, key, value, boolean_mask(sample, branch, causal))
    mask = piece_mask(sample, branch, causal)
    pieces = attend(query, key, value, PieceMask(mask.lengths, [added(one).double() for one in mask.masks]))
    assert mask.lengths == [7, 2, 3, 2] * 2
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-13)
    upstream = torch.randn(whole.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad(mixed, given, upstream)[0] for mixed in (pieces, whole)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-13)


def added(mask: torch.Tensor | Tiles) -> torch.Tensor:
    assert isinstance(mask, torch.Tensor)
    return mask
