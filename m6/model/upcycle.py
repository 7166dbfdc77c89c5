"""Upcycling: the weights of a dense model as the start of one with experts (arXiv 2212.05055).

Every expert is a copy of the dense feed-forward, and the router is small and random, so that it prefers none. The
output of a layer is the sum of its experts times their gates; `down` is scaled by what makes up for that sum (as
arXiv 2410.07524), so that the new model computes what the dense one does:

- With top_k above 1, gates of a prototype sum to 1: `down` is divided by the number of prototypes. This is exact for
  any router.
- With top_k 1, a gate is about prototypes / E at first: `down` is multiplied by E / prototypes^2. This is exact for a
  router of zeros, and off by the factor of the chosen gate to an even one otherwise, which goes to 1 with `router_std`.

Equality holds where nothing is dropped, and with `noise` 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from m6.config import UserError
from m6.model.config import ModelConfig


@torch.no_grad()
def upcycle(
    dense: Mapping[str, Tensor], config: ModelConfig, seed: int = 0, router_std: float = 0.002, noise: float = 0.0
) -> dict[str, Tensor]:
    """A dense state_dict to that of `Transformer(config)`; tensors outside of expert layers are shared, not copied.

    router_std: standard deviation of the router's weights. noise: that of what is added to each expert's weights, as a
    share of theirs, so that copies differ from the start. UserError if the config has no experts, or if the dense model
    is not of this config.
    """
    if config.experts.num_experts == 1:
        raise UserError("model.experts.num_experts is 1: a model without experts cannot be upcycled to")
    layers = len({name.split(".")[1] for name in dense if name.startswith("blocks.")})
    if layers != config.num_layers:
        raise UserError(
            f"the dense model has {layers} layers, this config {config.num_layers}; to upcycle they must be alike"
        )
    generator = torch.Generator().manual_seed(seed)
    state = dict(dense)
    for layer in range(config.num_layers):
        if config.has_experts(layer):
            prefix = f"blocks.{layer}.ffn."
            up, down = (_take(state, f"{prefix}{name}.weight") for name in ("up", "down"))
            if up.shape != (config.expert_ffn_size, config.hidden_size):
                raise UserError(
                    f"model.experts: the dense layer {layer} is {up.shape[1]} to {up.shape[0]} wide, an expert of this "
                    f"config {config.hidden_size} to {config.expert_ffn_size}; to upcycle they must be alike"
                )
            count = config.experts.num_experts
            state[f"{prefix}router.weight"] = router_std * torch.randn(
                count, config.hidden_size, generator=generator
            ).to(up)
            state[f"{prefix}experts.up"] = _copies(up, count, noise, generator)
            state[f"{prefix}experts.down"] = _copies(down, count, noise, generator) * output_scale(config)
            if config.experts.balance == "bias":
                state[f"{prefix}router.bias"] = torch.zeros(count, device=up.device)
    return state


def output_scale(config: ModelConfig) -> float:
    """What `down` is multiplied by, see above."""
    experts = config.experts
    share = 1.0 if experts.top_k > 1 else experts.prototypes / experts.num_experts
    return 1.0 / (experts.prototypes * share)


def _take(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise UserError(f"no {name} among the weights: upcycling starts from a dense model of as many layers")
    return state.pop(name)


def _copies(weight: Tensor, count: int, noise: float, generator: torch.Generator) -> Tensor:
    copies = weight.expand(count, *weight.shape).clone()
    if noise:
        copies += noise * weight.std() * torch.randn(copies.shape, generator=generator).to(weight)
    return copies
