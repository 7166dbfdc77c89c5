"""The image tokenizer: a picture to a small grid of discrete codes, and back.

A convolutional autoencoder around a quantizer (`m6.vqgan.quantizer`). Any side divisible by `downsample` works, since
all of it is convolution; a large picture may be worked on in tiles, with the same result (`m6.vqgan.tiles`).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.config import UserError
from m6.vqgan.config import VQGANConfig
from m6.vqgan.quantizer import quantizer
from m6.vqgan.tiles import decoder_reach, encoder_reach, in_tiles


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each place: [B, C, S, S'] -> the same.

    Group norm, the custom here, takes its statistics from the whole picture, so that the code of one thing changes
    with every other thing in the picture; the transformer would have to learn that too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias).movedim(-1, 1)


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


class VQGAN(nn.Module):
    """`encode` and `decode`; `forward` does both with a straight-through gradient."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder(config)
        self.quantizer = quantizer(config.quantizer)
        self.decoder = decoder(config)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images: [B, 3, S, S'] in -1 to 1. Returns the reconstruction of the same form, codes [B, S / f, S' / f], and
        the loss [] of the quantizer."""
        latent, codes, loss = self.quantizer(self.encoder(images))
        return self.decoder(latent), codes, loss

    def backbone(self) -> nn.Module:
        """A copy of the encoder up to its last features [B, channels[-1], S / f, S / f], to read pictures with."""
        return copy.deepcopy(self.encoder[:-1])

    @torch.no_grad()
    def encode(self, images: Tensor, tile: int = 0) -> Tensor:
        """Codes [B, S / f, S' / f] int64 of images [B, 3, S, S'] in -1 to 1, worked on in tiles of that many pixels a
        side if it is not 0, with the same codes. UserError for sides that are no multiples of f."""
        f = self.config.downsample
        height, width = images.shape[-2:]
        if height % f or width % f:
            raise UserError(
                f"a picture of {width} x {height} pixels: sides have to be multiples of the {f} pixels of a code; "
                "crop or resize it"
            )
        latent = in_tiles(self.encoder, images, self._tile(tile), encoder_reach(self.config), f, 1)
        codes: Tensor = self.quantizer(latent)[1]
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor, tile: int = 0) -> Tensor:
        """Images [B, 3, S, S'], clipped to -1 to 1, of codes [B, S / f, S' / f], in tiles as of `encode`."""
        f = self.config.downsample
        latent = self.quantizer.features(codes)
        return in_tiles(self.decoder, latent, self._tile(tile) // f, decoder_reach(self.config), 1, f).clamp(-1, 1)

    def _tile(self, tile: int) -> int:
        f = self.config.downsample
        if tile < 0 or tile % f:
            raise UserError(f"tile {tile}: it has to be a multiple of the {f} pixels of a code, or 0 for none")
        return tile
