"""What is planned: a model, a mesh of ranks, and the micro-batch that each computes; and the sizes that follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, prod
from typing import Literal, TypeAlias

from m6.model.config import ModelConfig
from m6.model.flops import experts_per_token, parameters
from m6.parallel.config import Axes, ParallelConfig

Shape: TypeAlias = tuple[int, ...]
MATRIX = 2  # bytes of a number in bfloat16, in which matrices are gathered and multiplied
EXACT = 4  # and of float32: weights where they lie, gradients, norms, routers, all outside of blocks


@dataclass(frozen=True)
class Unit:
    """Weights that are gathered together, as `m6.parallel.fsdp.shard` puts them."""

    shapes: tuple[Shape, ...]
    ranks: int
    """That share them."""
    gathered: int
    """Bytes of a number when they are gathered."""
    side: int = 0
    """Which of their sides is divided."""

    @cached_property
    def own(self) -> int:
        """Numbers on a rank, with what fills it up."""
        return sum(
            prod(shape[: self.side]) * ceil(shape[self.side] / self.ranks) * prod(shape[self.side + 1 :])
            for shape in self.shapes
        )

    @property
    def whole(self) -> int:
        """Numbers when they are gathered."""
        return self.own * self.ranks


@dataclass(frozen=True)
class Job:
    """A training, as a rank sees it. `rows` texts of `length` tokens are a micro-batch."""

    model: ModelConfig
    vocab_size: int
    world: int
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    rows: int = 1
    length: int = 1024
    checkpointing: Literal["none", "selective", "full"] = "none"
    muon: bool = True

    @cached_property
    def axes(self) -> Axes:
        """Of the mesh."""
        return self.parallel.axes(self.world)

    @property
    def expert_shard(self) -> int:
        """Ranks that share the experts of one group."""
        return self.axes.shard // self.axes.experts

    @property
    def tokens(self) -> int:
        """Of a micro-batch."""
        return self.rows * self.length

    @cached_property
    def sparse(self) -> tuple[int, ...]:
        """Layers with experts."""
        return tuple(layer for layer in range(self.model.num_layers) if self.model.has_experts(layer))

    @property
    def slots(self) -> int:
        """Choices of the tokens of a micro-batch in a layer."""
        return self.tokens * experts_per_token(self.model)

    def norms(self, layer: int) -> Unit:
        """Of a block, what is gathered in float32."""
        return self._norms[layer in self.sparse]

    def matrices(self, layer: int) -> Unit:
        """Of a block, but for experts."""
        return self._matrices[layer in self.sparse]

    @cached_property
    def _norms(self) -> tuple[Unit, Unit]:
        norms, router = ((self.model.hidden_size,),) * 2, (self.model.experts.num_experts, self.model.hidden_size)
        return Unit(norms, self.axes.shard, EXACT), Unit((*norms, router), self.axes.shard, EXACT)

    @cached_property
    def _matrices(self) -> tuple[Unit, Unit]:
        width, inner = self.model.hidden_size, self.model.ffn_size
        attention, ffn = ((3 * width, width), (width, width)), ((inner, width), (width, inner))
        return Unit((*attention, *ffn), self.axes.shard, MATRIX), Unit(attention, self.axes.shard, MATRIX)

    @cached_property
    def experts(self) -> Unit:
        """Of a layer, those of one group."""
        width, inner = self.model.hidden_size, self.model.expert_ffn_size
        count = self.model.experts.num_experts // self.axes.experts
        fits = count % self.expert_shard == 0
        return Unit(((count, inner, width), (count, width, inner)), self.expert_shard, MATRIX, side=0 if fits else 1)

    @cached_property
    def root(self) -> Unit:
        """All outside of blocks: the embedding, which is the output layer too, sides of pictures, the last norm."""
        width, sides = self.model.hidden_size, self.model.max_side + 1
        vision = parameters(self.model, self.vocab_size)["vision"]
        shapes = ((self.vocab_size, width), (sides, width), (sides, width), (width, vision // width), (width,))
        return Unit(shapes, self.axes.shard, EXACT)

    @cached_property
    def units(self) -> tuple[tuple[Unit, int], ...]:
        """All kinds, and how many there are of each; the root last."""
        dense, sparse = self.model.num_layers - len(self.sparse), len(self.sparse)
        kinds = [(self._norms[0], dense), (self._matrices[0], dense)]
        kinds += [(self._norms[1], sparse), (self._matrices[1], sparse), (self.experts, sparse)] if sparse else []
        return (*((unit, count) for unit, count in kinds if count), (self.root, 1))
