"""Painting against the plain forward pass: guidance, regions, coarse to fine, and codes that are guessed ahead."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from m6.config import UserError
from m6.data.sample import HIDDEN, Codes
from m6.generate.engine import Engine
from m6.generate.painting import Request, plain
from m6.generate.prefill import Prefill, Prefix
from m6.generate.sampling import Sampling, choose, choose_at, generators, uniform
from m6.generate.text_to_image import UNPAINTED, Edit, Grid, paint_codes, unfinished
from m6.model.config import CodeAttentionConfig
from m6.model.sparse import FULL, grid
from tests.unit.generate.small_engine import WINDOW, next_logits, small_engine

PROMPTS = ("红苹果", "左边是企鹅")
DRAWN = Sampling(temperature=1.0, top_k=40, seed=5)


def code_logits(engine: Engine, prefix: Prefix, codes: np.ndarray, coarse: np.ndarray | None = None) -> torch.Tensor:
    """Of every cell that is painted: [N, num_codes]."""
    return next_logits(engine, prefix, Codes(codes, coarse))[:, engine.vocabulary.text_size :]


def test_guidance_of_1_is_none() -> None:
    engine = small_engine()
    prefixes: list[Prefix] = [(engine.text(prompt),) for prompt in PROMPTS]
    both = Request(prefixes, [(), ()], grid(4, 4), DRAWN, generators(5, 2), 1.0)
    with_halves = plain(engine, both, lambda codes: None)
    without = engine.paint(prefixes, 4, 4, DRAWN, guidance=1.0)
    assert with_halves.tolist() == without.reshape(2, -1).tolist()
    assert engine.paint(prefixes, 4, 4, DRAWN, guidance=4.0).tolist() != without.tolist()


def test_numbers_drawn_together_are_those_drawn_one_by_one() -> None:
    logits = torch.randn(3, 5, 50, generator=torch.Generator().manual_seed(0))
    numbers, draws = uniform(generators(7, 3), 5), generators(7, 3)
    one_by_one = torch.stack([choose(logits[:, place], DRAWN, draws) for place in range(5)], 1)
    assert torch.equal(choose_at(logits, DRAWN, numbers), one_by_one)


@pytest.mark.parametrize("codes", [FULL, WINDOW], ids=lambda codes: codes.pattern)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("ahead", [2, 5, 64])
def test_guessing_ahead_paints_the_same_picture(codes: CodeAttentionConfig, guidance: float, ahead: int) -> None:
    engine = small_engine(codes)
    prefixes: list[Prefix] = [(engine.text(prompt),) for prompt in PROMPTS]
    expected = engine.paint(prefixes, 5, 4, DRAWN, guidance)
    assert engine.paint(prefixes, 5, 4, DRAWN, guidance, ahead=ahead).tolist() == expected.tolist()


def test_guesses_that_are_right_save_steps() -> None:
    """Where one code is certain whatever stands before it, as many are painted a step as are guessed at."""
    engine = small_engine()
    with torch.no_grad():
        engine.model.embedding.weight[engine.vocabulary.text_size :] = 0
    taken = []

    def count(self: Prefill, tokens: torch.Tensor, cells: torch.Tensor, coarse: torch.Tensor | None) -> torch.Tensor:
        taken.append(len(cells))
        return several(self, tokens, cells, coarse)

    several = Prefill.several
    with mock.patch.object(Prefill, "several", count):
        engine.paint([()], 4, 4, Sampling(), ahead=4)
    assert taken == [4, 4, 4, 4]


def test_guessing_ahead_keeps_the_distribution() -> None:
    """Pictures of two codes, four likeliest each: how often each of the 16 comes out, guessed ahead, against the
    probabilities of the model itself. The chi-square of 15 degrees stays under its 99.9 % point, 37.7."""
    engine = small_engine()
    prefix: Prefix = (engine.text("红苹果"),)
    sampling = Sampling(temperature=1.0, top_k=4, seed=11)

    def likeliest(first: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = code_logits(engine, prefix, np.array([[first, 0]])).double().topk(4)
        return found.values.softmax(-1), found.indices

    chances: dict[tuple[int, int], float] = {}
    begin, codes = likeliest(0)
    for chance, code in zip(begin[0].tolist(), codes[0].tolist(), strict=True):
        then, others = likeliest(code)
        chances |= {(code, o): chance * c for c, o in zip(then[1].tolist(), others[1].tolist(), strict=True)}
    count = 1_280
    painted = engine.paint([prefix] * count, 1, 2, sampling, ahead=2).reshape(count, 2)
    found = dict.fromkeys(chances, 0)
    for pair in map(tuple, painted.tolist()):
        found[pair] += 1
    chi_square = sum((found[pair] - count * chance) ** 2 / (count * chance) for pair, chance in chances.items())
    assert chi_square < 37.7


def test_a_region_is_painted_from_all_that_is_known() -> None:
    """The rest of the picture stands before it, what follows in reading order too; and stays as it is."""
    engine = small_engine()
    rng = np.random.default_rng(0)
    known = rng.integers(0, 1000, (4, 5))
    region = np.zeros((4, 5), bool)
    region[1:3, 2:4] = True
    (codes,) = paint_codes(engine, PROMPTS[:1], Grid(4, 5), Sampling(), 2.0, edit=Edit(known, region))
    assert (codes[~region] == known[~region]).all()
    about = Codes(np.where(region, HIDDEN, known))
    target = np.where(region, codes, HIDDEN)
    guided, without = (code_logits(engine, prefix, target) for prefix in ((engine.text(PROMPTS[0]), about), (about,)))
    assert (without + 2.0 * (guided - without)).argmax(-1).tolist() == codes[region].tolist()
    known[3, 4] = (known[3, 4] + 1) % 1000
    changed = code_logits(engine, (engine.text(PROMPTS[0]), Codes(np.where(region, HIDDEN, known))), target)
    assert not torch.allclose(changed, guided)


def test_several_pictures_are_edited_as_each_alone() -> None:
    engine = small_engine()
    known = np.random.default_rng(1).integers(0, 1000, (2, 4, 5))
    region = np.arange(5) > 2 + np.zeros((4, 1))
    both = paint_codes(engine, PROMPTS[:2], Grid(4, 5), edit=Edit(known, region))
    for prompt, picture, codes in zip(PROMPTS, known, both, strict=False):
        assert np.array_equal(paint_codes(engine, [prompt], Grid(4, 5), edit=Edit(picture, region))[0], codes)


@pytest.mark.parametrize("ahead", [1, 7])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_fine_picture_is_painted_over_a_coarse_one(guidance: float, ahead: int) -> None:
    engine = small_engine(WINDOW, tell_size=True, coarse=True)
    size = engine.text("6x4")
    drawn = paint_codes(engine, PROMPTS, Grid(4, 6), Sampling(), guidance, coarse=Grid(2, 3), ahead=ahead)
    small = paint_codes(engine, PROMPTS, Grid(2, 3), Sampling(), guidance)
    for prompt, codes, beneath in zip(PROMPTS, drawn, small.repeat(2, 1).repeat(2, 2), strict=True):
        guided, without = (
            code_logits(engine, prefix, codes, beneath) for prefix in ((engine.text(prompt), size), (size,))
        )
        chosen = (without + guidance * (guided - without)).argmax(-1)
        assert chosen.tolist() == codes.flatten().tolist()
        other = code_logits(engine, (engine.text(prompt), size), codes, np.roll(beneath, 2, 1))
        assert not torch.allclose(other, guided)


def test_one_watches_while_it_is_painted() -> None:
    engine = small_engine()
    seen: list[tuple[np.ndarray, int]] = []
    grids = engine.paint([(), ()], 2, 3, DRAWN, watch=lambda grids, count: seen.append((grids.copy(), count)))
    assert [count for _, count in seen] == [2, 4, 6, 8, 10, 12, 12]
    for so_far, count in seen:
        shown = so_far != HIDDEN
        assert shown.sum() == count
        assert (so_far[shown] == grids[shown]).all()
    pixels = unfinished(engine, seen[2][0])
    assert pixels.shape == (2, 16, 24, 3)
    assert (pixels[:, 8:] == UNPAINTED).all()
    assert not (pixels[:, :8] == UNPAINTED).all()


def test_sizes() -> None:
    engine = small_engine()
    assert Grid.of("64", engine) == (8, 8)
    assert Grid.of("64x24", engine) == (3, 8)  # width x height in pixels, rows and columns in codes
    for size, said in {
        "60": "size 60: 60 is no multiple of 8, pixels of a code; take 64",
        "64x20": "20 is no multiple of 8, pixels of a code; take 16",
        "0": "size 0: 0 is too small, a side has 8 pixels or more; take 8",
        "520": "520 is too large, this model paints up to 512",
        "64x64x64": "it has to be pixels",
        "big": "it has to be pixels",
        "-8": "it has to be pixels",
    }.items():
        with pytest.raises(UserError, match=said):
            Grid.of(size, engine)


def test_the_batch_is_cut_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """More pictures than are worked on at once: each is the one of its own seed."""
    engine = small_engine()
    together = engine.paint([()] * 5, 2, 2, DRAWN)
    monkeypatch.setattr("m6.generate.engine.BATCH", 2)
    assert engine.paint([()] * 5, 2, 2, DRAWN).tolist() == together.tolist()
