"""Our image tokenizer under measurement: python -m benchmarks.vqgan_model PICTURES encode|decode|train [SECONDS]"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from vqgan_work import main  # shared with peers, which import it from their own folder

CONFIG = VQGANConfig(channels=(48, 80, 160))
"""2.13 million parameters, beside 2.16 million of the peer."""


class Ours:
    """The model with the face of `vqgan_work.Tokenizer`."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = VQGAN(CONFIG).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Tensor) -> Tensor:
        codes: Tensor = self.model.encode(images.contiguous(memory_format=torch.channels_last))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        images: Tensor = self.model.decode(codes)
        return images

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        restored, _, auxiliary = self.model(images.contiguous(memory_format=torch.channels_last))
        return restored, auxiliary

    def after_step(self) -> None:
        self.model.quantizer.after_step()


if __name__ == "__main__":
    main(Ours(), *sys.argv[1:])
