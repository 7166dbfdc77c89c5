"""What is planned: a model, a mesh of ranks, and the micro-batch that each computes; and the sizes that follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
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

    @cached_property
    def whole(self) -> int:
        """Numbers when they are gathered."""
        return self.own * self.ranks


unit = cache(Unit)
"""The same one for the same weights: a search asks for them again and again."""


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

    def slots(self) -> int:
        """Choices of the tokens of a micro-batch in a layer."""
        return self.tokens * experts_per_token(self.model)

    def norms(self, layer: int) -> Unit:
        """Of a block, what is gathered in float32."""
        width = self.model.hidden_size
        router = [(self.model.experts.num_experts, width)] if layer in self.sparse else []
        return unit(((width,), (width,), *router), self.axes.shard, EXACT)

    def matrices(self, layer: int) -> Unit:
        """Of a block, but for experts."""
        width, inner = self.model.hidden_size, self.model.ffn_size
        ffn = [] if layer in self.sparse else [(inner, width), (width, inner)]
        return unit(((3 * width, width), (width, width), *ffn), self.axes.shard, MATRIX)

    def experts(self) -> Unit:
        """Of a layer, those of one group."""
        width, inner = self.model.hidden_size, self.model.expert_ffn_size
        shapes = tuple((self.model.experts.num_experts // self.axes.experts, *side) for side in
                       ((inner, width), (width, inner)))  # fmt: skip
        fits = all(shape[0] % self.expert_shard == 0 for shape in shapes)
        return unit(shapes, self.expert_shard, MATRIX, 0 if fits else 1)

    def root(self) -> Unit:
        """All outside of blocks: the embedding, which is the output layer too, sides of pictures, the last norm."""
        width, sides = self.model.hidden_size, self.model.max_side + 1
        vision = parameters(self.model, self.vocab_size)["vision"]
        shapes = ((self.vocab_size, width), (sides, width), (sides, width), (width, vision // width), (width,))
        return unit(shapes, self.axes.shard, EXACT)

    def units(self) -> list[tuple[Unit, int]]:
        """All, each with the number of blocks that have one like it; the last is that outside of blocks."""
        found = []
        dense = [layer for layer in range(self.model.num_layers) if layer not in self.sparse]
        for layers in filter(None, (dense, self.sparse)):
            found += [(self.norms(layers[0]), len(layers)), (self.matrices(layers[0]), len(layers))]
        found += [(self.experts(), len(self.sparse))] if self.sparse else []
        return [*found, (self.root(), 1)]
