"""Picture input: pixels to one vector of the residual stream a patch.

The paper gives each of 16 patches to a ResNet-50 (section 3.1). Here a patch is smaller and its pixels are read by the
model itself, so that any size and aspect ratio fits and nothing pretrained is needed: by one projection (ViT), or by
a few strided convolutions, which learn much faster on little data (Xiao et al. 2021, arXiv 2106.14881).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from m6.model.config import ModelConfig


class ConvolutionalStem(nn.Module):
    """[N, 3, S, S'] in -1 to 1 -> [N, D, S / patch, S' / patch]; each stage halves the sides and doubles the width."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        halvings = config.patch_size.bit_length() - 1
        widths = [config.hidden_size >> (halvings - 1 - i) for i in range(halvings)]
        self.fold = nn.PixelUnshuffle(2)
        self.first = nn.Conv2d(12, widths[0], 3, padding=1, bias=False)
        self.rest = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False) for narrow, wide in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for width in widths[:-1])

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.first(self.fold(pixels))
        for norm, convolution in zip(self.norms, self.rest, strict=True):
            x = convolution(F.relu(norm(x)))
        return x


class PatchEmbedding(nn.Module):
    """Pictures [N, S, S', 3] uint8 -> [N * P, D], patches in reading order."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.stem = (
            ConvolutionalStem(config)
            if config.stem == "convolutional"
            else nn.Conv2d(3, config.hidden_size, size, stride=size, bias=False)
        )
        self.norm = nn.LayerNorm(config.hidden_size, elementwise_affine=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 3, 1, 2).to(next(self.parameters()).dtype)
        return self.norm(self.stem(x / 127.5 - 1.0).flatten(2).transpose(1, 2).flatten(0, 1))
