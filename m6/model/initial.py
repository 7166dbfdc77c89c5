"""Initial weights: those of every parameter are drawn for themselves, from its name and one seed.

So a weight is the same whether the model is made whole on one device or part by part on many, in whatever order, and
each expert of a layer wherever it lies. Normal with `init_std`; the two matrices that write to the residual stream are
divided by sqrt(2 * num_layers), so that its size does not grow with depth (GPT-2). Norms begin as the identity. With a
tied output of this size the first loss is close to ln(V).
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from m6.model.config import ModelConfig
from m6.model.experts.ffn import Experts

RESIDUAL = ("attention.out.weight", "ffn.down.weight", "experts.down")
"""Ends of the names of matrices that write to the residual stream."""


@torch.no_grad()
def initialise(module: nn.Module, config: ModelConfig, seed: int, prefix: str = "") -> None:
    """Draws the parameters below a module, whose name in the whole model is `prefix`, on the device where they lie. A
    backbone keeps what it learnt, also where it is trained on; a device without data, "meta", is left as it is."""
    for path, part in module.named_modules(prefix=prefix):
        for own, parameter in part.named_parameters(recurse=False):
            name = f"{path}.{own}" if path else own
            if ".backbone." in name or parameter.is_meta:
                continue
            if parameter.dim() < 2:
                parameter.fill_(0.0 if own == "bias" else 1.0)
                continue
            std = config.init_std / ((2 * config.num_layers) ** 0.5 if name.endswith(RESIDUAL) else 1.0)
            if isinstance(part, Experts):
                for number, matrix in enumerate(parameter, start=part.first):
                    _draw(matrix, f"{name}.{number}", std, seed)
            else:
                _draw(parameter, name, std, seed)


def materialise(module: nn.Module, config: ModelConfig, seed: int, device: str, prefix: str = "") -> None:
    """Gives what lies on "meta" below a module its memory on a device and its initial values; the rest stays."""
    for path, part in module.named_modules(prefix=prefix):
        weights = [pair for pair in part.named_parameters(recurse=False) if pair[1].is_meta]
        for name, weight in weights:
            setattr(part, name, nn.Parameter(torch.empty_like(weight, device=device), weight.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_meta:
                setattr(part, name, torch.zeros_like(buffer, device=device))
        if weights:
            initialise(part, config, seed, path)


def _draw(weight: Tensor, name: str, std: float, seed: int) -> None:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator(weight.device).manual_seed(int.from_bytes(digest) >> 1)
    weight.normal_(0.0, std, generator=generator)
