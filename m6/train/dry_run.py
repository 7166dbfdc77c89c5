"""A dry run: the training code as it is, on one rank of many that are not there.

Tensors are fake (they have a shape and a type, and no data) and so is the process group: 100B parameters on 128 ranks
take a minute of one core, and little memory. What is learnt is how much memory a rank takes, and which collectives it
asks for, with their bytes.

    dry_run(SIZES["10b"].model, 21_128, world=64)

Computed is as on a GPU: in bfloat16, with attention that keeps no scores. All numbers that the host reads from the
device are made up: losses are 0, and every expert gets as many tokens as any other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed._tools.fake_collectives  # what a collective gives for fake tensors
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from m6.data.config import DataConfig
from m6.data.loader import Steps
from m6.data.packing import Batch
from m6.data.sample import Branch, Sample, Text
from m6.data.unusable import Skipped
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.expert_parallel import AllToAllDispatcher
from m6.parallel.fsdp import local
from m6.parallel.ledger import Collective, Ledger, Traffic
from m6.parallel.mesh import Ranks
from m6.run import peak_rss_gib
from m6.tokenizer.vocabulary import Vocabulary
from m6.train import cross_entropy
from m6.train.config import LoopConfig
from m6.train.loop import Task, train
from m6.train.pretrain import pretraining

T = TypeVar("T")
STEPS = 2
"""The second is the one that counts: states of optimizers are there."""


@dataclass(frozen=True)
class DryRun:
    """What one rank does in a step. Bytes of what is always there, and of all at the peak."""

    weights: int
    optimizer: int
    peak: int
    traffic: dict[Collective, Traffic]
    seconds: float
    """That the dry run took here."""
    host_gib: float
    """Peak of this process."""


class DryRanks(Ranks):
    """Ranks of which this one alone is there: what the others would say is what this one says."""

    def gather(self, value: T) -> list[T]:
        """`value` of each."""
        return [value] * self.world


class MadeUp(Ledger):
    """A ledger of fake tensors: every number that the host reads is 0."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0 if args[0].is_floating_point() else 0
        return super().__torch_dispatch__(func, types, args, kwargs)


def dry_run(
    model: ModelConfig,
    vocab_size: int,
    world: int,
    parallel: ParallelConfig | None = None,
    loop: LoopConfig | None = None,
    rows: int = 1,
    length: int = 1024,
    rank: int = 0,
) -> DryRun:
    """One of `world` ranks trains on `rows` texts of `length` tokens in each micro-batch. Only for a process that has
    joined no group. UserError if that many ranks cannot share the model."""
    parallel, loop = parallel or ParallelConfig(), loop or LoopConfig()
    parallel.check(world, model.experts.num_experts, world * parallel.accumulate)
    loop = loop.override({"num_steps": STEPS, "log_every": STEPS, "checkpoint_every": 0, "heldout_every": 0})
    loop = loop.override({"device": "cpu", "precision": "bfloat16", "compile": False})
    began = time.perf_counter()
    with faked(parallel, world, rank) as ranks, tempfile.TemporaryDirectory() as folder:
        with torch.device("meta"):
            made = Transformer(model, vocab_size)
        ledger = MadeUp(named_groups(ranks))
        task, at_rest = text_task(made, ranks, rows, length, ledger)
        with as_on_a_gpu(), even_loads(), FakeTensorMode(allow_non_fake_inputs=True), ledger:
            train(task, loop, Path(folder), "dry run", {}, ranks)
            weights = sum(local(weight).nbytes for weight in made.parameters())
    seconds = time.perf_counter() - began
    return DryRun(weights, at_rest[-1] - weights, ledger.peak, dict(ledger.traffic), seconds, peak_rss_gib())


