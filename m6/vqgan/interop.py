"""Published VQGANs: weights of diffusers (`VQModel`) in and out, those of taming-transformers in.

A folder of diffusers has `config.json` and `diffusion_pytorch_model.safetensors`. A checkpoint of taming-transformers
is a pickle, which may run code when it is read: only tensors are taken from it, and one that asks for more is refused.
Its shape is read off its tensors, since its config is a file of its own.

Both become `VQGANConfig(kind="resnet")` and a state dict of `VQGAN`; a code is the row of their code book.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from m6.config import UserError
from m6.run import write_atomic
from m6.vqgan.config import QuantizerConfig, ResnetConfig, VQGANConfig
from m6.vqgan.model import VQGAN

WEIGHTS = "diffusion_pytorch_model.safetensors"
BOOK = "quantize.embedding.weight"
PLAIN, WITH_ATTENTION = ("{}Block2D", "Attn{}Block2D")
KNOWN = {"act_fn": "silu", "norm_type": "group", "in_channels": 3, "out_channels": 3}
"""Fields of diffusers that this architecture has one value of."""
TAMING = (
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"\.mid\.block_(\d)\.", lambda found: f".mid_block.resnets.{int(found[1]) - 1}."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.(down|up)\.(\d+)\.block\.", r".\1_blocks.\2.resnets."),
    (r"\.(down|up)\.(\d+)\.attn\.", r".\1_blocks.\2.attentions."),
    (r"\.(down|up)\.(\d+)\.(down|up)sample\.", r".\1_blocks.\2.\3samplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.(q|k|v)\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
)
"""How names of taming-transformers are those of diffusers, but for the order of the levels of the decoder."""


def read(path: Path) -> VQGAN:
    """The image tokenizer of a folder of diffusers, or of a checkpoint of taming-transformers. UserError for what is
    neither, or of another architecture."""
    if path.is_dir():
        config, tensors = _of_diffusers(path)
    elif path.is_file():
        config, tensors = _of_taming(path)
    else:
        raise UserError(f"{path}: no such folder of diffusers or checkpoint of taming-transformers")
    model = VQGAN(config)
    wanted = model.state_dict()
    _fill_book(wanted, tensors.pop(BOOK))
    placed = {_own_name(name): tensor for name, tensor in tensors.items()}
    missing = [name for name in wanted if name not in placed and not name.startswith("quantizer.")]
    unlike = [n for n, t in placed.items() if n not in wanted or wanted[n].shape != t.shape]
    for name in [*missing, *unlike][:1]:
        raise UserError(f"{path}: not a VQGAN of this kind: {name} is {'missing' if name in missing else 'unlike'}")
    model.load_state_dict({**wanted, **placed})
    return model.eval()


def write(model: VQGAN, folder: Path) -> None:
    """Writes a model of kind "resnet" with a learnt code book as a `VQModel` of diffusers. UserError for another, which
    diffusers has no form for."""
    config = model.config
    if config.kind != "resnet" or config.quantizer.kind != "ema_vq":
        raise UserError(
            f"diffusers has no form for an image tokenizer of kind {config.kind!r} with quantizer "
            f"{config.quantizer.kind!r}; it takes 'resnet' with 'ema_vq'"
        )
    if config.decoder_blocks != config.encoder_blocks + 1:
        raise UserError(f"diffusers takes {config.encoder_blocks + 1} decoder_blocks to {config.encoder_blocks} blocks")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {_their_name(n): t for n, t in model.state_dict().items() if not n.startswith("quantizer.")}
    tensors[BOOK] = model.quantizer.features(torch.arange(config.num_codes)[None, None])[0, :, 0].T
    temporary = folder / f".{WEIGHTS}.tmp"
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary, {"format": "pt"})
    temporary.replace(folder / WEIGHTS)
    write_atomic(folder / "config.json", json.dumps(_their_config(config), indent=2) + "\n")


def _of_diffusers(folder: Path) -> tuple[VQGANConfig, dict[str, Tensor]]:
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: no VQModel of diffusers ({reason}); one has config.json and {WEIGHTS}") from None
    if about.get("_class_name") != "VQModel":
        raise UserError(f"{folder}/config.json: _class_name {about.get('_class_name')!r}, it has to be 'VQModel'")
    for name, value in KNOWN.items():
        if about.get(name, value) != value:
            raise UserError(f"{folder}/config.json: {name} {about[name]!r} is not supported, {value!r} is")
    channels = tuple(about["block_out_channels"])
    downs, ups = about["down_block_types"], about["up_block_types"]
    kinds = {attn.format(way): bool(attn == WITH_ATTENTION) for attn in (PLAIN, WITH_ATTENTION)
             for way in ("DownEncoder", "UpDecoder")}  # fmt: skip
    attention = [[kinds.get(kind) for kind in blocks] for blocks in (downs, [*reversed(ups)])]
    if attention[0] != attention[1] or None in attention[0] or any(attention[0][:-1]):
        raise UserError(
            f"{folder}/config.json: blocks {downs} and {ups} are not supported: attention in none, or at the lowest "
            "resolution alone"
        )
    blocks, latent = about.get("layers_per_block", 1), about.get("latent_channels", 3)
    config = VQGANConfig(
        kind="resnet",
        channels=channels,
        encoder_blocks=blocks,
        decoder_blocks=blocks + 1,
        quantizer=QuantizerConfig(
            kind="ema_vq",
            codebook_size=about.get("num_vq_embeddings", 256),
            code_dim=about.get("vq_embed_dim") or latent,
        ),
        resnet=ResnetConfig(
            groups=about.get("norm_num_groups", 32),
            attention=bool(attention[0][-1]),
            middle_attention=about.get("mid_block_add_attention", True),
            latent_channels=latent,
        ),
    )
    if BOOK not in tensors:
        raise UserError(f"{folder}/{WEIGHTS}: no {BOOK}, so it has no code book")
    return config, tensors


def _their_config(config: VQGANConfig) -> dict[str, Any]:
    shape, levels = config.resnet, len(config.channels)
    last = WITH_ATTENTION if shape.attention else PLAIN
    return {
        "_class_name": "VQModel",
        **KNOWN,
        "block_out_channels": list(config.channels),
        "down_block_types": [PLAIN.format("DownEncoder")] * (levels - 1) + [last.format("DownEncoder")],
        "up_block_types": [last.format("UpDecoder")] + [PLAIN.format("UpDecoder")] * (levels - 1),
        "latent_channels": shape.latent_channels,
        "layers_per_block": config.encoder_blocks,
        "lookup_from_codebook": False,
        "force_upcast": False,
        "mid_block_add_attention": shape.middle_attention,
        "norm_num_groups": shape.groups,
        "num_vq_embeddings": config.num_codes,
        "sample_size": 32,
        "scaling_factor": 0.18215,
        "vq_embed_dim": config.quantizer.width,
    }


def _of_taming(path: Path) -> tuple[VQGANConfig, dict[str, Tensor]]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of any kind: a file may be wrong in many ways
        raise UserError(
            f"{path}: not read, since it is no pickle of tensors alone: no checkpoint, or one that might run code; "
            "save its state_dict anew where you trust it"
        ) from None
    tensors = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    tensors = {name: each for name, each in tensors.items() if isinstance(each, Tensor)}
    tensors = {name: each for name, each in tensors.items() if not name.startswith("loss.")}
    if BOOK not in tensors or "encoder.down.0.block.0.conv1.weight" not in tensors:
        raise UserError(f"{path}: no VQGAN of taming-transformers, it has no {BOOK} or no encoder.down.0")
    config = _shape_of_taming(tensors)
    levels = len(config.channels)
    named = {}
    for name, tensor in tensors.items():
        for pattern, replacement in TAMING:
            name = re.sub(pattern, replacement, name)
        name = re.sub(r"^decoder\.up_blocks\.(\d+)", lambda at: f"decoder.up_blocks.{levels - 1 - int(at[1])}", name)
        is_product = ".attentions." in name and tensor.dim() == 4  # a convolution of one place
        named[name] = tensor[..., 0, 0] if is_product else tensor
    return config, named


def _shape_of_taming(tensors: Mapping[str, Tensor]) -> VQGANConfig:
    def count(pattern: str) -> int:
        return len({found[1] for name in tensors if (found := re.match(pattern, name))})

    levels = count(r"encoder\.down\.(\d+)\.")
    blocks = count(r"encoder\.down\.0\.block\.(\d+)\.")
    codes, width = tensors[BOOK].shape
    return VQGANConfig(
        kind="resnet",
        channels=tuple(len(tensors[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(levels)),
        encoder_blocks=blocks,
        decoder_blocks=count(r"decoder\.up\.0\.block\.(\d+)\."),
        quantizer=QuantizerConfig(kind="ema_vq", codebook_size=codes, code_dim=width),
        resnet=ResnetConfig(
            attention=count(rf"encoder\.down\.{levels - 1}\.attn\.(\d+)\.") > 0,
            middle_attention="encoder.mid.attn_1.q.weight" in tensors,
            latent_channels=len(tensors["encoder.conv_out.weight"]),
        ),
    )


def _fill_book(state: dict[str, Tensor], book: Tensor) -> None:
    """Puts a code book [N, C] into a state dict, also as the sums that it goes on from in training."""
    for name in ("embed", "embed_avg"):
        state[f"quantizer.inner._codebook.{name}"] = book[None].clone()


def _own_name(name: str) -> str:
    name = re.sub(r"^quant_conv", "encoder.quant_conv", name)
    return re.sub(r"^post_quant_conv", "decoder.post_quant_conv", name)


def _their_name(name: str) -> str:
    return re.sub(r"^(encoder|decoder)\.((post_)?quant_conv)", r"\2", name)
