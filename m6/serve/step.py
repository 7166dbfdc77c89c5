"""One token more for each of many rows, as a graph that was traced once: most of a step of a small model on a processor
is Python between its operations.

The graph takes any number of rows and any span of keys, and does what the model does, to the bit. Weights are turned,
so that products read them as they lie: that is done in place, for whoever uses the model.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.jit._fuser import optimized_execution
from torch.jit._trace import TracerWarning

from m6.model.attention import Cache, SlotCache
from m6.model.transformer import Transformer

Step = Callable[[Tensor, Tensor, Tensor, Tensor, list[Tensor]], Tensor]
"""tokens [S], position [S, 3], mask [S, span], places [S * H], keys and values of each layer -> hidden [S, D]."""


UNTRACEABLE = sys.version_info >= (3, 14)  # for which PyTorch no longer keeps its tracer


class _Step(nn.Module):
    """The model behind slots."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor, places: Tensor, cached: list[Tensor]) -> Tensor:
        pairs = zip(cached[::2], cached[1::2], strict=True)
        caches = [SlotCache(keys, values, places, mask.shape[-1]) for keys, values in pairs]
        hidden: Tensor = self.model(tokens[:, None], position[:, None], mask[:, None, None], caches=caches)
        return hidden[:, 0]


@torch.inference_mode()
def make_step(model: Transformer, caches: Sequence[Cache]) -> Step:
    """The step of a model; caches: those that it will work on, whose first rows are written to. Experts choose what is
    computed by what comes, so a model that has some is not traced; nor is any where Python is too new for it."""
    for module in (model.embedding, *model.blocks.modules()):
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data = module.weight.data.t().contiguous().t()
    step = _Step(model)
    if model.experts() or UNTRACEABLE:
        return step
    rows, heads = 4, model.config.num_heads
    capacity = caches[0].keys.shape[2]
    cached = [whole[:rows] for cache in caches for whole in (cache.keys, cache.values)]
    with caches[0].keys.device:
        places = torch.arange(rows * heads) * capacity
        given = (torch.zeros(rows, dtype=torch.long), torch.zeros(rows, 3, dtype=torch.long))
        seen = torch.ones(rows, min(2, capacity), dtype=torch.bool)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=TracerWarning)  # of what is the same in every step
        # Why it is used all the same: docs/decisions/0016-serving.md.
        warnings.filterwarnings("ignore", "`torch.jit.trace(_method)?` is deprecated", DeprecationWarning)
        traced = torch.jit.trace(step, (*given, seen, places, cached), check_trace=False)

    def run(*words: object) -> Tensor:
        with optimized_execution(False):  # what it makes would be made anew for each shape
            hidden: Tensor = traced(*words)
            return hidden

    return run
