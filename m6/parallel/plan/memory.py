"""Memory of a rank at the peak of a step, by part, in bytes.

What stays from step to step: weights, in float32, and the states of optimizers (two moments for AdamW, one momentum for
Muon). The peak is that of the worst of these moments:

    logits       all activations, and a chunk of logits with its gradients
    compute      block by block from the last: activations of those before it and its own, more where they are
                 recomputed, gradients of those after it (this rank's part), its weights and those of the next,
                 gathered, and its gradients, whole
    reduce       the same without its activations, with its gradients on their way
    embedding    all gradients, and the whole one of the embedding, which is the last that is reduced
    update       all gradients, and what Muon turns at once

Activations are counted operation by operation (docs/en/plan.md); a token has, in a block of width D and inner width F
with H heads, of which K experts see it out of E,

    kept             nothing recomputed          selective             full
    dense            24 D + 4 F + 12 H           16 D + 2 F + 4 H      4 D
    with experts     26 D + 12 H                 18 D + 4 H            16 D
                     + 6 K D + 4 K F + 8 E       the same              the same

(4 K D where experts are not spread). Weights are gathered in bfloat16, gradients arise in it and go in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from m6.model.flops import experts_per_token
from m6.parallel.plan.job import EXACT, MATRIX, Job, Unit
from m6.parallel.plan.traffic import MUON_ELEMENTS

LOGITS = 2**26
"""Held at once, `m6.train.cross_entropy.CHUNK_ELEMENTS` of CUDA."""
LOGIT_BYTES = 8
"""Of a logit and its probability."""
MUON_COPIES = 8
"""Of the matrices that Muon turns together, in float32: directions, whole matrices, and what the iteration needs."""
CONTEXT = 1.5 * 2**30
"""Of CUDA, its libraries and NCCL: what a process takes before a tensor is there. Assumed."""
FRAGMENTS = 0.06
"""Share of the memory that the allocator cannot use. Assumed."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a rank, at the peak."""

    weights: float
    optimizer: float
    moment: str
    """When the peak is."""
    gradients: float = 0.0
    """This rank's part."""
    activations: float = 0.0
    """That wait for the backward, or are made again for it."""
    gathered: float = 0.0
    """Whole weights, and whole gradients before they are divided."""
    buffers: float = 0.0
    """What operations hold for a moment."""

    @property
    def tensors(self) -> float:
        """All of it: what a ledger of tensors counts."""
        return self.weights + self.optimizer + self.gradients + self.activations + self.gathered + self.buffers

    @property
    def device(self) -> float:
        """What a GPU has to have."""
        return self.tensors * (1 + FRAGMENTS) + CONTEXT


def weights(job: Job) -> float:
    """Bytes of the weights on a rank."""
    return float(EXACT * sum(unit.own * count for unit, count in job.units))


def optimizer(job: Job) -> float:
    """Bytes of the states of the optimizers."""
    if not job.muon:
        return 2 * weights(job)
    matrices = sum(job.matrices(layer).own for layer in range(job.model.num_layers))
    matrices += job.experts.own * len(job.sparse) if job.sparse else 0
    return 2 * weights(job) - EXACT * matrices


def memory(job: Job) -> Memory:
    """Of the worst moment of a step."""
    rest = Memory(weights(job), optimizer(job), "at rest")
    return max(_moments(job, rest), key=lambda each: each.tensors)


def kept(job: Job, layer: int) -> float:
    """Bytes of activations of a token that wait for the backward of a block."""
    width, inner, heads = job.model.hidden_size, job.model.ffn_size, job.model.num_heads
    if layer in job.sparse:
        attention = {"none": 26 * width + 12 * heads, "selective": 18 * width + 4 * heads, "full": 16 * width}
        return attention[job.checkpointing] + _kept_by_experts(job) + 12
    dense = {"none": 24 * width + 4 * inner + 12 * heads + 16, "selective": 16 * width + 2 * inner + 4 * heads + 16,
             "full": 4 * width}  # fmt: skip
    return dense[job.checkpointing]


