"""The chunked cross-entropy against PyTorch's on whole logits, and what it holds in memory."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from m6.data.packing import pack
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.cross_entropy import CHUNK_MULTIPLE, linear_cross_entropy
from m6.train.pretrain import batch_loss
from tests.unit.data.examples import mixed_samples


def material(count: int, width: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, width, generator=generator).to(dtype).requires_grad_()
    weight = (0.3 * torch.randn(vocabulary, width, generator=generator)).to(dtype).requires_grad_()
    labels = torch.randint(vocabulary, (count,), generator=generator)
    shares = torch.rand(count, generator=generator).to(dtype) - 0.2
    return hidden, weight, labels, shares


def plain(hidden: Tensor, weight: Tensor, labels: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    losses = F.cross_entropy(F.linear(hidden, weight).float().to(shares.dtype), labels, reduction="none")
    return (losses * shares).sum(), losses.detach()


@pytest.mark.parametrize("chunk_size", [0, 1, 7, 64, 100])
def test_value_and_gradients_are_those_of_the_plain_formula(chunk_size: int) -> None:
    given = material(50, 24, 301, torch.float64)
    losses = F.cross_entropy(given[0] @ given[1].T, given[2], reduction="none")
    expected = (losses * given[3]).sum()
    gradients = torch.autograd.grad(3 * expected, given[:2])
    loss, each = linear_cross_entropy(*given, chunk_size=chunk_size)
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(each, losses.detach(), rtol=1e-13, atol=1e-13)
    for ours, theirs in zip(torch.autograd.grad(3 * loss, given[:2]), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_labels_far_below_the_highest_logit_keep_their_loss() -> None:
    hidden = torch.tensor([[400.0], [-400.0]])
    weight = torch.tensor([[1.0], [0.0], [-1.0]])
    _, losses = linear_cross_entropy(hidden, weight, torch.tensor([2, 0]), torch.ones(2))
    assert losses.tolist() == [800.0, 800.0]


def test_autocast_multiplies_in_bfloat16_and_keeps_the_rest_in_float32() -> None:
    given = material(64, 32, 200, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss, losses = linear_cross_entropy(*given, chunk_size=16)
        expected, each = plain(*given)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, each, rtol=1e-6, atol=1e-6)  # the same products, the same softmax
    ours = torch.autograd.grad(loss, given[:2])
    theirs = torch.autograd.grad(expected, given[:2])
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.01 * other.norm()


def test_a_frozen_output_layer_gets_no_gradient() -> None:
    hidden, weight, labels, shares = material(10, 8, 20, torch.float32)
    loss, _ = linear_cross_entropy(hidden, weight.detach(), labels, shares)
    loss.backward()
    assert hidden.grad is not None
    assert weight.grad is None


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """The most elements that any operation gave."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = func(*args, **(kwargs or {}))
        for tensor in given if isinstance(given, tuple | list) else (given,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return given


def test_no_tensor_is_larger_than_a_chunk_of_logits() -> None:
    count, width, vocabulary, chunk = 1024, 16, 3000, 64
    given = material(count, width, vocabulary, torch.float32)
    with Largest() as chunked:
        linear_cross_entropy(*given, chunk_size=chunk)[0].backward()
    with Largest() as whole:
        plain(*given)[0].backward()
    assert chunked.elements == chunk * vocabulary
    assert whole.elements == count * vocabulary


def test_a_step_of_the_whole_model_never_holds_all_logits() -> None:
    """The vocabulary of the paper, chunks as they are chosen by themselves."""
    vocabulary = Vocabulary(text_size=21_128, num_codes=100)
    model = Transformer(ModelConfig(num_layers=1, hidden_size=8, num_heads=1, ffn_size=8), vocabulary.size)
    batch = pack(12 * mixed_samples(), vocabulary, 8, 256)
    with Largest() as step:
        batch_loss(model, batch)[0].backward()
    assert len(batch.labels) > 2 * CHUNK_MULTIPLE
    assert step.elements == CHUNK_MULTIPLE * vocabulary.size
