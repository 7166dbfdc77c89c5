"""Figures of restored pictures and of codes, against plain forms and cases worked by hand."""

import math

import numpy as np
import pytest
import torch

from m6.data.pictures import to_tensor
from m6.vqgan.figures import frechet_distance, ssim, use_of_codes
from tests.unit.data.examples import picture


def plain_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Of pictures [C, S, S'] in 0 to 1, window by window, as the paper writes it."""
    at = np.arange(11) - 5
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for channel in range(len(x)):
        for top in range(x.shape[1] - 10):
            for left in range(x.shape[2] - 10):
                a, b = (each[channel, top : top + 11, left : left + 11] for each in (x, y))
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
                both = (weights * (a - mean_a) * (b - mean_b)).sum()
                value = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
                found.append(value / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    return float(np.mean(found))


def test_ssim_is_that_of_the_paper() -> None:
    images = to_tensor(np.stack([picture(0, 64), picture(3, 64)]))[:, :, 16:40, 16:44]
    others = torch.nn.functional.avg_pool2d(images, 3, 1, 1) * 0.9
    found = ssim(images, others)
    for at in range(2):
        a, b = ((each[at].double().numpy() + 1) / 2 for each in (images, others))
        assert float(found[at]) == pytest.approx(plain_ssim(a, b), abs=1e-6)
    assert ssim(images, images).tolist() == pytest.approx([1.0, 1.0])


def test_frechet_distance_of_normal_distributions() -> None:
    x, y = (torch.randn(500, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2)))[0]
    y = y * torch.tensor([1.0, 2.0, 3.0, 0.5]) @ turn + 1.0
    first, second = (np.cov(each.double().numpy().T, bias=True) for each in (x, y))
    root = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()  # the trace of the root of the product
    means = ((x.double().mean(0) - y.double().mean(0)) ** 2).sum()
    expected = float(means) + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-6)
    line = torch.tensor([[0.0], [2.0]])  # means 1 and 4, deviations 1 and 2
    assert frechet_distance(line, 2 * line + 2) == pytest.approx((4 - 1) ** 2 + (2 - 1) ** 2)


def test_use_of_codes_by_hand() -> None:
    use = use_of_codes(torch.tensor([2, 1, 1, 0]))
    assert (use.used, use.entropy) == (0.75, pytest.approx(1.5))
    assert use.perplexity == pytest.approx(2**1.5)
    even = use_of_codes(torch.ones(1000))
    assert even.entropy == pytest.approx(math.log2(1000))
    assert use_of_codes(torch.zeros(4)) == (0.0, 0.0)
