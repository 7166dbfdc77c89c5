"""Published VQGANs: a folder that diffusers wrote gives what diffusers made of it (tests/fixtures/vqmodel: a tiny model
with weights by chance, and what version 0.42.1 answered); and the ways that files may be wrong."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from m6.config import UserError
from m6.train.config import VQGANStage
from m6.train.vqgan import begin
from m6.vqgan.config import VQGANConfig
from m6.vqgan.interop import BOOK, WEIGHTS, read, write
from m6.vqgan.model import VQGAN

FOLDER = Path(__file__).parents[2] / "fixtures" / "vqmodel"
TAMING = {
    "quant_conv": "quant_conv",
    "post_quant_conv": "post_quant_conv",
    "quantize.embedding": "quantize.embedding",
    "encoder.conv_in": "encoder.conv_in",
    "encoder.down.0.block.0": "encoder.down_blocks.0.resnets.0",
    "encoder.down.0.downsample": "encoder.down_blocks.0.downsamplers.0",
    "encoder.down.1.block.0": "encoder.down_blocks.1.resnets.0",
    "encoder.down.1.attn.0": "encoder.down_blocks.1.attentions.0",
    "encoder.mid.block_1": "encoder.mid_block.resnets.0",
    "encoder.mid.attn_1": "encoder.mid_block.attentions.0",
    "encoder.mid.block_2": "encoder.mid_block.resnets.1",
    "encoder.norm_out": "encoder.conv_norm_out",
    "encoder.conv_out": "encoder.conv_out",
    "decoder.conv_in": "decoder.conv_in",
    "decoder.mid.block_1": "decoder.mid_block.resnets.0",
    "decoder.mid.attn_1": "decoder.mid_block.attentions.0",
    "decoder.mid.block_2": "decoder.mid_block.resnets.1",
    "decoder.up.1.block.0": "decoder.up_blocks.0.resnets.0",
    "decoder.up.1.block.1": "decoder.up_blocks.0.resnets.1",
    "decoder.up.1.attn.0": "decoder.up_blocks.0.attentions.0",
    "decoder.up.1.attn.1": "decoder.up_blocks.0.attentions.1",
    "decoder.up.1.upsample": "decoder.up_blocks.0.upsamplers.0",
    "decoder.up.0.block.0": "decoder.up_blocks.1.resnets.0",
    "decoder.up.0.block.1": "decoder.up_blocks.1.resnets.1",
    "decoder.norm_out": "decoder.conv_norm_out",
    "decoder.conv_out": "decoder.conv_out",
}
"""Where taming-transformers has what diffusers has elsewhere: in a model of two resolutions and one block."""
WITHIN = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def check_same(model: VQGAN) -> None:
    expected = load_file(FOLDER / "expected.safetensors")
    assert expected["codes"].unique().numel() > 3
    latent = model.encoder(expected["images"])
    torch.testing.assert_close(latent, expected["latent"], rtol=1e-4, atol=1e-5)
    assert torch.equal(model.encode(expected["images"]), expected["codes"].long())
    with torch.no_grad():
        restored = model.decoder(model.quantizer.features(expected["codes"].long()))
    torch.testing.assert_close(restored, expected["restored"], rtol=1e-4, atol=1e-5)


def test_a_folder_of_diffusers_gives_what_diffusers_gives() -> None:
    model = read(FOLDER)
    assert (model.config.downsample, model.config.num_codes) == (2, 16)
    check_same(model)


def test_what_is_written_is_the_folder_that_was_read(tmp_path: Path) -> None:
    write(read(FOLDER), tmp_path)
    theirs, ours = load_file(FOLDER / WEIGHTS), load_file(tmp_path / WEIGHTS)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    about, told = (json.loads((folder / "config.json").read_text()) for folder in (FOLDER, tmp_path))
    assert {name: value for name, value in about.items() if name in told and name != "sample_size"} == {
        name: value for name, value in told.items() if name in about and name != "sample_size"
    }


def test_diffusers_reads_what_is_written(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    shape: dict[str, Any] = {"kind": "resnet", "channels": (8, 16, 16), "encoder_blocks": 2, "decoder_blocks": 3}
    shape["quantizer"] = {"kind": "ema_vq", "codebook_size": 32, "code_dim": 4}
    shape["resnet"] = {"groups": 4, "attention": True, "latent_channels": 6}
    model = VQGAN(VQGANConfig(**shape)).eval()
    write(model, tmp_path)
    theirs = diffusers.VQModel.from_pretrained(tmp_path).eval()
    images = torch.rand(2, 3, 32, 24) * 2 - 1
    with torch.no_grad():
        latent = theirs.encode(images).latents
        codes = theirs.quantize(latent)[2][2].view(2, 8, 6)
        torch.testing.assert_close(model.encoder(images), latent, rtol=1e-4, atol=1e-5)
        assert torch.equal(model.encode(images), codes)
        torch.testing.assert_close(model.decode(codes), theirs.decode(latent).sample.clamp(-1, 1), rtol=1e-4, atol=1e-5)


def taming(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for theirs, ours in TAMING.items():
        for name, tensor in tensors.items():
            if not name.startswith(f"{ours}."):
                continue
            leaf = name.removeprefix(f"{ours}.").replace("conv_shortcut", "nin_shortcut")
            if ".attentions." in name:
                part, _, kind = leaf.rpartition(".")
                leaf = f"{WITHIN[part]}.{kind}"
                tensor = tensor[..., None, None] if tensor.dim() == 2 else tensor
            found[f"{theirs}.{leaf}"] = tensor
    assert len(found) == len(tensors)
    return found


def test_a_checkpoint_of_taming_gives_the_same(tmp_path: Path) -> None:
    """Their norms have 32 groups always, so the widths are those that this asks for."""
    torch.manual_seed(0)
    shape = read(FOLDER).config.override({"channels": (32, 64), "resnet.groups": 32})
    model = VQGAN(shape)
    write(model, tmp_path)
    tensors = taming(load_file(tmp_path / WEIGHTS)) | {"loss.discriminator.main.0.weight": torch.zeros(3)}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "last.ckpt")
    found = read(tmp_path / "last.ckpt")
    assert found.config == shape
    for part in ("encoder", "decoder"):
        expected = getattr(model, part).state_dict()
        state = getattr(found, part).state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in expected.items())
    codes = torch.arange(16).view(1, 4, 4)
    assert torch.equal(found.decode(codes), model.eval().decode(codes))


class Runs:
    """A pickle that would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callbacks": Runs(tmp_path / "made")}, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=r"bad.ckpt: not read, since it is no pickle of tensors alone"):
        read(tmp_path / "bad.ckpt")
    assert not (tmp_path / "made").exists()
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(
        UserError, match=r"text.ckpt: not read, since it is no pickle of tensors alone: no checkpoint, or"
    ):
        read(tmp_path / "text.ckpt")


