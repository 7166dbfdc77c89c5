"""Any vision model of Hugging Face's, from a local folder, as a backbone: crops of pictures to features.

In: a folder as `save_pretrained` writes it: config.json, model.safetensors, preprocessor_config.json if it is there.
Out: one feature vector a crop, the model's pooled output. The paper takes ResNet-50's (section 3.1, recalled).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from m6.config import UserError

SIDE = 224
MEAN = STANDARD_DEVIATION = (0.5, 0.5, 0.5)


class VisionBackbone(nn.Module):
    """Crops [N, 3, S, S] in -1 to 1 -> features [N, C]. C is `channels`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, channels: int, preprocessing: dict[str, Any]) -> None:
        """preprocessing: as preprocessor_config.json has it; what is missing is 224 pixels, mean and deviation 0.5."""
        super().__init__()
        self.model = model
        self.channels = channels
        self.size = _size(preprocessing)
        mean, deviation = preprocessing.get("image_mean") or MEAN, preprocessing.get("image_std") or STANDARD_DEVIATION
        if not preprocessing.get("do_normalize", True):
            mean, deviation = [0.0] * 3, [1.0] * 3
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Resized as the model's processor does, up to the rounding to 8 bits, and normalised."""
        pixels = crops / 2 + 0.5
        if pixels.shape[-2:] != self.size:
            pixels = F.interpolate(pixels, self.size, mode="bilinear", align_corners=False, antialias=True)
        out = self.model(pixel_values=(pixels - self.mean) / self.deviation)
        pooled = getattr(out, "pooler_output", None)
        if pooled is None:  # a model without a pooling layer
            pooled = out.last_hidden_state.mean(1)
        return pooled.flatten(1)

    def train(self, mode: bool = True) -> VisionBackbone:
        """Stays as it is in use: the statistics of its norms were found on far more pictures than a batch has."""
        return super().train(False)


def load_vision_backbone(folder: str, channels: int) -> VisionBackbone:
    """The model of a folder. UserError if transformers is not installed, if the folder holds no vision model, or if its
    features are not `channels` wide."""
    try:
        from transformers import AutoModel
    except ImportError:
        raise UserError("model.stem 'crops' needs transformers: pip install \"open-m6[vision]\"") from None
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise UserError(f"model.backbone_folder: {folder!r} holds no config.json; give the folder of a vision model")
    try:
        model = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model.backbone_folder: {folder}: cannot be loaded ({reason})") from None
    model = getattr(model, "vision_model", model)  # of CLIP and its like only the half that sees
    width = _width(model.config)
    if width != channels:
        raise UserError(f"model.backbone_channels {channels}: the features of {folder} are {width} wide")
    described = path / "preprocessor_config.json"
    preprocessing = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else {}
    return VisionBackbone(model, width, preprocessing)


def _size(preprocessing: dict[str, Any]) -> tuple[int, int]:
    """Height and width of what the model looks at; crops are square, so the shortest edge is both."""
    size = preprocessing.get("crop_size") or preprocessing.get("size") or SIDE
    if isinstance(size, int):
        return size, size
    edge = size.get("shortest_edge", SIDE)
    return size.get("height", edge), size.get("width", edge)


def _width(config: Any) -> int:
    """Channels of the pooled output: of the last stage, for a network of stages."""
    stages = getattr(config, "hidden_sizes", None)
    return int(stages[-1] if stages else config.hidden_size)
