"""What makes a step faster or smaller without changing what is learnt: compiled blocks, recomputed activations, float8.

Applied to the blocks of a transformer once its weights are there; names of parameters stay. Of a block with experts
only the attention takes part: how many tokens an expert gets differs from step to step, and its router keeps count of
what passes, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from m6.config import UserError
from m6.model.experts import MixtureOfExperts
from m6.train.config import LoopConfig

KEPT = ("mm", "bmm", "addmm", "_scaled_mm", "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention")  # fmt: skip
"""Operations whose results selective checkpointing keeps: those that are dear to compute again."""
FLOAT8_MULTIPLE = 16  # what both sides of a matrix must be multiples of
FLOAT8_CAPABILITY = (9, 0)  # Hopper


def accelerate(model: nn.Module, config: LoopConfig, device: torch.device, backend: str = "inductor") -> None:
    """Applies what the config asks for. UserError for what the model or the device has no way to do."""
    asked = {"compile": config.compile, "checkpointing": config.checkpointing != "none", "float8": config.float8}
    named = [name for name, wanted in asked.items() if wanted]
    if not named:
        return
    if not hasattr(model, "blocks"):
        raise UserError(f"loop.{named[0]} is for the transformer; {type(model).__name__} has no blocks")
    if config.float8:
        to_float8(model, device)
    for part in _dense_parts(model):
        if config.checkpointing != "none":
            recompute(part, selective=config.checkpointing == "selective")
        if config.compile:
            part.compile(dynamic=True, backend=backend)  # one graph for packs of any length


def _dense_parts(model: nn.Module) -> Iterator[nn.Module]:
    for block in model.blocks:  # type: ignore[union-attr]
        yield block.attention if isinstance(block.ffn, MixtureOfExperts) else block


def recompute(part: nn.Module, selective: bool) -> None:
    """Makes a module forget its activations and compute them again on the way back; `selective` keeps the results of
    products and of attention, so that little is computed twice."""
    contexts: dict[str, Any] = {}
    if selective:
        contexts["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)

    def forward(self: nn.Module, *arguments: Any) -> Any:
        return checkpoint(
            type(self).forward, self, *arguments, use_reentrant=False, preserve_rng_state=False, **contexts
        )

    # A method of Python's, not a partial: torch.compile starts at a frame that it can read, and all parts share one.
    part.forward = MethodType(forward, part)


def _policy(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    name = getattr(operation, "overloadpacket", operation)
    kept = name in _kept_operations()
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def _kept_operations() -> set[Any]:
    found = {getattr(torch.ops.aten, name) for name in KEPT if hasattr(torch.ops.aten, name)}
    return found | {torch.ops.higher_order.flex_attention}


def to_float8(model: nn.Module, device: torch.device) -> None:
    """Lets the matrices of the blocks multiply in float8, with a scale for each tensor. UserError off Hopper GPUs."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < FLOAT8_CAPABILITY:
        raise UserError(f"loop.float8 needs an NVIDIA GPU of the Hopper kind or newer, this device is {device.type}")
    try:
        from torchao.float8 import convert_to_float8_training
    except ImportError:
        raise UserError("loop.float8 needs torchao: pip install 'open-m6[fast]'") from None

    def fits(module: nn.Module, _: str) -> bool:
        sides = (module.in_features, module.out_features) if isinstance(module, nn.Linear) else (1,)
        return all(side % FLOAT8_MULTIPLE == 0 for side in sides)

    for part in _dense_parts(model):
        convert_to_float8_training(part, module_filter_fn=fits)