def changed(folder: Path, **values: Any) -> Path:
    shutil.copytree(FOLDER, folder)
    about = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"_class_name": "AutoencoderKL"}, "_class_name 'AutoencoderKL', it has to be 'VQModel'"),
        ({"norm_type": "spatial"}, "norm_type 'spatial' is not supported, 'group' is"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "attention in none, or at the lowest resolution alone"),
        ({"layers_per_block": 2}, "not a VQGAN of this kind: encoder.down_blocks.0.resnets.1.norm1.weight is missing"),
        ({"latent_channels": 5}, "is unlike"),
    ],
)
def test_another_architecture_is_told(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(changed(tmp_path / "folder", **values))


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder of diffusers or checkpoint"):
        read(tmp_path / "nothing")
    with pytest.raises(UserError, match="no VQModel of diffusers"):
        read(tmp_path)
    folder = changed(tmp_path / "cut")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(UserError, match="no VQModel of diffusers"):
        read(folder)
    tensors = load_file(FOLDER / WEIGHTS)
    save_file({name: tensor for name, tensor in tensors.items() if name != BOOK}, folder / WEIGHTS)
    with pytest.raises(UserError, match="so it has no code book"):
        read(folder)
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="no VQGAN of taming-transformers"):
        read(tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="diffusers has no form for an image tokenizer of kind 'narrow'"):
        write(VQGAN(VQGANConfig(channels=(4, 4))), tmp_path / "out")


def test_a_stage_begins_with_published_weights_of_its_own_shape() -> None:
    shape = read(FOLDER).config
    model = begin(VQGANStage(model=shape, start_from=str(FOLDER)), seed=0)
    check_same(model.eval())
    with pytest.raises(
        UserError, match=r"another shape than vqgan.model \(field: there, here\): kind: 'resnet', 'narrow'; channels"
    ):
        begin(VQGANStage(start_from=str(FOLDER)), seed=0)
    with pytest.raises(UserError, match="frozen takes the weights of start_from, which is empty"):
        VQGANStage(frozen=True)


def test_widths_and_tiles_of_the_published_kind() -> None:
    with pytest.raises(UserError, match=r"channels: 40 is not a multiple of resnet.groups 32"):
        VQGANConfig(kind="resnet", channels=(32, 40))
    with pytest.raises(UserError, match="see whole pictures, so tiles would show"):
        read(FOLDER).encode(torch.zeros(1, 3, 16, 16), tile=8)
    features = read(FOLDER).backbone()(torch.zeros(1, 3, 16, 24))
    assert features.shape == (1, 8, 8, 12)
