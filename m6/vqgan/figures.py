"""How near restored pictures come to those they were made of, and how a code book is used."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SPREAD = 11, 1.5
"""Side of the window of SSIM, and the standard deviation of its weights, in pixels."""


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio [B] in dB of pictures [B, 3, S, S'] in -1 to 1; identical pictures count as 100 dB."""
    error = ((images - others) ** 2).mean(dim=(1, 2, 3)) / 4.0
    return -10.0 * torch.log10(error.clamp_min(1e-10))


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Structural similarity [B], 1 for equal pictures [B, C, S, S'] in -1 to 1, of 11 pixels a side at least.

    As of Wang et al. 2004 (doi 10.1109/TIP.2003.819861): means, variances and covariance under a Gaussian window, by
    channel, averaged over all places where the window lies within the picture.
    """
    x, y = (pictures.double().add(1).div(2).flatten(0, 1)[:, None] for pictures in (images, others))
    at = torch.arange(WINDOW, dtype=torch.float64, device=x.device) - WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * SPREAD**2))
    weights /= weights.sum()

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))

    mean_x, mean_y = mean(x), mean(y)
    spread_x, spread_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    together = mean(x * y) - mean_x * mean_y
    small, smaller = 0.01**2, 0.03**2
    likeness = (2 * mean_x * mean_y + small) * (2 * together + smaller)
    likeness /= (mean_x**2 + mean_y**2 + small) * (spread_x + spread_y + smaller)
    return likeness.flatten(1).view(len(images), -1).mean(1).float()


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Distance of two sets of features [N, D] and [M, D], each taken for a normal distribution (FID, arXiv 1706.08500).

    What it means depends on the features: figures on other features are not to be compared.
    """
    x, y = features.double(), others.double()
    means = (x.mean(0) - y.mean(0)).square().sum()
    first, second = torch.cov(x.T, correction=0), torch.cov(y.T, correction=0)
    first, second = torch.atleast_2d(first), torch.atleast_2d(second)
    # The trace of the root of a product, of which a symmetric form with the same eigenvalues is taken.
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return max(float(means + first.trace() + second.trace() - 2 * shared), 0.0)


class Use(NamedTuple):
    """How a code book is used."""

    used: float
    """Share of its codes that occur."""
    entropy: float
    """Bits of a code, by their frequencies."""

    @property
    def perplexity(self) -> float:
        """As many codes in even use would have the same entropy."""
        return 2**self.entropy


def use_of_codes(counts: Tensor) -> Use:
    """By how often each code occurs, [N]."""
    share = counts.double() / counts.sum().clamp_min(1)
    entropy = -float((share * share.clamp_min(1e-300).log2()).sum())
    return Use(float((counts > 0).double().mean()), entropy if math.isfinite(entropy) else 0.0)