@contextmanager
def faked(parallel: ParallelConfig, world: int, rank: int) -> Iterator[DryRanks]:
    """A process group of which only this rank is there. Its meshes are made before tensors become fake."""
    dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
    try:
        ranks = DryRanks(parallel, "cpu", rank, world, True)
        named_groups(ranks)
        for axis in ("shard", "expert_shard"):
            ranks.mesh("replicate", axis)
        yield ranks
    finally:
        dist.destroy_process_group()


def named_groups(ranks: Ranks) -> dict[str, str]:
    """The axes of a mesh by the names that PyTorch has for their groups."""
    names = {dist.group.WORLD.group_name: "world"}  # type: ignore[union-attr]
    for axis in ("expert_shard", "experts", "replicate", "shard"):  # of two that are the same group, the last
        names[ranks.mesh(axis).get_group().group_name] = axis
    names[ranks.spread["replicate"].get_group().group_name] = "replicate"
    return names


class Texts:
    """Stands for a mixture: `rows` texts of `length` tokens for each who asks."""

    def __init__(self, vocabulary: Vocabulary, rows: int, length: int) -> None:
        self.config = DataConfig(row_length=length)
        text = Text(tuple(range(vocabulary.text_size - length + 1, vocabulary.text_size)))
        self._samples = [Sample(str(row), (), (Branch("language_modelling", (), text),)) for row in range(rows)]

    def part(self, step: int, part: int, parts: int) -> tuple[list[Sample], list[Skipped]]:
        """As of `Mixture`."""
        return self._samples, []

    def num_drawn(self, step: int) -> int:
        """As of `Mixture`."""
        return step


def text_task(
    model: Transformer, ranks: Ranks, rows: int, length: int, ledger: Ledger
) -> tuple[Task[Batch], list[int]]:
    """Language modelling on the same texts in every step; and what is held when each step begins, which is filled in
    as they do. The ledger begins anew with each."""
    vocabulary = Vocabulary(model.embedding.num_embeddings, 0)
    texts: Any = Texts(vocabulary, rows, length)
    steps = Steps(texts, vocabulary, model.config.patch_grid, ranks.rank, ranks.world, ranks.config.accumulate)
    batch = steps[0]
    at_rest: list[int] = []

    def batches(start: int, stop: int, workers: int) -> Iterator[Batch]:
        for _ in range(start, stop):
            ledger.begin()
            at_rest.append(ledger.now)
            yield from [batch] * ranks.config.accumulate

    task = pretraining(model, steps, (), ranks)
    return replace(task, batches=batches, counts=lambda batch: {"tokens": float(rows * length)}), at_rest


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Sizes of what is held on CUDA: no scores of attention, larger chunks of logits, experts without filling."""
    with (
        mock.patch("m6.train.pretrain.build_mask", return_value=None),
        mock.patch.dict(cross_entropy.CHUNK_ELEMENTS, cpu=cross_entropy.CHUNK_ELEMENTS["cuda"]),
        mock.patch("m6.model.experts.dispatch.rows_multiple", return_value=1),
    ):
        yield


@contextmanager
def even_loads() -> Iterator[None]:
    """Every expert gets as many tokens as any other: what really comes is not known of fake tensors."""
    dispatch = AllToAllDispatcher.dispatch
    slots = 0

    def noted(self: AllToAllDispatcher, tokens: Tensor, expert: Tensor, partial: bool) -> tuple[Tensor, Tensor, Any]:
        nonlocal slots
        slots = expert.numel()
        return dispatch(self, tokens, expert, partial)

    def even(self: AllToAllDispatcher, counts: Tensor) -> tuple[Tensor, list[int], list[int]]:
        arriving, _, _ = exchange(self, counts)
        ranks = self.group.size()
        sent = [(slots + rank) // ranks for rank in range(ranks)]
        return arriving, sent, [sent[self.group.rank()]] * ranks

    exchange = AllToAllDispatcher.exchange_counts
    with mock.patch.multiple(AllToAllDispatcher, dispatch=noted, exchange_counts=even):
        yield
