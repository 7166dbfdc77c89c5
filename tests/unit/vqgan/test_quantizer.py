"""Quantizers, all through one face: codes and features belong together, float32 always, and each kind by hand."""

import pytest
import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ

from m6.config import UserError
from m6.data.images import codes_schema
from m6.vqgan.config import QuantizerConfig, QuantizerKind, VQGANConfig
from m6.vqgan.quantizer import Learnt, quantizer

KINDS: dict[QuantizerKind, QuantizerConfig] = {
    "fsq": QuantizerConfig(levels=(4, 3, 3)),
    "ema_vq": QuantizerConfig(kind="ema_vq", codebook_size=32, code_dim=4),
    "lfq": QuantizerConfig(kind="lfq", codebook_size=16),
    "bsq": QuantizerConfig(kind="bsq", codebook_size=16),
}


def latent(config: QuantizerConfig, seed: int = 0) -> Tensor:
    return torch.randn(2, config.width, 5, 7, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_codes_tell_all_that_a_decoder_reads(kind: QuantizerKind) -> None:
    torch.manual_seed(0)
    config = KINDS[kind]
    made = quantizer(config).eval()
    quantized, codes, loss = made(latent(config))
    assert codes.shape == (2, 5, 7)
    assert codes.dtype == torch.int64
    assert 0 <= int(codes.min()) < int(codes.max()) < config.num_codes
    assert loss.shape == ()
    torch.testing.assert_close(made.features(codes), quantized)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_float32_whatever_surrounds_it_and_lets_gradients_pass(
    kind: QuantizerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = KINDS[kind]
    made = quantizer(config)
    seen = latent(config).bfloat16()
    expected = made(seen.float())[1]
    inner: list[torch.dtype] = []
    own = made._quantize

    def watched(given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inner.append(given.dtype)
        return own(given)

    monkeypatch.setattr(made, "_quantize", watched)
    with torch.autocast("cpu", torch.bfloat16):
        seen = seen.requires_grad_()
        quantized, codes, loss = made(seen)
    assert inner == [torch.float32]
    assert quantized.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    assert torch.equal(codes, expected)
    (quantized.float().sum() + loss).backward()
    assert seen.grad is not None
    assert (seen.grad != 0).any()


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (4, 3, 3), (7, 6)])
def test_rounding_is_that_of_the_library_to_the_bit(levels: tuple[int, ...]) -> None:
    config = QuantizerConfig(levels=levels)
    own, library = quantizer(config), FSQ(list(levels))
    given = [(3 * latent(config)).requires_grad_() for _ in range(2)]
    quantized, codes, _ = own(given[0])
    expected, numbers = library(given[1])
    assert torch.equal(quantized, expected)
    assert torch.equal(codes, numbers.long())
    assert torch.equal(own.features(codes), library.indices_to_codes(codes))
    for each in (quantized, expected):
        (each**2).sum().backward()
    assert given[0].grad is not None
    assert given[1].grad is not None
    assert torch.equal(given[0].grad, given[1].grad)
    assert not own.state_dict()


def test_signs_are_the_bits_of_a_code() -> None:
    made = quantizer(QuantizerConfig(kind="lfq", codebook_size=8)).eval()
    given = torch.tensor([[0.3, -2.0, 1.0], [-1.0, -1.0, -0.1]]).T.reshape(1, 3, 1, 2)
    quantized, codes, _ = made(given)
    assert codes.flatten().tolist() == [0b101, 0b000]
    assert quantized[0, :, 0, 0].tolist() == [1.0, -1.0, 1.0]
    sphere = quantizer(QuantizerConfig(kind="bsq", codebook_size=8)).eval()
    torch.testing.assert_close(sphere(given)[0].norm(dim=1), torch.ones(1, 1, 2))


def learnt(**values: float) -> Learnt:
    torch.manual_seed(0)
    made = quantizer(KINDS["ema_vq"].override(values))
    assert isinstance(made, Learnt)
    return made


def test_learnt_vectors_are_the_nearest_and_move_as_averages() -> None:
    """Against the same in plain loops: counts and sums of what a code stands for, both with decay, one by the other."""
    decay, size = 0.9, 32
    made = learnt(decay=decay, revive_below=0.0)
    book = made.codebook.clone()
    counts, sums = [1.0] * size, [vector.clone() for vector in book]
    for step in range(3):
        given = latent(made.config, step)
        codes = made(given)[1]
        assert torch.equal(made.codebook, book), "the code book moves after the step, not before"
        found: dict[int, list[Tensor]] = {}
        for row, vector in enumerate(given.movedim(1, -1).reshape(-1, 4)):
            nearest = min(range(size), key=lambda code: float((vector - book[code]).norm()))
            assert int(codes.flatten()[row]) == nearest
            found.setdefault(nearest, []).append(vector)
        for code in range(size):
            taken = found.get(code, [])
            counts[code] = decay * counts[code] + (1 - decay) * len(taken)
            sums[code] = decay * sums[code] + (1 - decay) * sum(taken, torch.zeros(4))
        made.after_step()
        book = torch.stack([vector / count for vector, count in zip(sums, counts, strict=True)])
        torch.testing.assert_close(made.codebook, book, rtol=1e-3, atol=1e-4)  # the library smooths the counts by 1e-5
        book = made.codebook.clone()


def test_dead_codes_start_anew_at_features_of_the_batch() -> None:
    made = learnt(revive_below=0.5, decay=0.5)
    made.codebook[16:] = 1_000.0  # far from everything
    state = torch.random.get_rng_state()
    for step in range(4):
        given = latent(made.config, step)
        made(given)
        made.after_step()
    assert float(made.codebook.abs().max()) < 10
    assert torch.equal(torch.random.get_rng_state(), state), "it draws from a generator of its own"
    again = learnt(revive_below=0.5, decay=0.5)
    again.codebook[16:] = 1_000.0
    torch.rand(5)  # what else is drawn does not matter
    for step in range(4):
        again(latent(made.config, step))
        again.after_step()
    assert torch.equal(again.codebook, made.codebook)


def test_a_skipped_step_and_a_look_leave_the_code_book_as_it_was() -> None:
    made = learnt()
    before = made.codebook.clone()
    made(torch.full((1, 4, 2, 2), torch.nan))
    made.after_skip()
    with torch.no_grad():
        made(latent(made.config))
    made.after_step()
    assert torch.equal(made.codebook, before)


def test_codes_are_written_as_wide_as_the_code_book_asks() -> None:
    for number, expected in ((1000, "uint16"), (2**16, "uint16"), (2**16 + 1, "uint32")):
        assert str(codes_schema(number).field("codes").type.value_type) == expected


def test_a_book_of_signs_is_a_power_of_two() -> None:
    with pytest.raises(UserError, match="codebook_size 1000 is no power of two, as lfq needs"):
        QuantizerConfig(kind="lfq", codebook_size=1000)
    assert QuantizerConfig(kind="bsq", codebook_size=2**18).width == 18


def test_levels_of_old_runs_are_read() -> None:
    config = VQGANConfig.model_validate({"channels": [8, 16], "levels": [5, 4]})
    assert (config.quantizer.kind, config.num_codes) == ("fsq", 20)
