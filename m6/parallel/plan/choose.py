"""The mesh and the micro-batch for some GPUs: every one that divides is tried, and the fastest that fits is taken.

Tried are all axes (replicate, shard, experts), all micro-batches that make the step, the three ways of checkpointing,
and weights that stay gathered or not; whatever the user has named is left as it is. When nothing fits, the same search
says what would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import isqrt
from typing import Literal, TypeAlias

from m6.config import UserError
from m6.model.config import ModelConfig
from m6.parallel.config import ParallelConfig
from m6.parallel.plan.hardware import GPU, GPUS, Efficiency
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import Memory, memory
from m6.parallel.plan.time import StepTime, step_time

Checkpointing: TypeAlias = Literal["none", "selective", "full"]
CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "selective", "full")
DOUBLINGS = 6
"""Of the number of GPUs, when more of them are tried."""


@dataclass(frozen=True)
class Wish:
    """What is to be trained on what. `samples` texts of `length` tokens make a step."""

    model: ModelConfig
    vocab_size: int
    world: int
    gpu: GPU
    per_node: int = 8
    length: int = 1024
    samples: int = 1024
    muon: bool = True
    efficiency: Efficiency = field(default_factory=Efficiency)
    named: dict[str, int] = field(default_factory=dict)
    """Fields of `ParallelConfig` that are not to be chosen."""
    checkpointing: Checkpointing | None = None
    rows: int = 0
    """Of a micro-batch; 0 chooses."""

    @property
    def per_rank(self) -> int:
        """Samples of a rank in a step."""
        return self.samples // self.world


@dataclass(frozen=True)
class Choice:
    """A way to train."""

    wish: Wish
    job: Job

    @cached_property
    def time(self) -> StepTime:
        """Of a step."""
        return step_time(self.job, self.wish.gpu, self.wish.efficiency, self.wish.per_node)

    @cached_property
    def memory(self) -> Memory:
        """At the peak."""
        return memory(self.job)

    @property
    def fits(self) -> bool:
        """Whether the GPU has that much memory."""
        return self.memory.device <= self.wish.gpu.memory_gib * 2**30

    @property
    def tokens(self) -> int:
        """Of a step, on all ranks."""
        return self.wish.samples * self.wish.length


def choose(wish: Wish, count: int = 1) -> list[Choice]:
    """The fastest that fit, each with other axes, best first; none if none fits. UserError for what does not divide."""
    found: dict[tuple[int, ...], Choice] = {}
    every = [Choice(wish, job) for job in jobs(wish)]
    for choice in sorted(every, key=lambda each: (each.time.seconds, each.time.in_turn)):
        if choice.job.axes not in found and choice.fits:
            found[choice.job.axes] = choice
            if len(found) == count:
                break
    return list(found.values())


def leanest(wish: Wish) -> Choice:
    """The one that takes least memory, whether it fits or not."""
    return min(_lean(wish), key=lambda each: each.memory.device)


def remedies(wish: Wish) -> dict[str, Choice]:
    """What would fit where nothing does, as words: another mesh or more checkpointing, a larger GPU, more GPUs."""
    tried: list[tuple[str, Wish]] = []
    free = replace(wish, named={}, checkpointing=None, rows=0)
    if wish.checkpointing in ("none", "selective"):
        tried.append(("--checkpointing full", replace(wish, checkpointing="full")))
    if wish.rows > 1:
        tried.append(("a smaller micro-batch than --rows", replace(wish, rows=0)))
    if wish.named:
        tried.append(("other axes than those that were named", replace(wish, named={})))
    larger = sorted((gpu.memory_gib, name) for name, gpu in GPUS.items() if gpu.memory_gib > wish.gpu.memory_gib)
    tried += [(f"--gpu {name}", replace(free, gpu=GPUS[name])) for _, name in larger]
    for times in (2**doubling for doubling in range(1, DOUBLINGS + 1)):
        world = wish.world * times
        samples = -(-wish.samples // world) * world
        tried.append((f"--gpus {world}", replace(free, world=world, samples=samples)))
    found: dict[str, Choice] = {}
    for words, other in tried:
        kind = words.split()[0]
        if not any(name.split()[0] == kind for name in found) and any(choice.fits for choice in _lean(other)):
            found[words] = choose(other)[0]
    return found


def _lean(wish: Wish) -> Iterator[Choice]:
    """Of each mesh the smallest micro-batches with most recomputed."""
    frugal = replace(wish, checkpointing=wish.checkpointing or "full", named={"reshard_after_forward": 1} | wish.named)
    least = sorted({job.rows for job in jobs(frugal)})[:2]
    return (Choice(wish, job) for job in jobs(frugal) if job.rows in least)


def jobs(wish: Wish) -> Iterator[Job]:
    """All that divide. UserError, which says what does not, if there is none."""
    ways = [wish.checkpointing] if wish.checkpointing else CHECKPOINTING
    stays = [bool(wish.named["reshard_after_forward"])] if "reshard_after_forward" in wish.named else [True, False]
    for parallel, (rows, accumulate), way, reshard in product(meshes(wish), micro_batches(wish), ways, stays):
        config = parallel.override({"accumulate": accumulate, "reshard_after_forward": reshard})
        yield Job(wish.model, wish.vocab_size, wish.world, config, rows, wish.length, way, wish.muon)


def meshes(wish: Wish) -> list[ParallelConfig]:
    """All axes for the GPUs. UserError if there are none."""
    world, num_experts = wish.world, wish.model.experts.num_experts
    named = {name: wish.named[name] for name in ("replicate", "shard", "experts") if wish.named.get(name)}
    if num_experts == 1 and named.get("experts", 1) > 1:
        raise UserError(f"--parallel.experts {named['experts']}: this model has no experts")
    for name, value in named.items():
        whole, what = (num_experts, "experts of a layer") if name == "experts" else (world, "GPUs")
        if whole % value:
            raise UserError(f"--parallel.{name} {value} does not divide the {whole} {what}")
    found = []
    for replicate in divisors(world):
        shard = world // replicate
        for experts in divisors(shard) if num_experts > 1 else [1]:
            axes = {"replicate": replicate, "shard": shard, "experts": experts}
            if all(axes[name] == value for name, value in named.items()) and _shared(wish.model, shard, experts):
                found.append(ParallelConfig.model_validate(axes))
    if not found:
        asked = " ".join(f"--parallel.{name} {value}" for name, value in named.items()) or f"{num_experts} experts"
        raise UserError(
            f"{asked}: no mesh of {world} GPUs has this; replicate x shard is all GPUs, experts divides shard"
        )
    return found


def _shared(model: ModelConfig, shard: int, experts: int) -> bool:
    """Whether the ranks can divide the experts evenly, as `m6.parallel.fsdp.experts_side` asks."""
    count = model.experts.num_experts
    if count == 1:
        return True
    if count % experts:
        return False
    ranks = shard // experts
    return count // experts % ranks == 0 or (model.hidden_size % ranks == 0 and model.expert_ffn_size % ranks == 0)


def micro_batches(wish: Wish) -> list[tuple[int, int]]:
    """Rows of a micro-batch and micro-batches of a step that make a rank's part. UserError if there are none."""
    if wish.samples % wish.world:
        raise UserError(f"--samples-per-step {wish.samples} cannot be divided among {wish.world} GPUs")
    per_rank, accumulate = wish.per_rank, wish.named.get("accumulate", 0)
    found = [
        (rows, per_rank // rows)
        for rows in divisors(per_rank)
        if wish.rows in (0, rows) and accumulate in (0, per_rank // rows)
    ]
    if not found:
        asked = f"--rows {wish.rows}" if wish.rows else f"--parallel.accumulate {accumulate}"
        raise UserError(f"{asked} does not divide the {per_rank} samples that each GPU has in a step")
    return found


def divisors(number: int) -> list[int]:
    """Of a number, in order."""
    small = [each for each in range(1, isqrt(number) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})
