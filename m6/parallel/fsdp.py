"""Fully sharded data parallelism (FSDP2): every rank keeps a part of each weight, its gradient and optimizer states.

A block's weights are gathered before it computes and freed after it; gradients are summed and scattered as they
arise. Blocks are sharded one by one, experts apart from their block over a mesh of their own, and the rest with the
model: the embedding, which is the output layer too, stays gathered from the forward of the model to its backward.

A model may come without weights, on "meta": each part gets them just before it is sharded, so that no rank ever holds
more than a block whole.

Weights and gradients are float32 where they lie. Matrices are gathered in the type that they are multiplied in, which
gives what autocast gives; norms, routers and all outside of blocks are gathered in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from m6.config import UserError
from m6.model.experts import MixtureOfExperts
from m6.model.experts.ffn import Experts
from m6.model.initial import materialise
from m6.model.transformer import Transformer
from m6.parallel.expert_parallel import spread_experts
from m6.parallel.mesh import Ranks


def shard(model: nn.Module, ranks: Ranks, dtype: torch.dtype = torch.float32) -> None:
    """Shards a model over the ranks, in place; all have the same weights before, or none. dtype: of matrix products.

    Gradients become sums over ranks, not means. UserError for a model that is no transformer, or whose experts cannot
    be divided.
    """
    if not isinstance(model, Transformer):
        raise UserError(f"several ranks are for the transformer, not for {type(model).__name__}")
    plain = MixedPrecisionPolicy(cast_forward_inputs=False)
    gathered_as = None if dtype == torch.float32 else dtype
    policy = MixedPrecisionPolicy(param_dtype=gathered_as, reduce_dtype=torch.float32, cast_forward_inputs=False)
    copies = ("replicate",) if ranks.dense.size(0) > 1 else ()
    dense, spread = ranks.mesh(*copies, "shard"), ranks.mesh(*copies, "expert_shard")
    put = partial(fully_shard, reshard_after_forward=ranks.config.reshard_after_forward)
    for index, block in enumerate(model.blocks):
        if isinstance(block.ffn, MixtureOfExperts):
            spread_experts(block.ffn, ranks)
        materialise(block, model.config, model.seed, ranks.device, f"blocks.{index}")
        if isinstance(block.ffn, MixtureOfExperts):
            side = Shard(experts_side(block.ffn.experts, ranks))
            put(block.ffn.experts, mesh=spread, mp_policy=policy, shard_placement_fn=partial(_always, side))
        if gathered_as is not None:
            put(list(_exact_parts(block)), mesh=dense, mp_policy=plain)
        put(block, mesh=dense, mp_policy=policy)
    materialise(model, model.config, model.seed, ranks.device)
    fully_shard(model, mesh=dense, mp_policy=plain, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def add_up_copies(model: nn.Module, now: bool) -> None:
    """Whether the next backward adds up the gradients of all copies of a sharded model; once in a step is enough."""
    if isinstance(model, FSDPModule):
        model.set_requires_all_reduce(now)


def _always(side: Shard, _: Tensor) -> Shard:
    return side


def experts_side(experts: Experts, ranks: Ranks) -> int:
    """The side on which the ranks of `expert_shard` divide a stack of experts: whole experts, 0, where that gives each
    as many, else rows of each expert, 1. UserError if neither does."""
    shards = ranks.mesh("expert_shard").size()
    for side in (0, 1):
        if all(weight.shape[side] % shards == 0 for weight in experts.parameters()):
            return side
    count, inner, width = experts.up.shape
    raise UserError(
        f"pretrain.parallel: {shards} ranks cannot share {count} experts of {width} x {inner} evenly; choose "
        "parallel.experts or parallel.replicate so that shard / experts divides one of these"
    )


def _exact_parts(block: nn.Module) -> Iterator[nn.Module]:
    yield from (block.attention_norm, block.ffn_norm)  # type: ignore[misc]
    if isinstance(block.ffn, MixtureOfExperts):
        yield block.ffn.router


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies on this rank, sharing its memory; of a plain tensor, itself."""
    with torch.no_grad():
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor
