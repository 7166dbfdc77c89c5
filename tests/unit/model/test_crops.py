"""Pictures as crops through a vision model: against the model itself, on crops that Pillow makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from m6.config import UserError
from m6.data.packing import Batch, pack
from m6.data.sample import Branch, Picture, Sample, Text
from m6.model.config import CropsConfig, ModelConfig
from m6.model.crops import CropStem, load_vision_model
from m6.model.flops import parameters
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.model.vision_folder import VisionFolder
from m6.recipes.recipe import Recipe
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers
from m6.train.pretrain import muon_matrices, rate_shares
from tests.unit.data.examples import VOCABULARY, picture
from tests.unit.vision_models import MEAN, SIDE, STD, make_folder

SMALL = ModelConfig(
    num_layers=2,
    hidden_size=32,
    num_heads=2,
    ffn_size=64,
    stem="crops",
    crops=CropsConfig(folder="-"),
    max_side=8,
)


def reading(folder: Path, **crops: Any) -> Transformer:
    torch.manual_seed(0)
    return Transformer(SMALL.override({"crops": {"folder": str(folder), **crops}}), VOCABULARY.size)


def photo(index: int, height: int, width: int) -> np.ndarray:
    """A bundled picture, squeezed: [height, width, 3] uint8."""
    return np.asarray(Image.fromarray(picture(index, 128)).resize((width, height)))


def stem_of(model: Transformer) -> CropStem:
    stem = model.patch_embedding.stem
    assert isinstance(stem, CropStem)
    return stem


def optimizers_of(model: Transformer) -> Optimizers:
    return Optimizers(model, OptimizerConfig(weight_decay=0.1), 10, muon_matrices(model), rate_shares(model))


def two_pictures(model: Transformer) -> Batch:
    """One of them wide, with sides that are multiples of nothing."""
    samples = [
        Sample(str(height), (Picture(photo(height, height, width)),), (Branch("captioning", (), Text((9, 10))),))
        for height, width in ((64, 64), (67, 131))
    ]
    return pack(samples, VOCABULARY, model.config.patch_grid, 64)


def hidden(model: Transformer, batch: Batch) -> Tensor:
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    out: Tensor = model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at)
    return out


def by_hand(pixels: np.ndarray, grid: int, resample: Image.Resampling) -> Tensor:
    """The crops [grid * grid, 3, SIDE, SIDE], cut by NumPy and resized by Pillow."""
    crops = [
        Image.fromarray(np.ascontiguousarray(crop)).resize((SIDE, SIDE), resample)
        for row in np.array_split(pixels, grid)
        for crop in np.array_split(row, grid, axis=1)
    ]
    normalised = (np.stack([np.asarray(crop) for crop in crops]) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(normalised).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    ("size", "resample"), [((128, 128), 2), ((64, 64), 2), ((64, 64), 3), ((256, 256), 3), ((67, 131), 2), ((50, 9), 3)]
)
@pytest.mark.parametrize("kind", ["resnet", "vit", "clip"])
def test_features_are_those_of_the_vision_model(
    tmp_path: Path, kind: str, size: tuple[int, int], resample: int
) -> None:
    """Pillow computes in whole numbers, so that now and then a level is another one."""
    transformers = pytest.importorskip("transformers")
    folder = make_folder(tmp_path, kind, resample=resample)
    stem = stem_of(reading(folder))
    pixels = photo(3, *size)
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    crops = by_hand(pixels, 4, Image.Resampling(resample))
    ours = stem.prepare(x)
    atol = 1e-5 if size == (4 * SIDE, 4 * SIDE) else 1.01 / 255 / min(STD)  # crops of another size are resized
    torch.testing.assert_close(ours, crops, atol=atol, rtol=0)
    assert float((ours - crops).abs().gt(1e-5).float().mean()) < 0.02
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    theirs = theirs.vision_model if kind == "clip" else theirs
    with torch.no_grad():
        out = theirs(pixel_values=crops)
        features = out.last_hidden_state.mean(1) if kind == "vit" else out.pooler_output.flatten(1)
        normed = (features - features.mean(1, keepdim=True)) / (
            features.var(1, keepdim=True, unbiased=False) + 1e-5
        ).sqrt()
        expected = normed @ stem.project.weight.T
        tokens = stem(x).flatten(2).transpose(1, 2)[0]
    torch.testing.assert_close(tokens, expected, atol=atol, rtol=1e-3)


def test_a_picture_of_any_size_is_sixteen_tokens(tmp_path: Path) -> None:
    model = reading(make_folder(tmp_path))
    batch = two_pictures(model)
    assert len(batch.patch_at) == 2 * 16
    assert batch.position[0, :16].tolist() == [[0, row, column] for row in range(1, 5) for column in range(1, 5)]
    assert hidden(model, batch).isfinite().all()
    assert parameters(model.config, VOCABULARY.size)["vision"] == stem_of(model).project.weight.numel() == 16 * 32


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_and_statistics(tmp_path: Path, frozen: bool) -> None:
    model = reading(make_folder(tmp_path), frozen=frozen).train()
    backbone = stem_of(model).backbone
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    theirs = load_vision_model(str(tmp_path)).state_dict()
    assert all(torch.equal(before[name], theirs[name]) for name in theirs), "initialisation leaves the backbone alone"
    hidden(model, two_pictures(model)).square().sum().backward()
    assert all((p.grad is None) == frozen for p in backbone.parameters())
    optimizers = optimizers_of(model)
    optimizers.step(5)
    changed = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert bool(changed) != frozen
    assert not any("running" in name or "num_batches" in name for name in changed)


def test_what_was_trained_before_learns_at_a_share_of_the_rate(tmp_path: Path) -> None:
    """Two updates of AdamW move a weight by its rate each, whatever its gradient: twice the same here."""
    model = reading(make_folder(tmp_path), frozen=False, learning_rate_share=0.02).train()
    stem = stem_of(model)
    watched = {"slow": next(stem.backbone.parameters()), "fast": stem.project.weight}
    before = {name: weight.detach().clone() for name, weight in watched.items()}
    config = OptimizerConfig(schedule=((0.0, 1.0), (1.0, 1.0)))
    optimizers = Optimizers(model, config, 10, muon_matrices(model), rate_shares(model))
    for step in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizers.step(step)
    moved = {name: (before[name] - weight.detach()).mean().item() for name, weight in watched.items()}
    assert moved["fast"] == pytest.approx(2 * 3e-3, rel=1e-3)
    assert moved["slow"] == pytest.approx(2 * 3e-3 * 0.02, rel=1e-2)
    backbone = {id(p) for p in stem.backbone.parameters()}
    groups = optimizers.parts[0][0].param_groups
    slow = [id(p) for group in groups if group["share"] != 1.0 for p in group["params"]]
    assert set(slow) == backbone
    assert [group["weight_decay"] for group in groups] == [0.0] * 4
    assert not rate_shares(reading(tmp_path, frozen=True)), "what is frozen has no rate"


@pytest.mark.parametrize("frozen", [True, False])
def test_a_checkpoint_restores_the_whole_model(tmp_path: Path, frozen: bool) -> None:
    """Also where the folder holds other weights by now: what was trained with is kept beside what was trained."""
    folder = make_folder(tmp_path / "vision")
    model = reading(folder, frozen=frozen).train()
    optimizers = optimizers_of(model)
    batch = two_pictures(model)
    hidden(model, batch).square().sum().backward()
    optimizers.step(5)
    with Checkpoints(tmp_path / "run", model, optimizers, LoopConfig(), {}) as saved:
        saved.save(1)
    make_folder(folder, seed=2)
    again = reading(folder, frozen=frozen)
    assert Checkpoints(tmp_path / "run", again, optimizers_of(again), LoopConfig(), {}).resume() == 1
    torch.testing.assert_close(hidden(again, batch), hidden(model, batch), rtol=0, atol=0)


def test_a_stem_needs_no_transformers_if_it_is_given_a_model() -> None:
    """Any module from crops to features does; also more crops than go through at once."""
    about = VisionFolder(width=3, side=8, mean=(0, 0, 0), std=(1, 1, 1), bicubic=False)

    class Mean(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return pixels.mean((2, 3))

    torch.manual_seed(0)
    stem = CropStem(SMALL.override({"crops.grid": 8}), Mean(), about)
    levels = torch.randint(0, 256, (3, 3, 64, 64)).float()
    tokens = stem(levels / 127.5 - 1)
    assert tokens.shape == (3, 32, 8, 8)
    crop = levels[2, :, 8 * 3 : 8 * 4, 8 * 5 : 8 * 6] / 255
    feature = nn.functional.layer_norm(crop.mean((1, 2)), (3,))
    torch.testing.assert_close(tokens[2, :, 3, 5], stem.project(feature), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("prepared", "side"),
    [
        ({"size": 32}, 32),
        ({"size": {"shortest_edge": 48}}, 48),
        ({"size": {"shortest_edge": 48}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}, 32),
        ({"size": {"shortest_edge": 48}, "crop_size": 32, "do_center_crop": False}, 48),
    ],
)
def test_sizes_as_preprocessors_give_them(tmp_path: Path, prepared: dict[str, Any], side: int) -> None:
    (tmp_path / "config.json").write_text('{"vision_config": {"hidden_size": 24}}')
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, **prepared}))
    about = VisionFolder.read(str(tmp_path))
    assert about == VisionFolder(24, side, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), bicubic=False)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stem 'crops' needs crops.folder"):
        ModelConfig(stem="crops")
    with pytest.raises(UserError, match=r"config.json cannot be read"):
        reading(tmp_path)
    folder = make_folder(tmp_path)
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 3, "width": 4}}')
    with pytest.raises(UserError, match="no size that is a square"):
        reading(folder)
    (folder / "preprocessor_config.json").write_text('{"size": 32, "resample": 1}')
    with pytest.raises(UserError, match="resample 1; it has to be 2"):
        reading(folder)
    (folder / "preprocessor_config.json").write_text('{"size": 32}')
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="holds no vision model that can be read"):
        reading(folder)
    with pytest.raises(UserError, match=r"a picture of 64 x 3 pixels cannot be cut into 4 x 4 crops"):
        SMALL.patch_grid(64, 3)
    crops = {"model.stem": "crops", "model.crops.folder": "-", "pretrain.data.image_input": "pixels"}
    assert Recipe().override({**crops, "model.crops.grid": 5}).model.patch_grid(64, 64) == (5, 5)
    with pytest.raises(UserError, match="image_size 8 is too small for 9 crops on a side"):
        Recipe().override({**crops, "model.crops.grid": 9, "corpus.image_size": 8})
    with pytest.raises(UserError, match=r"learning_rate_share: 0.0 should be greater than 0"):
        CropsConfig(learning_rate_share=0.0)
    with pytest.raises(UserError, match=r"crops.grid 9 exceeds max_side 8"):
        SMALL.override({"crops.grid": 9})


def test_transformers_missing_is_told_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'open-m6\[vision\]'"):
        load_vision_model(str(tmp_path))
