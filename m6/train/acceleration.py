"""What makes a step faster or smaller without changing what is learnt: compiled blocks, recomputed activations, float8.

Applied to the blocks of a transformer once its weights are there; names of parameters stay. Of a block with experts
the attention takes part in all three, and what the experts compute may be forgotten and computed again: their router
keeps count of what passes and has chosen once. They are neither compiled nor multiplied in float8: how many tokens an
expert gets differs from step to step.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from types import MethodType
from typing import Any

import torch
import torch.fx.experimental._config as fx_config
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from m6.config import UserError
from m6.model import attention
from m6.model.experts import MixtureOfExperts
from m6.train.config import LoopConfig
from m6.train.requirements import accelerations

KEPT = ("mm", "bmm", "addmm", "_scaled_mm", "_grouped_mm", "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention")  # fmt: skip
"""Operations whose results selective checkpointing keeps: those that are dear to compute again."""
FLOAT8_MULTIPLE = 16  # what both sides of a matrix must be multiples of
FLOAT8_CAPABILITY = (9, 0)  # Hopper


def accelerate(model: nn.Module, config: LoopConfig, device: torch.device, backend: str = "inductor") -> None:
    """Applies what the config asks for. UserError for what the model or the device has no way to do."""
    named = accelerations(config)
    if not named:
        return
    if not hasattr(model, "blocks"):
        raise UserError(f"loop.{named[0]} is for the transformer; {type(model).__name__} has no blocks")
    if config.float8:
        to_float8(model, device)
    if config.checkpointing != "none":
        for part, method in _recomputed_parts(model):
            recompute(part, method, selective=config.checkpointing == "selective")
    if config.compile:
        compile_parts(model, backend)


def compile_parts(model: nn.Module, backend: str) -> None:
    """Compiles what is dense of every block: one graph for packs of any length, and one more each for packs of a single
    row, for looks at held-out batches and, on a CPU, for packs of over 4,096 tokens, which Inductor sums up otherwise.
    Settings are those of the process."""
    fx_config.use_duck_shape = False  # rows as long as the model is wide would pass for a width, and be compiled anew
    # Training or not, a row or several, the last block or another: these alone are the 8 that the default allows.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 16)
    attention.attend_in_pieces = torch.compiler.disable(attention.attend_in_pieces)
    # Rotations come in as complex numbers, and are taken apart before anything is computed.
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    for part in _dense_parts(model):
        part.compile(dynamic=True, backend=backend)


def _dense_parts(model: nn.Module) -> Iterator[nn.Module]:
    for block in model.blocks:  # type: ignore[union-attr]
        yield block.attention if isinstance(block.ffn, MixtureOfExperts) else block


def _recomputed_parts(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Modules and their methods. Sharded experts are gathered for their forward and again for their backward: what is
    computed again has to lie within, and the rows that they get and give are kept."""
    for part in _dense_parts(model):
        yield part, "forward"
    for block in model.blocks:  # type: ignore[union-attr]
        if isinstance(block.ffn, MixtureOfExperts):
            sharded = isinstance(block.ffn.experts, FSDPModule)
            yield (block.ffn.experts, "forward") if sharded else (block.ffn, "compute")


def recompute(part: nn.Module, method: str, selective: bool) -> None:
    """Makes a method of a module forget its activations and compute them again on the way back; `selective` keeps the
    results of products and of attention, so that little is computed twice."""
    contexts: dict[str, Any] = {}
    if selective:
        contexts["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)

    def again(self: nn.Module, *arguments: Any) -> Any:
        plain = getattr(type(self), method)
        return checkpoint(plain, self, *arguments, use_reentrant=False, preserve_rng_state=False, **contexts)

    # A method of Python's, not a partial: torch.compile starts at a frame that it can read, and all parts share one.
    setattr(part, method, MethodType(again, part))


def _policy(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    name = getattr(operation, "overloadpacket", operation)
    kept = name in _kept_operations()
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def _kept_operations() -> set[Any]:
    found = {getattr(torch.ops.aten, name) for name in KEPT if hasattr(torch.ops.aten, name)}
    return found | {torch.ops.higher_order.flex_attention, torch.ops.m6.grouped_mm}


def check_float8(device: torch.device) -> Any:
    """What of torchao turns modules to float8. UserError where it is missing, or off Hopper GPUs."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < FLOAT8_CAPABILITY:
        raise UserError(f"loop.float8 needs an NVIDIA GPU of the Hopper kind or newer, this device is {device.type}")
    try:
        from torchao.float8 import convert_to_float8_training
    except ImportError:
        raise UserError("loop.float8 needs torchao: pip install 'open-m6[fast]'") from None
    return convert_to_float8_training


def to_float8(model: nn.Module, device: torch.device) -> None:
    """Lets the matrices of the blocks multiply in float8, with a scale for each tensor. UserError off Hopper GPUs."""
    convert_to_float8_training = check_float8(device)

    def fits(module: nn.Module, _: str) -> bool:
        sides = (module.in_features, module.out_features) if isinstance(module, nn.Linear) else (1,)
        return all(side % FLOAT8_MULTIPLE == 0 for side in sides)

    for part in _dense_parts(model):
        convert_to_float8_training(part, module_filter_fn=fits)
