"""The VQModel of diffusers under measurement: PYTHON diffusers_vqgan.py PICTURES encode|decode|train [SECONDS]

f8, one block a resolution and 1,024 codes of width 8; channels are chosen for as many parameters as ours: 2.16 million.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from diffusers import VQModel
from torch import Tensor
from vqgan_work import main

CHANNELS = (32, 64, 64, 96)
CODES, WIDTH, GROUPS = 1024, 8, 16


class Diffusers:
    """The model with the face of `vqgan_work.Tokenizer`."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        levels = len(CHANNELS)
        self.model: Any = VQModel(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=CHANNELS,
            layers_per_block=1,
            latent_channels=CHANNELS[-1],
            num_vq_embeddings=CODES,
            norm_num_groups=GROUPS,
            vq_embed_dim=WIDTH,
        )

    def encode(self, images: Tensor) -> Tensor:
        latent = self.model.encode(images).latents
        codes: Tensor = self.model.quantize(latent)[2][2]
        return codes.view(len(images), *latent.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        latent = self.model.quantize.get_codebook_entry(codes.flatten(), (*codes.shape, WIDTH))
        restored: Tensor = self.model.decode(latent, force_not_quantize=True).sample
        return restored

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        out = self.model(images)
        return out.sample, out.commit_loss

    def after_step(self) -> None:
        pass


if __name__ == "__main__":
    main(Diffusers(), *sys.argv[1:])