def _kept_by_experts(job: Job) -> float:
    model, travels = job.model, job.axes.experts > 1
    of_choice = (6 if travels else 4) * model.hidden_size + 4 * model.expert_ffn_size + (43 if travels else 33)
    return experts_per_token(model) * of_choice + 8 * model.experts.num_experts


def worked(job: Job, layer: int) -> float:
    """Bytes of a token that the backward of a block holds for a moment, beside what is kept: what is computed again,
    and gradients of activations."""
    width, inner, heads = job.model.hidden_size, job.model.ffn_size, job.model.num_heads
    if layer in job.sparse:
        inner = experts_per_token(job.model) * job.model.expert_ffn_size
        again = {"none": 0, "selective": 8 * width + 8 * heads, "full": 10 * width + 12 * heads}[job.checkpointing]
        return max(2 * inner - 5 * width, again + 24 * width - 4 * inner)
    if job.checkpointing == "selective":
        return 8 * width + 2 * inner + 8 * heads + max(2 * inner + 2 * width, 13 * width)
    again = 20 * width + 4 * inner + 12 * heads if job.checkpointing == "full" else 0
    return again + max(2 * inner, 24 * width - 4 * inner)


def _moments(job: Job, rest: Memory) -> Iterator[Memory]:
    model, tokens, root = job.model, job.tokens, job.root
    # Hidden states and their gradients beside the blocks; rotations.
    beside = tokens * (8 * model.hidden_size + 4 * model.hidden_size // model.num_heads + 180)
    activations = beside + tokens * sum(kept(job, layer) for layer in range(model.num_layers))
    output = EXACT * job.vocab_size * model.hidden_size  # the gradient of the embedding as an output layer
    outside = root.gathered * root.whole + output
    stays = 0 if job.parallel.reshard_after_forward else sum(unit.gathered * unit.whole for unit in _blocks(job))
    chunk = min(tokens, max(256, LOGITS // job.vocab_size))
    yield replace(
        rest,
        moment="logits",
        activations=activations,
        gathered=outside + stays,
        buffers=LOGIT_BYTES * chunk * job.vocab_size + output,
    )
    gradients = 0.0
    for layer in reversed(range(model.num_layers)):
        matrices = job.matrices(layer)
        ahead = 0 if stays else MATRIX * ((job.matrices(layer - 1).whole if layer else 0) + matrices.whole)
        own = tokens * kept(job, layer)
        for unit in [job.experts, matrices] if layer in job.sparse else [matrices]:
            there = replace(rest, gradients=gradients)
            gathered = 0 if stays or unit is matrices else MATRIX * unit.whole
            yield replace(
                there,
                moment="compute",
                activations=activations + tokens * worked(job, layer),
                gathered=outside + stays + ahead + gathered + MATRIX * unit.whole,
            )
            freed = own if unit is matrices else tokens * _kept_by_experts(job)
            yield replace(
                there,
                moment="reduce",
                activations=activations - freed,
                gathered=outside + stays + ahead + (MATRIX + EXACT) * unit.whole,
            )
            gradients += EXACT * unit.own
        activations -= own
    gradients += EXACT * root.own
    after = replace(rest, gradients=gradients)
    yield replace(after, moment="embedding", activations=activations, gathered=outside + 2 * EXACT * root.whole)
    turned = max((min(MUON_ELEMENTS, count) for count in _muon_elements(job)), default=0) if job.muon else 0
    yield replace(after, moment="update", buffers=MUON_COPIES * EXACT * turned)


def _blocks(job: Job) -> list[Unit]:
    """Units of matrices."""
    return [job.matrices(layer) for layer in range(job.model.num_layers)] + [job.experts for _ in job.sparse]


def _muon_elements(job: Job) -> Iterator[int]:
    """Numbers on a rank of all matrices of one shape."""
    dense = [layer for layer in range(job.model.num_layers) if layer not in job.sparse]
    alike = [(job.matrices(layers[0]), len(layers)) for layers in (dense, job.sparse) if layers]
    alike += [(job.experts, len(job.sparse))] if job.sparse else []
    for unit, layers in alike:
        yield from (prod(shape) // unit.ranks * layers for shape in unit.shapes)
