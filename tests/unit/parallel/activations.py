"""What a forward leaves for the way back: storages that are still there, each once."""

from __future__ import annotations

import gc
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from m6.data.packing import pack
from m6.data.sample import Branch, Sample, Text
from m6.model.config import ModelConfig
from m6.model.experts.ffn import Experts
from m6.model.transformer import Transformer
from m6.parallel.expert_parallel import spread_experts
from m6.parallel.mesh import ALONE, Ranks
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.acceleration import accelerate
from m6.train.config import LoopConfig
from m6.train.dry_run import as_on_a_gpu
from m6.train.pretrain import batch_loss

ROWS, LENGTH, VOCABULARY = 2, 256, 50


class Made(TorchDispatchMode):
    """The storages that operations make, each once; those of weights are not theirs."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights = weights
        self.seen: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(given):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self.weights:
                self.seen[StorageWeakRef(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        return given

    def alive(self) -> int:
        """Bytes of those that are still there."""
        gc.collect()
        return sum(size for storage, size in self.seen.items() if not storage.expired())


def after_forward(model: ModelConfig, how: str, ranks: Ranks = ALONE) -> tuple[int, int]:
    """Bytes that are there when the way back begins: all that was made, and what autograd saved. As on a GPU, in
    bfloat16, with weights that are there in it; tokens travel among the ranks."""
    torch.manual_seed(0)
    made = Transformer(model, VOCABULARY).train()
    for layer in made.experts().values():
        spread_experts(layer, ranks)
        layer.experts.bfloat16()
    for module in made.blocks.modules():
        if isinstance(module, nn.Linear):
            module.bfloat16()  # as FSDP gathers them
    with mock.patch("m6.train.acceleration.FSDPModule", Experts):  # as if they were sharded
        accelerate(made, LoopConfig(checkpointing=how), torch.device("cpu"))
    vocabulary = Vocabulary(VOCABULARY, 0)
    text = Text(tuple(place % VOCABULARY for place in range(LENGTH - 1)))
    samples = [Sample(str(row), (), (Branch("language_modelling", (), text),)) for row in range(ROWS)]
    batch = pack(samples, vocabulary, 8, LENGTH)
    assert batch.ids.shape == (ROWS, LENGTH)
    own = {parameter.untyped_storage().data_ptr() for parameter in made.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = saved_tensors_hooks(note, lambda tensor: tensor)
    with as_on_a_gpu(), Made(own) as watch, hooks, torch.autocast("cpu", torch.bfloat16):
        loss, _ = batch_loss(made, batch, ranks=ranks)
    assert loss.requires_grad
    return watch.alive(), sum(saved.values())
