"""Packing: what stands in a row does not change what a sample is worth."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from m6.data.packing import assign_rows, choose_rows, common_length, pack, plane
from m6.data.sample import HIDDEN, Branch, Codes, Sample, Text, spread
from m6.model.config import ModelConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.tokenizer.vocabulary import END, IMAGE, MASK, TEXT
from tests.unit.data.examples import VOCABULARY, mixed_samples


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(num_layers=2, hidden_size=64, num_heads=2, ffn_size=128, init_std=0.1)
    return Transformer(config, VOCABULARY.size).eval()


def sample_losses(model: Transformer, samples: list[Sample], row_length: int) -> Tensor:
    """The sum of the losses of every sample."""
    batch = pack(samples, VOCABULARY, 8, row_length)
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    hidden = model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at)
    losses = F.cross_entropy(model.logits(hidden), batch.labels, reduction="none")
    return torch.zeros(len(samples)).index_add(0, batch.label_sample, losses.detach())


@pytest.mark.parametrize("row_length", [64, 100, 1000])
def test_packed_equals_unpacked(model: Transformer, row_length: int) -> None:
    samples = mixed_samples()
    alone = torch.cat([sample_losses(model, [sample], 0) for sample in samples])
    torch.testing.assert_close(sample_losses(model, samples, row_length), alone, atol=1e-5, rtol=1e-5)


def test_branches_of_one_sample_equal_samples_of_one_branch(model: Transformer) -> None:
    shared = mixed_samples()[2]
    apart = [Sample(branch.objective, shared.prefix, (branch,)) for branch in shared.branches]
    together = sample_losses(model, [shared], 0)
    torch.testing.assert_close(together, sample_losses(model, apart, 0).sum()[None], atol=1e-5, rtol=1e-5)


def test_a_sample_by_hand() -> None:
    sample = Sample("k", (Text((300, 301)),), (Branch("captioning", (Text((302,)),), Text((303, 304)), 0.5),))
    batch = pack([sample], VOCABULARY, 8, 0)
    assert batch.ids.tolist() == [[300, 301, 302, TEXT, 303, 304]]
    assert batch.position[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert batch.branch.tolist() == [[0, 0, 1, 1, 1, 1]]
    assert batch.causal.tolist() == [[False, False, False, True, True, True]]
    assert batch.label_at.tolist() == [3, 4, 5]
    assert batch.labels.tolist() == [303, 304, END]
    assert batch.weights.tolist() == [0.5, 0.5, 0.5]
    assert batch.num_tokens == 6


def test_pictures_lie_on_a_plane() -> None:
    assert plane(7, 2, 2).tolist() == [[7, 1, 1], [7, 1, 2], [7, 2, 1], [7, 2, 2]]


def test_a_small_picture_is_spread_over_the_cells_of_a_large_one() -> None:
    small = np.arange(6).reshape(2, 3)
    enlarged = Image.fromarray(small.astype(np.uint8)).resize((6, 4), Image.Resampling.NEAREST)
    assert spread(small, 4, 6).tolist() == np.asarray(enlarged).tolist()
    assert spread(small, 3, 4).tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5]]


def test_blanks_are_written_and_not_read() -> None:
    grid, blanks = np.array([[5, HIDDEN, 6], [7, 8, 9]]), np.array([[True, True, False], [False, True, False]])
    batch = pack([Sample("k", (), (Branch("coarse_to_fine", (), Codes(grid, None, blanks)),))], VOCABULARY, 8, 0)
    first = VOCABULARY.text_size
    assert batch.labels.tolist() == [first + code for code in (5, 6, 7, 8, 9)]
    assert batch.ids[0].tolist() == [IMAGE, MASK, first + 6, first + 7, MASK]


def test_a_token_shows_what_the_small_picture_has_where_it_asks() -> None:
    grid, coarse = np.array([[5, HIDDEN], [6, 7]]), np.array([[1, 2], [3, 4]])
    over = Sample("k", (), (Branch("coarse_to_fine", (Text((300,)),), Codes(grid, coarse)),))
    batch = pack([over, Sample("l", (), (Branch("captioning", (), Text((301,))),))], VOCABULARY, 8, 0)
    assert batch.coarse is not None
    first = VOCABULARY.text_size
    assert batch.ids[0].tolist()[:4] == [300, IMAGE, first + 5, first + 6]
    assert batch.labels[:3].tolist() == [first + 5, first + 6, first + 7]
    assert batch.coarse[:, :4].tolist() == [[-1, first + 1, first + 3, first + 4], [-1] * 4]
    assert pack([Sample("l", (), (Branch("captioning", (), Text((301,))),))], VOCABULARY, 8, 0).coarse is None


@pytest.mark.parametrize(("lengths", "row_length"), [([5, 3, 3, 2, 2, 1], 8), ([9, 1], 8), ([4] * 7, 8), ([1], 0)])
def test_rows_hold_every_sample_once_and_are_not_overfull(lengths: list[int], row_length: int) -> None:
    rows = assign_rows(lengths, row_length)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[index] for index in row) <= row_length or len(row) == 1


def test_a_sample_goes_into_the_row_with_least_room_that_fits() -> None:
    """By a search through all rows, of two that fit alike the first."""
    rng = np.random.default_rng(0)
    for lengths in rng.integers(1, 60, (50, 40)).tolist():
        room: list[int] = []
        expected: list[list[int]] = []
        for index in sorted(range(40), key=lambda i: (-lengths[i], i)):
            fitting = [row for row in range(len(room)) if room[row] >= lengths[index]]
            row = min(fitting, key=lambda r: (room[r], r), default=len(room))
            if row == len(room):
                room.append(50)
                expected.append([])
            room[row] -= lengths[index]
            expected[row].append(index)
        assert assign_rows(lengths, 50) == expected


def test_packing_wastes_little() -> None:
    """Lengths as in the quickstart: painted pictures, pictures with several branches, captions, a poem."""
    lengths = [64, 64, *[75] * 18, 82, 97, 133, 149, 155, 164, 180, 181, 183, 185]
    rows = choose_rows(lengths, 256)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert max(sum(lengths[index] for index in row) for row in rows) <= 256
    length = common_length(lengths, rows, 256)
    assert length % 32 == 0
    assert sum(lengths) / (len(rows) * length) > 0.88


def test_pictures_of_several_sizes_are_packed_together(model: Transformer) -> None:
    """Wide, high, large and small ones, one of them a region: each is worth what it is alone."""
    rng = np.random.default_rng(0)
    grids = [rng.integers(0, 100, shape) for shape in ((4, 12), (12, 4), (8, 8), (2, 3), (5, 7))]
    region = np.zeros((5, 7), bool)
    region[1:4, 2:6] = True
    prefixes = [(Text((300, 301)),)] * 4 + [(Codes(np.where(region, HIDDEN, grids[4])),)]
    grids[4] = np.where(region, grids[4], HIDDEN)
    samples = [
        Sample(str(number), (), (Branch("text_to_image", prefix, Codes(grid)),))
        for number, (prefix, grid) in enumerate(zip(prefixes, grids, strict=True))
    ]
    alone = torch.cat([sample_losses(model, [sample], 0) for sample in samples])
    torch.testing.assert_close(sample_losses(model, samples, 120), alone, atol=1e-5, rtol=1e-5)


def test_cells_that_are_hidden_are_left_out() -> None:
    """A picture of 2 x 3 codes of which the middle column is painted: by hand."""
    about = Codes(np.array([[10, HIDDEN, 12], [13, HIDDEN, 15]]))
    inside = Codes(np.array([[HIDDEN, 11, HIDDEN], [HIDDEN, 14, HIDDEN]]))
    batch = pack([Sample("k", (), (Branch("inpainting", (about,), inside),))], VOCABULARY, 8, 0)
    assert batch.ids.tolist() == [[510, 512, 513, 515, IMAGE, 511]]
    assert batch.position[0].tolist() == [[0, 1, 1], [0, 1, 3], [0, 2, 1], [0, 2, 3], [1, 1, 2], [1, 2, 2]]
    assert batch.labels.tolist() == [511, 514]
    assert batch.causal.tolist() == [[False] * 4 + [True] * 2]


def test_a_sample_of_no_objective_weighs_nothing() -> None:
    """What a rank computes along with the others when it has nothing of its own."""
    nothing = Sample("", (), (Branch("", (), Text(()), weight=0.0),))
    batch = pack([nothing], VOCABULARY, 8, 16)
    assert batch.objectives == ()
    assert batch.weights.sum() == 0
    assert (batch.objective == 0).all()
