"""Picture input: pixels to one vector of the residual stream a patch.

Four stems behind one interface, for any size and aspect ratio. "crops": features of a grid of crops from a vision model
of Hugging Face's, which is the paper's way with a ResNet-50 (section 3.1); see `m6.model.crops`. "backbone": frozen
features of the encoder of the project's own image tokenizer, so that nothing has to be downloaded. "convolutional": a
few strided convolutions, trained along. "linear": one projection, as in ViT, which needs the most data.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.model.config import ModelConfig
from m6.model.crops import CropStem, load_vision_model
from m6.model.vision_folder import VisionFolder


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


class BackboneStem(nn.Module):
    """[N, 3, S, S'] in -1 to 1 -> [N, D, S / patch, S' / patch]: frozen features, normalised, then projected."""

    def __init__(self, config: ModelConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.project = nn.Conv2d(config.backbone_channels, config.hidden_size, 1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(pixels)
            features = F.layer_norm(features.movedim(1, -1), features.shape[1:2]).movedim(-1, 1)
        return self.project(features)


def make_stem(config: ModelConfig, backbone: nn.Module | None) -> nn.Module:
    """The stem that the config names. UserError if the vision model for "crops" cannot be read from its folder."""
    if config.stem == "backbone":
        assert backbone is not None, "a model with stem 'backbone' is made with one"
        return BackboneStem(config, backbone)
    if config.stem == "crops":
        about = VisionFolder.read(config.crops.folder)  # first: it says best what is wrong with a folder
        with torch.device("cpu"):  # it is read, also where the rest of a model is made without weights
            return CropStem(config, load_vision_model(config.crops.folder), about)
    if config.stem == "convolutional":
        return ConvolutionalStem(config)
    return nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False)


class PatchEmbedding(nn.Module):
    """Pictures [N, S, S', 3] uint8 -> [N * P, D], patches in reading order."""

    def __init__(self, config: ModelConfig, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = make_stem(config, backbone)
        self.norm = nn.LayerNorm(config.hidden_size, elementwise_affine=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 3, 1, 2).to(next(self.parameters()).dtype) / 127.5 - 1.0
        return self.norm(self.stem(x).flatten(2).transpose(1, 2).flatten(0, 1))
