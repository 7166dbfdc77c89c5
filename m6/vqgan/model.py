"""The image tokenizer: a picture to a small grid of discrete codes, and back.

A convolutional autoencoder with finite scalar quantisation (FSQ, arXiv 2309.15505, from vector-quantize-pytorch): each
of a few latent channels is rounded to one of `levels` values, and the combination is the code. FSQ uses its whole code
book without tricks. Any side divisible by `downsample` works, since all of it is convolution.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import FSQ

from m6.vqgan.config import VQGANConfig


class ResidualBlock(nn.Module):
    """Norm, activation, 3x3 convolution, twice, beside a residual path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


def encoder(config: VQGANConfig) -> nn.Sequential:
    """[B, 3, S, S] -> [B, len(levels), S / f, S / f]. Folds pixels into channels at each resolution."""
    layers: list[nn.Module] = []
    width = 3
    for channels in config.channels:
        layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * width, channels, 3 if width > 3 else 1, padding="same")]
        layers += [ResidualBlock(channels) for _ in range(config.num_blocks)]
        width = channels
    return nn.Sequential(*layers, nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, len(config.levels), 1))


def decoder(config: VQGANConfig) -> nn.Sequential:
    """[B, len(levels), S / f, S / f] -> [B, 3, S, S], the encoder in reverse."""
    width = config.channels[-1]
    layers: list[nn.Module] = [nn.Conv2d(len(config.levels), width, 3, padding=1)]
    for channels in reversed(config.channels):
        if channels != width:
            layers += [nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]
        layers += [ResidualBlock(channels) for _ in range(config.num_blocks)]
        width = channels
    return nn.Sequential(
        *layers, nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2)
    )


class VQGAN(nn.Module):
    """`encode` and `decode`; `forward` does both with a straight-through gradient."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder(config)
        self.quantizer = FSQ(list(config.levels))
        self.decoder = decoder(config)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: [B, 3, S, S] in -1 to 1. Returns the reconstruction of the same form and codes [B, S / f, S / f]."""
        latent, codes = self.quantizer(self.encoder(images))
        return self.decoder(latent), codes

    def backbone(self) -> nn.Module:
        """A copy of the encoder up to its last features [B, channels[-1], S / f, S / f], to read pictures with."""
        return copy.deepcopy(self.encoder[:-1])

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes [B, S / f, S / f] int64 of images [B, 3, S, S] in -1 to 1."""
        return self.quantizer(self.encoder(images))[1].long()

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images [B, 3, S, S], clipped to -1 to 1, of codes [B, S / f, S / f]."""
        return self.decoder(self.quantizer.indices_to_codes(codes)).clamp(-1, 1)
