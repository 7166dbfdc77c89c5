"""Experts on CUDA: PyTorch's grouped product against the plain loop, with empty experts and dropped tokens."""

import pytest
import torch

from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts import MixtureOfExperts

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("capacity_factor", [0.0, 0.5])
def test_grouped_is_loop(capacity_factor: float) -> None:
    results = []
    for kernel in ("grouped", "loop"):
        torch.manual_seed(0)
        experts = ExpertsConfig(num_experts=8, kernel=kernel, capacity_factor=capacity_factor)
        layer = MixtureOfExperts(ModelConfig(hidden_size=64, num_heads=2, ffn_size=128, experts=experts)).cuda()
        x = (torch.randn(300, 64) + 50 * layer.router.weight[3].detach().cpu()).cuda().requires_grad_()
        weight = torch.randn(300, 64).cuda()
        with torch.autocast("cuda", torch.bfloat16):
            out = layer(x)
        results.append([out, *torch.autograd.grad((out * weight).sum(), [x, *layer.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.02 * float(theirs.abs().max()), rtol=0.02)
