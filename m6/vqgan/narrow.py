"""The encoder and the decoder of this project: all convolution, with a narrow eye (docs/decisions/0004-fsq.md)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from m6.vqgan.config import VQGANConfig
from m6.vqgan.layers import ChannelNorm


class ResidualBlock(nn.Module):
    """Norm, activation, convolution, twice, beside a residual path."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding="same")
        self.norm2 = ChannelNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding="same")
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


def encoder(config: VQGANConfig) -> nn.Sequential:
    """[B, 3, S, S] -> [B, C, S / f, S / f]; each resolution folds 2 x 2 places into one.

    Its eye is narrow on purpose: a code sees its own patch and some pixels around it, so that a thing has the same
    codes wherever on the grid it lies and whatever lies beside it.
    """
    layers: list[nn.Module] = []
    width = 3
    for level, channels in enumerate(config.channels):
        kernel = 3 if level < len(config.channels) - 1 else 1
        layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * width, channels, 1)]
        layers += [ResidualBlock(channels, kernel) for _ in range(config.encoder_blocks)]
        width = channels
    return nn.Sequential(*layers, ChannelNorm(width), nn.SiLU(), nn.Conv2d(width, config.quantizer.width, 1))


def decoder(config: VQGANConfig) -> nn.Sequential:
    """[B, C, S / f, S / f] -> [B, 3, S, S], from the coarsest resolution to the finest."""
    width = config.channels[-1]
    layers: list[nn.Module] = [nn.Conv2d(config.quantizer.width, width, 3, padding=1)]
    for level, channels in enumerate(reversed(config.channels)):
        if level:
            layers += [nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]
        layers += [ResidualBlock(channels, 3) for _ in range(config.decoder_blocks)]
        width = channels
    layers += [ChannelNorm(width), nn.SiLU(), nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)
