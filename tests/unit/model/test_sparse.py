"""Sparse attention among painted codes: the rule against drawings, and all its forms against the boolean mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m6.data.packing import Batch, pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.model.attention import attend
from m6.model.config import CodeAttentionConfig, ModelConfig
from m6.model.masks import PieceMask, block_mask, boolean_mask, piece_mask
from m6.model.sparse import FULL, Tiles, cells, grid, pairs, reach, slots, tiles
from m6.model.transformer import Transformer
from tests.unit.data.examples import VOCABULARY, mixed_samples

WINDOW = CodeAttentionConfig(pattern="window", rows=2, columns=1)
ROW_COLUMN = CodeAttentionConfig(pattern="row_column")
STRIDED = CodeAttentionConfig(pattern="window_strided", rows=1, columns=1, stride=2)
SPARSER = CodeAttentionConfig(pattern="window_strided", rows=1, columns=1, stride=4)
PATTERNS = pytest.mark.parametrize("codes", [WINDOW, ROW_COLUMN, STRIDED], ids=lambda codes: codes.pattern)

MANY = pytest.mark.parametrize("codes", [WINDOW, ROW_COLUMN, SPARSER], ids=lambda codes: codes.pattern)
"""Of pictures of many codes, where tiles are worth it."""

# What a code that is to be painted at ? sees of a picture of 5 rows and 6 columns: x is seen, . is not.
DRAWINGS = {
    WINDOW: """
        . . . . . .
        . . x x x .
        . . x x x .
        . . x ?
    """,
    ROW_COLUMN: """
        . . . x . .
        . . . x . .
        . . . x . .
        x x x ?
    """,
    STRIDED: """
        . . . . . .
        . x . x . x
        . . x x x .
        . x x ?
    """,
}


@PATTERNS
def test_the_rule_is_as_drawn(codes: CodeAttentionConfig) -> None:
    drawn = [line.split() for line in DRAWINGS[codes].strip().splitlines()]
    places = grid(5, 6)
    (asked,) = [number for number, (row, column) in enumerate(places) if row == 4 and drawn[3][column - 1 :] == ["?"]]
    # The key after a cell shows it; the first key is the start mark.
    expected = [True] + [drawn[row - 1][column - 1] == "x" for row, column in places[:asked]]
    seen = reach(codes, places)[asked]
    assert seen[: asked + 1].tolist() == expected
    assert not seen[asked + 1 :].any()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_guides_draw_the_rule(language: str) -> None:
    """The four drawings side by side, which begin at the same columns in all their lines."""
    text = (Path(__file__).parents[3] / "docs" / language / "painting.md").read_text(encoding="utf-8")
    lines = text[text.index("    full   ") :].splitlines()[:6]
    begins = [lines[0].index(f" {name}") + 1 for name in ("full", "window", "row_column", "window_strided")]
    drawn_of = {
        FULL: begins[0],
        CodeAttentionConfig(pattern="window", rows=2, columns=2): begins[1],
        ROW_COLUMN: begins[2],
        CodeAttentionConfig(pattern="window_strided", rows=2, columns=1, stride=2): begins[3],
    }
    places = grid(5, 8)
    asked = places.index((5, 5))
    for codes, begin in drawn_of.items():
        marks = [mark for line in lines[1:] for mark in line[begin : begin + 15].split()]
        assert marks.index("?") == asked
        assert [True] + [mark == "x" for mark in marks[:asked]] == reach(codes, places)[asked][: asked + 1].tolist()


def packed(height: int, width: int, others: bool = True) -> Batch:
    """A picture behind a text, with the mixed samples about it in packed rows, a smaller one among them."""
    rng = torch.Generator().manual_seed(0)
    large = torch.randint(0, 100, (height, width), generator=rng).numpy()
    painting = Sample("large", (), (Branch("text_to_image", (Text((300, 301, 302)),), Codes(large)),))
    samples = [painting, *mixed_samples()] if others else [painting]
    return pack(samples, VOCABULARY, 8, 3 + height * width + 40 if others else 0)


@PATTERNS
def test_the_mask_restricts_codes_of_one_picture_alone(codes: CodeAttentionConfig) -> None:
    """Against a loop in the words of the rule, over packed samples of every kind."""
    batch = packed(4, 5)
    dense = boolean_mask(batch.sample, batch.branch, batch.causal)[:, 0]
    sparse = boolean_mask(batch.sample, batch.branch, batch.causal, batch.position, codes)[:, 0]
    near = reach(codes, grid(4, 5)), reach(codes, grid(3, 3)), reach(codes, grid(2, 3))
    sizes = {20: near[0], 9: near[1], 6: near[2]}
    found = 0
    for row in range(len(batch.ids)):
        for sample in range(int(batch.sample[row].max()) + 1):
            own = (batch.sample[row] == sample).nonzero()[:, 0]
            painted = [at for at in own.tolist() if batch.causal[row, at] and batch.position[row, at, 1] > 0]
            if painted:
                first, last = painted[0], painted[-1] + 1
                found += 1
                assert torch.equal(sparse[row, first:last, first:last], sizes[len(painted)])
                dense[row, first:last, first:last] = sizes[len(painted)]
    assert found == 3
    assert torch.equal(sparse, dense)


@PATTERNS
def test_block_mask_allows_the_same(codes: CodeAttentionConfig) -> None:
    batch = packed(4, 5)
    rule = block_mask(batch.sample, batch.branch, batch.causal, batch.position, codes).mask_mod
    rows, length = batch.ids.shape
    b, q, k = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, (rows, length, length)), indexing="ij"))
    asked = rule(b, torch.zeros_like(b), q, k).view(rows, 1, length, length)
    assert torch.equal(asked, boolean_mask(batch.sample, batch.branch, batch.causal, batch.position, codes))


def double(mask: PieceMask) -> PieceMask:
    """In float64."""

    def one(each: torch.Tensor | Tiles) -> torch.Tensor | Tiles:
        if isinstance(each, torch.Tensor):
            return each.double()
        return Tiles(each.queries, each.keys, each.bias.double(), each.order, each.prefix)

    return PieceMask(mask.lengths, [one(each) for each in mask.masks])


@MANY
@pytest.mark.parametrize("others", [True, False])
def test_attention_in_tiles_is_attention_under_the_boolean_mask(codes: CodeAttentionConfig, others: bool) -> None:
    """Values and gradients, in float64; 30 x 35 codes, which no tile divides."""
    batch = packed(30, 35, others)
    rule = (batch.sample, batch.branch, batch.causal, batch.position, codes)
    mask = double(piece_mask(*rule))
    assert any(isinstance(one, Tiles) for one in mask.masks)
    rng = torch.Generator().manual_seed(0)
    given = torch.randn(3, len(batch.ids), 2, batch.ids.shape[1], 8, generator=rng, dtype=torch.float64)
    upstream = torch.randn(given.shape[1:], generator=rng, dtype=torch.float64)
    results = []
    for form in (boolean_mask(*rule), mask):
        leaf = given.clone().requires_grad_()
        mixed = attend(leaf[0], leaf[1], leaf[2], form)
        results.append((mixed, *torch.autograd.grad(mixed, leaf, upstream)))
    for plain, tiled in zip(*results, strict=True):
        torch.testing.assert_close(tiled, plain, rtol=0, atol=1e-12)


@MANY
def test_a_region_is_tiled_as_a_whole_picture_is(codes: CodeAttentionConfig) -> None:
    """Only some cells are painted, as when a picture is edited: each query sees in its tile what the rule says."""
    chosen = torch.rand(40, 40, generator=torch.Generator().manual_seed(0)) < 0.7
    places = tuple(place for place in grid(40, 40) if chosen[place[0] - 1, place[1] - 1])
    found = tiles(codes, places)
    assert found is not None
    allowed = torch.zeros(len(places), len(places), dtype=torch.bool)
    for queries, keys, bias in zip(found.queries, found.keys, found.bias[:, 0], strict=True):
        for query, row in zip(queries, bias, strict=True):
            allowed[query, keys[row == 0]] = True
    assert torch.equal(allowed, reach(codes, places))
    flat = found.queries.flatten()
    assert torch.equal(flat[found.order], torch.arange(len(places)))


@PATTERNS
def test_slots_keep_what_is_still_seen(codes: CodeAttentionConfig) -> None:
    """Played through: whatever a token reads was written by those that it sees, and by nothing since."""
    places = grid(9, 7)
    found = slots(codes, places)
    held: dict[int, int] = {}
    for place, seen in enumerate(reach(codes, places)):
        held[found.write[place]] = place
        assert [held[slot] for slot in found.read[place].tolist()] == seen.nonzero()[:, 0].tolist()
    assert found.room == len(held)


def test_what_a_window_costs_grows_with_the_codes_alone() -> None:
    """Of 64 x 64 codes a cache holds eight rows and a little; a code takes as much work as one of 48 x 48."""
    codes = CodeAttentionConfig(pattern="window")
    assert slots(codes, grid(64, 64)).room == 8 * 64 + 9  # the rows above, what the window has of its own, the start
    small, large = tiles(codes, grid(48, 48)), tiles(codes, grid(64, 64))
    assert small is not None
    assert large is not None
    assert large.cost / 64**2 == small.cost / 48**2
    assert pairs(codes, grid(64, 64)) / pairs(FULL, grid(64, 64)) < 0.07
    assert slots(CodeAttentionConfig(pattern="window_strided"), grid(64, 64)).room < 0.15 * 4096


@PATTERNS
def test_small_pictures_are_dense_and_full_is_as_before(codes: CodeAttentionConfig) -> None:
    batch = packed(4, 5)
    mask = piece_mask(batch.sample, batch.branch, batch.causal, batch.position, codes)
    assert all(isinstance(one, torch.Tensor) for one in mask.masks)
    plain = piece_mask(batch.sample, batch.branch, batch.causal)
    full = piece_mask(batch.sample, batch.branch, batch.causal, batch.position, FULL)
    for one, other in zip(plain.masks, full.masks, strict=True):
        assert isinstance(one, torch.Tensor)
        assert isinstance(other, torch.Tensor)
        assert torch.equal(one, other)


@MANY
def test_a_code_learns_from_what_it_sees_alone(codes: CodeAttentionConfig) -> None:
    """Through one layer, the gradient of a code reaches the keys of the rule and the whole prefix, and no others."""
    batch = packed(30, 35, others=False)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(num_layers=1, hidden_size=32, num_heads=2, ffn_size=64), VOCABULARY.size)
    shown: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, given: object, out: torch.Tensor) -> torch.Tensor:
        shown.append(out.detach().requires_grad_())
        return shown[-1]

    model.embedding.register_forward_hook(keep)
    mask = piece_mask(batch.sample, batch.branch, batch.causal, batch.position, codes)
    hidden = model(batch.ids, batch.position, mask)
    place = 300
    hidden[0, 3 + place, 0].backward()
    assert shown[0].grad is not None
    touched = shown[0].grad[0].abs().sum(-1) > 0
    expected = reach(codes, grid(30, 35))[place]
    expected[place] = True  # what it shows itself, on the residual path
    assert touched[:3].all()
    assert torch.equal(touched[3:], expected)


def test_cells_asked_and_shown() -> None:
    """Of a text and a picture of 2 x 2 codes behind it: the start mark shows nothing, each other the cell before."""
    sample = Sample("a", (), (Branch("text_to_image", (Text((300,)),), Codes(torch.zeros(2, 2).int().numpy())),))
    batch = pack([sample], VOCABULARY, 8, 0)
    asked, shown = cells(batch.sample, batch.branch, batch.causal, batch.position)
    assert asked[0].tolist() == [[0, 0], [1, 1], [1, 2], [2, 1], [2, 2]]
    assert shown[0].tolist() == [[0, 0], [0, 0], [1, 1], [1, 2], [2, 1]]
