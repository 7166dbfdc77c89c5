"""The mesh, the micro-batch and the recomputation that suit: of all that fit, what trains most tokens a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import log

from m6.config import UserError
from m6.model.config import ModelConfig
from m6.parallel.config import ParallelConfig
from m6.parallel.plan.hardware import GPU
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import Memory, memory
from m6.parallel.plan.time import Seconds, seconds

CHECKPOINTING = ("none", "selective", "full")
MOST_ROWS = 64  # of a micro-batch
MOST_GPUS = 2**16


@dataclass(frozen=True)
class Wish:
    """What is asked for; what is None is chosen."""

    model: ModelConfig
    vocab_size: int
    gpus: int
    gpu: GPU
    mfu: float
    length: int = 1024
    tokens_per_step: int = 2**20
    muon: bool = True
    replicate: int | None = None
    experts: int | None = None
    rows: int | None = None
    checkpointing: str | None = None


@dataclass(frozen=True)
class Plan:
    """A job with what it takes."""

    job: Job
    memory: Memory
    seconds: Seconds

    @property
    def tokens_per_step(self) -> int:
        """Of all ranks."""
        return self.job.tokens * self.job.parallel.accumulate * self.job.world

    @property
    def tokens_per_second(self) -> float:
        """Of all ranks."""
        return self.tokens_per_step / self.seconds.step


def jobs(wish: Wish) -> Iterator[Job]:
    """All that are as wished. UserError if nothing can be."""
    found = False
    for parallel in meshes(wish):
        for rows in [wish.rows] if wish.rows else [2**power for power in range(MOST_ROWS.bit_length())]:
            accumulate = wish.tokens_per_step // (wish.gpus * rows * wish.length)
            if accumulate < 1 and rows > 1 and not wish.rows:
                continue
            given = parallel.override({"accumulate": max(1, accumulate)})
            for how in [wish.checkpointing] if wish.checkpointing else CHECKPOINTING:
                found = True
                yield Job(wish.model, wish.vocab_size, wish.gpus, given, rows, wish.length, how, wish.muon)  # type: ignore[arg-type]
    if not found:
        raise UserError(
            f"no mesh of {wish.gpus} GPUs has replicate {wish.replicate or 'any'} and experts {wish.experts or 'any'}: "
            f"replicate has to divide the GPUs, experts what is left and the {wish.model.experts.num_experts} experts"
        )


def meshes(wish: Wish) -> Iterator[ParallelConfig]:
    """Copies that are whole nodes or parts of one, and groups of experts that divide them."""
    experts = wish.model.experts.num_experts
    for replicate in _divisors(wish.gpus):
        shard = wish.gpus // replicate
        if wish.replicate not in (None, replicate):
            continue
        if wish.replicate is None and shard % wish.gpu.per_node and wish.gpu.per_node % shard:
            continue
        for groups in _divisors(shard):
            if experts % groups == 0 and wish.experts in (None, groups) and _divide(wish.model, groups, shard):
                yield ParallelConfig(replicate=replicate, experts=groups)


def _divide(model: ModelConfig, groups: int, shard: int) -> bool:
    """Whether the ranks that share a group of experts can divide them evenly (`m6.parallel.fsdp.experts_side`)."""
    ranks, sides = shard // groups, (model.experts.num_experts // groups, model.expert_ffn_size, model.hidden_size)
    return model.experts.num_experts == 1 or sides[0] % ranks == 0 or not any(side % ranks for side in sides[1:])


def choose(wish: Wish) -> tuple[Plan, bool]:
    """The fastest plan that fits, of equally fast ones that with the largest micro-batch; or the one that takes least
    memory, and False."""
    plans = [Plan(job, memory(job), seconds(job, wish.gpu, wish.mfu)) for job in jobs(wish)]
    fitting = [plan for plan in plans if fits(plan, wish.gpu)]
    if fitting:
        return max(fitting, key=lambda plan: (round(log(plan.tokens_per_second), 3), plan.job.rows)), True
    return min(plans, key=lambda plan: plan.memory.device), False


def fits(plan: Plan, gpu: GPU) -> bool:
    """Whether a GPU has as much memory."""
    return plan.memory.device <= gpu.memory_gib * 2**30


def enough(wish: Wish) -> int | None:
    """The least number of GPUs, doubled again and again, on which something fits; None if none does."""
    gpus = wish.gpus
    while gpus < MOST_GPUS:
        gpus *= 2
        with suppress(UserError):
            if choose(replace(wish, gpus=gpus, replicate=None, experts=None))[1]:
                return gpus
    return None


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]
