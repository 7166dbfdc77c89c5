"""Pictures as a grid of crops, each one feature of a vision model, as in the paper (section 3.1).

The paper cuts a picture into 4 x 4 parts and takes the feature of a ResNet-50 for each (recalled; that features of
patches come from a ResNet-50 is confirmed; whether it was frozen is not known). Here any vision model in a local folder
of Hugging Face's form gives them. A picture of any size and shape becomes grid * grid tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.config import UserError
from m6.model.config import ModelConfig
from m6.model.vision_folder import VisionFolder

CROPS_AT_ONCE = 64
"""Through a frozen model, whose activations are not kept: 16 crops of 32 pictures together would take gigabytes."""


class CropStem(nn.Module):
    """[N, 3, S, S'] in -1 to 1 -> [N, D, grid, grid]: features of the crops, normalised, then projected.

    Sides need not be multiples of the grid: the first rows and columns of crops are then a pixel larger. Each crop is
    squeezed to the square that the vision model takes, rounded to whole levels and normalised as its own preprocessing
    does. The model is in evaluation mode always: batch norms keep their statistics, also where the
    weights are trained on.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, backbone: nn.Module, about: VisionFolder) -> None:
        """backbone: [N, 3, side, side] normalised -> [N, width]."""
        super().__init__()
        self.config = config.crops
        self.about = about
        self.backbone = backbone.requires_grad_(not config.crops.frozen).eval()
        self.project = nn.Linear(about.width, config.hidden_size, bias=False)
        self.register_buffer("mean", torch.tensor(about.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(about.std).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> CropStem:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        crops = self.prepare(pixels)
        if self.config.frozen:
            with torch.no_grad():
                features = torch.cat([self.backbone(some) for some in crops.split(CROPS_AT_ONCE)])
        else:
            features = self.backbone(crops)
        tokens = self.project(F.layer_norm(features, features.shape[1:]))
        return tokens.view(len(pixels), self.config.grid, self.config.grid, -1).permute(0, 3, 1, 2)

    def prepare(self, pixels: Tensor) -> Tensor:
        """[N, 3, S, S'] in -1 to 1 -> [N * grid * grid, 3, side, side], crops in reading order."""
        levels = (pixels.float() + 1) * 127.5
        rows = levels.tensor_split(self.config.grid, dim=2)
        crops = [self._squeeze(crop) for row in rows for crop in row.tensor_split(self.config.grid, dim=3)]
        squares = torch.stack(crops, dim=1).flatten(0, 1)
        return ((squares / 255 - self.mean) / self.std).type_as(pixels)

    def _squeeze(self, levels: Tensor) -> Tensor:
        """[N, 3, h, w] from 0 to 255 -> [N, 3, side, side]: widths first and in whole levels, as Pillow does."""
        side, mode = self.about.side, "bicubic" if self.about.bicubic else "bilinear"
        for size in ((levels.shape[2], side), (side, side)):
            if levels.shape[2:] != size:
                levels = F.interpolate(levels, size, mode=mode, antialias=True)
            levels = (levels.clamp(0, 255) + 0.5).floor()
        return levels


class PooledFeatures(nn.Module):
    """A vision model of transformers: [N, 3, side, side] -> [N, width]. Without a pooler of its own, the mean of its
    tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.model(pixel_values=pixels)
        pooled: Tensor | None = getattr(out, "pooler_output", None)
        return out.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)


def load_vision_model(folder: str) -> PooledFeatures:
    """The vision model of a folder, in float32. UserError if transformers is missing or the folder does not hold one.

    Weights are read from safetensors alone: other forms may run code.
    """
    try:
        import transformers
    except ImportError:
        raise UserError("model.stem 'crops' needs transformers: pip install 'open-m6[vision]'") from None
    transformers.utils.logging.disable_progress_bar()
    try:
        loaded: tuple[Any, dict[str, Any]] = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32, use_safetensors=True
        )
    except Exception as error:  # of any kind: a folder may be wrong in many ways
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.crops.folder: {folder} holds no vision model that can be read ({reason})") from None
    model, missing = loaded[0], set(loaded[1]["missing_keys"])
    model = getattr(model, "vision_model", model)  # of a model for text and pictures
    if getattr(model, "pooler", None) is not None and any(name.startswith("pooler.") for name in missing):
        model.pooler = None  # made by chance just now, so better none
        missing = {name for name in missing if not name.startswith("pooler.")}
    if missing:
        raise UserError(f"model.crops.folder: {folder} lacks weights of its model ({', '.join(sorted(missing)[:3])})")
    return PooledFeatures(model)
