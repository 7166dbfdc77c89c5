"""The image tokenizer: a picture to a small grid of discrete codes, and back.

A convolutional autoencoder around a quantizer (`m6.vqgan.quantizer`). Any side divisible by `downsample` works, since
all of it is convolution; a large picture may be worked on in tiles, with the same result (`m6.vqgan.tiles`).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.vqgan import narrow, resnet
from m6.vqgan.config import VQGANConfig
from m6.vqgan.quantizer import quantizer
from m6.vqgan.tiles import decoder_reach, encoder_reach, in_tiles


class VQGAN(nn.Module):
    """`encode` and `decode`; `forward` does both with a straight-through gradient."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        halves = resnet if config.kind == "resnet" else narrow
        self.encoder = halves.encoder(config)
        self.quantizer = quantizer(config.quantizer)
        self.decoder = halves.decoder(config)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images: [B, 3, S, S'] in -1 to 1. Returns the reconstruction of the same form, codes [B, S / f, S' / f], and
        the loss [] of the quantizer."""
        latent, codes, loss = self.quantizer(self.encoder(images))
        return self.decoder(latent), codes, loss

    @property
    def last_layer(self) -> nn.Conv2d:
        """The last layer of the decoder that is trained."""
        return [module for module in self.decoder.modules() if isinstance(module, nn.Conv2d)][-1]

    def backbone(self) -> nn.Module:
        """A copy of the encoder up to its last features [B, channels[-1], S / f, S / f], to read pictures with."""
        return copy.deepcopy(self.encoder[: -2 if self.config.kind == "resnet" else -1])

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
        latent = in_tiles(self.encoder, images, self.checked_tile(tile), encoder_reach(self.config), f, 1)
        codes: Tensor = self.quantizer(latent)[1]
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor, tile: int = 0) -> Tensor:
        """Images [B, 3, S, S'], clipped to -1 to 1, of codes [B, S / f, S' / f], in tiles as of `encode`."""
        f = self.config.downsample
        latent = self.quantizer.features(codes)
        return in_tiles(self.decoder, latent, self.checked_tile(tile) // f, decoder_reach(self.config), 1, f).clamp(
            -1, 1
        )

    def checked_tile(self, tile: int) -> int:
        """The side of a tile in pixels, as it was given. UserError for one that does not fit."""
        f = self.config.downsample
        if tile < 0 or tile % f:
            raise UserError(f"tile {tile}: it has to be a multiple of the {f} pixels of a code, or 0 for none")
        if tile and self.config.kind == "resnet":
            raise UserError(f"tile {tile}: the norms of kind 'resnet' see whole pictures, so tiles would show; give 0")
        return tile
