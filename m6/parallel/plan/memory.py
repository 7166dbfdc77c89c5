"""Memory of a rank at the peak of a step, by part, in bytes.

What stays from step to step: weights, in float32, and the states of optimizers (two moments for AdamW, one momentum for
Muon). The peak comes in the backward. At block i, counted from the last,

    activations of the blocks before it, and of it, once more where they are recomputed
    + gradients of the blocks after it, float32, this rank's part
    + weights of the block, gathered, and its whole gradients: bfloat16 as they arise, float32 as they are sent
    + the embedding, gathered, and its whole gradient
    + what its operations hold for a moment

and the peak is that of the worst block.
"""

from __future__ import annotations

from dataclasses import dataclass

from m6.parallel.plan.job import EXACT, MATRIX, Job

CONTEXT = 1.5 * 2**30
"""Of CUDA, its libraries and NCCL: what a process takes before a tensor is there. Assumed."""
FRAGMENTS = 0.06
"""Share of the memory that the allocator cannot use. Assumed."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a rank."""

    weights: float
    optimizer: float
    gradients: float
    activations: float
    """That wait for the backward, at the peak."""
    gathered: float
    """Weights of a block and of all outside of blocks, whole, and their gradients."""
    moment: float
    """What operations hold for a moment."""

    @property
    def tensors(self) -> float:
        """All of it: what a ledger of tensors counts."""
        return self.weights + self.optimizer + self.gradients + self.activations + self.gathered + self.moment

    @property
    def device(self) -> float:
        """What a GPU has to have."""
        return self.tensors * (1 + FRAGMENTS) + CONTEXT


def weights(job: Job) -> float:
    """Bytes of the weights on a rank."""
    return float(EXACT * sum(unit.own for unit in job.units()))


def optimizer(job: Job) -> float:
    """Bytes of the states of the optimizers."""
    if not job.muon:
        return 2 * weights(job)
    matrices = sum(job.matrices(layer).own for layer in range(job.model.num_layers))
    matrices += job.experts().own * len(job.sparse) if job.sparse else 0
    return 2 * weights(job) - EXACT * matrices
