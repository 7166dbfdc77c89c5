"""The engine against the plain forward pass, and results that do not depend on what shares the batch."""

import numpy as np
import pytest
import torch

from m6.config import UserError
from m6.data.sample import Branch, Codes, Picture, Sample, Text
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.prefill import Prefill, Prefix
from m6.generate.sampling import Sampling
from m6.model.config import CodeAttentionConfig
from m6.model.transformer import Transformer
from m6.tokenizer.vocabulary import END, TEXT
from tests.unit.data.examples import picture
from tests.unit.generate.small_engine import next_logits, small_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return small_engine()


@pytest.fixture(scope="module")
def prefixes(engine: Engine) -> list[Prefix]:
    """Of different lengths: picture, picture and question, text alone, nothing."""
    return [
        (Picture(picture(0)),),
        (Picture(picture(7)), engine.text("这是什么？")),
        (engine.text("五言绝句《春晓》"),),
        (),
    ]


def test_cached_writing_is_what_the_full_forward_likes_best(engine: Engine, prefixes: list[Prefix]) -> None:
    for prefix, written in zip(prefixes, engine.write(prefixes, 12), strict=True):
        logits = next_logits(engine, prefix, Text(tuple(written)))[:, : engine.vocabulary.text_size]
        expected = [*written, END] if len(written) < 12 else written
        assert logits.argmax(-1).tolist()[: len(expected)] == expected


def test_cached_logits_are_those_of_the_full_forward(engine: Engine, prefixes: list[Prefix]) -> None:
    """Prefixes of different lengths in one batch, a given text after each: every logit, to 1e-5."""
    targets = [engine.text(text) for text in ("一个梨", "左边是梨", "动物", "水果")]
    length = 1 + max(len(target.ids) for target in targets)
    with torch.inference_mode():
        state = Prefill(engine, prefixes, length)
        given = [[TEXT, *target.ids, *[END] * length][:length] for target in targets]
        steps = [
            engine.model.logits(state.step(torch.tensor(column), state.order + at, 0, 0))
            for at, column in enumerate(zip(*given, strict=True))
        ]
    for row, (prefix, target) in enumerate(zip(prefixes, targets, strict=True)):
        full = next_logits(engine, prefix, target)
        cached = torch.stack([step[row] for step in steps[: len(full)]])
        torch.testing.assert_close(cached, full, atol=1e-5, rtol=1e-5)


def test_cached_painting_is_what_the_full_forward_likes_best(engine: Engine, prefixes: list[Prefix]) -> None:
    grids = engine.paint(prefixes, 3, 2)
    assert grids.shape == (4, 3, 2)
    for prefix, grid in zip(prefixes, grids, strict=True):
        logits = next_logits(engine, prefix, Codes(grid))[:, engine.vocabulary.text_size :]
        assert logits.argmax(-1).tolist() == grid.flatten().tolist()


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize(
    "codes",
    [
        CodeAttentionConfig(pattern="window", rows=2, columns=1),
        CodeAttentionConfig(pattern="row_column"),
        CodeAttentionConfig(pattern="window_strided", rows=1, columns=1, stride=2),
    ],
    ids=lambda codes: codes.pattern,
)
def test_sparse_cached_painting_is_what_the_sparse_full_forward_likes_best(
    engine: Engine, prefixes: list[Prefix], codes: CodeAttentionConfig, guidance: float
) -> None:
    """Prefixes of different lengths in one batch, and caches that keep what is still seen alone."""
    config = engine.model.config.model_copy(update={"code_attention": codes})
    model = Transformer(config, engine.vocabulary.size)
    model.load_state_dict(engine.model.state_dict())
    sparse = Engine(model, engine.vocabulary, engine.tokenizer, engine.vqgan, engine.data, 16)
    grids = sparse.paint(prefixes, 5, 6, Sampling(), guidance)
    differs = False
    for prefix, grid in zip(prefixes, grids, strict=True):
        logits, without = (next_logits(sparse, each, Codes(grid)) for each in (prefix, ()))
        guided = (without + guidance * (logits - without))[:, engine.vocabulary.text_size :]
        assert guided.argmax(-1).tolist() == grid.flatten().tolist()
        differs |= not torch.allclose(next_logits(engine, prefix, Codes(grid)), logits, atol=1e-3)
    assert differs  # the rule counts


def test_guidance_is_the_two_halves_apart(engine: Engine, prefixes: list[Prefix]) -> None:
    grid = engine.paint(prefixes[2:3], 2, 2, guidance=3.0)[0]
    with_prompt, without = (next_logits(engine, prefix, Codes(grid)) for prefix in (prefixes[2], ()))
    guided = (without + 3.0 * (with_prompt - without))[:, engine.vocabulary.text_size :]
    assert guided.argmax(-1).tolist() == grid.flatten().tolist()


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_k=50, seed=3)])
def test_a_result_does_not_depend_on_what_shares_the_batch(
    engine: Engine, prefixes: list[Prefix], sampling: Sampling
) -> None:
    together = engine.write(prefixes, 8, sampling)
    for index, prefix in enumerate(prefixes):
        assert engine.write([prefix], 8, sampling) == [together[index]]
    assert engine.write(prefixes[::-1], 8, sampling) == together[::-1]


def test_copies_of_a_request_draw_otherwise_and_other_seeds_too(engine: Engine, prefixes: list[Prefix]) -> None:
    drawn = engine.write(prefixes[:1] * 3, 12, Sampling(temperature=1.0, seed=3))
    other = engine.write(prefixes[:1], 12, Sampling(temperature=1.0, seed=4))
    assert len({tuple(ids) for ids in drawn + other}) == 4
    assert engine.write([*prefixes[1:], *prefixes[:1] * 2], 12, Sampling(temperature=1.0, seed=3))[3:] == drawn[:2]


def test_more_tokens_at_least_than_at_most_are_refused(engine: Engine, prefixes: list[Prefix]) -> None:
    with pytest.raises(UserError, match="min_tokens 9: more than the most that is written, 8"):
        engine.write(prefixes, 8, Decoding(min_tokens=9))


def test_losses_are_those_of_each_sample_alone(engine: Engine, prefixes: list[Prefix]) -> None:
    samples = [Sample("", (), (Branch("x", prefix, engine.text("一个梨")),)) for prefix in prefixes]
    alone = [float(engine.losses([sample])[0]) for sample in samples]
    np.testing.assert_allclose(engine.losses(samples), alone, rtol=1e-5)


def test_a_text_too_long_is_refused_not_cut(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"has 200 tokens, this model reads at most 128"):
        engine.text("梨" * 200)
