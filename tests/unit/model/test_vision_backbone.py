"""Pictures as a grid of crops through a vision model of Hugging Face's, against the model and its processor's rules."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from m6.config import UserError
from m6.corpus.starter import emoji_pictures
from m6.data.packing import pack
from m6.data.sample import Branch, Picture, Sample, Text
from m6.model.config import ModelConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.model.vision import CropStem
from m6.model.vision_backbone import load_vision_backbone
from tests.unit.data.examples import VOCABULARY

transformers = pytest.importorskip("transformers")
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    """A ResNet of two small stages, with weights drawn by chance and the preprocessing of the large ones."""
    torch.manual_seed(1)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    described = {"size": {"shortest_edge": 48}, "image_mean": MEAN, "image_std": DEVIATION}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(described))
    return tmp_path


def size(folder: Path, **fields: object) -> ModelConfig:
    given = {"stem": "crops", "patch_size": 16, "backbone_folder": str(folder), "backbone_channels": 24, **fields}
    return ModelConfig(num_layers=2, hidden_size=32, num_heads=2, ffn_size=64).override(given)


def photo() -> np.ndarray:
    """[64, 64, 3] uint8: 4 x 4 crops."""
    data = sorted(emoji_pictures().items())[40][1]
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((64, 64)))


def features(folder: Path, pixels: np.ndarray) -> Tensor:
    """[16, 24]: crop by crop, resized by PIL, through the model itself."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    found = []
    for top in range(0, 64, 16):
        for left in range(0, 64, 16):
            crop = Image.fromarray(pixels[top : top + 16, left : left + 16]).resize((48, 48), Image.Resampling.BILINEAR)
            values = (np.asarray(crop) / 255 - MEAN) / DEVIATION
            with torch.no_grad():
                out = model(pixel_values=torch.tensor(values, dtype=torch.float32).permute(2, 0, 1)[None])
            found.append(out.pooler_output.flatten())
    return torch.stack(found)


def test_features_are_those_of_the_model_on_crops_in_reading_order(resnet: Path) -> None:
    pixels = photo()
    backbone = load_vision_backbone(str(resnet), 24)
    stem = CropStem(size(resnet), backbone)
    stem.project = torch.nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        grid = stem(torch.tensor(pixels).permute(2, 0, 1)[None] / 127.5 - 1)
    expected = torch.nn.functional.layer_norm(features(resnet, pixels), (24,))
    found = grid[0].flatten(1).T
    assert float(expected.std(0).max()) > 0.1  # crops differ
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.03)  # PIL rounds to 8 bits


@pytest.mark.parametrize("frozen", [True, False])
def test_the_model_reads_sixteen_crops(resnet: Path, frozen: bool) -> None:
    config = size(resnet, backbone_frozen=frozen)
    model = Transformer(config, VOCABULARY.size, load_vision_backbone(str(resnet), 24)).train()
    stem = model.patch_embedding.stem
    assert isinstance(stem, CropStem)
    original = transformers.AutoModel.from_pretrained(resnet).state_dict()
    sample = Sample("a", (Picture(photo()),), (Branch("captioning", (), Text((9, 10, 11))),))
    batch = pack([sample], VOCABULARY, config.patch_size, 64)
    assert len(batch.patch_at) == 16
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at).square().sum().backward()
    assert stem.project.weight.grad is not None
    learns = [parameter.grad is not None for parameter in stem.backbone.parameters()]
    assert any(learns) is not frozen
    for name, value in stem.backbone.model.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, original[name]), name  # neither drawn anew nor moved by a batch


def test_what_cannot_be_a_backbone_is_one_line(resnet: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"backbone_channels 7: the features of .* are 24 wide"):
        load_vision_backbone(str(resnet), 7)
    with pytest.raises(UserError, match=r"holds no config\.json"):
        load_vision_backbone(str(tmp_path / "nowhere"), 24)
    (resnet / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_vision_backbone(str(resnet), 24)
    with pytest.raises(UserError, match="needs backbone_folder"):
        ModelConfig().override({"stem": "crops"})
