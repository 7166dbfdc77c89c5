"""Small vision models with random weights, in folders as Hugging Face writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

SIDE = 32
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PREPARED = {"size": {"height": SIDE, "width": SIDE}, "image_mean": MEAN, "image_std": STD, "resample": 2}


def make_folder(folder: Path, kind: str = "resnet", seed: int = 1, **prepared: Any) -> Path:
    """A small vision model with random weights, as Hugging Face saves it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    if kind == "resnet":
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_channels=3
        )
        model = transformers.ResNetModel(config)
    elif kind == "vit":  # without a pooler, as those trained to restore masked patches
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=SIDE,
            patch_size=8,
        )
        model = transformers.ViTModel(config, add_pooling_layer=False)
    else:
        vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        text = {**vision, "vocab_size": 50, "max_position_embeddings": 8}
        vision |= {"image_size": SIDE, "patch_size": 8}
        model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for statistics, low, high in ((module.running_mean, 0.0, 1.0), (module.running_var, 0.5, 2.0)):
                assert statistics is not None
                nn.init.uniform_(statistics, low, high)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PREPARED, **prepared}))
    return folder
