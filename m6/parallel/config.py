"""How the ranks of a training share its work. Free of torch, so that recipes and help stay light."""

from typing import ClassVar, NamedTuple, Self

from pydantic import model_validator

from m6.config import Config, UserError


class Axes(NamedTuple):
    """Sizes of the axes that a number of ranks is divided into; replicate * shard is all of them."""

    replicate: int
    shard: int
    experts: int


class ParallelConfig(Config):
    """Axes of the mesh of ranks. How many ranks there are is told by torchrun, not here."""

    may_change: ClassVar[tuple[str, ...]] = (
        "replicate", "shard", "experts", "accumulate", "reshard_after_forward", "timeout",
    )  # fmt: skip

    replicate: int = 1
    """Copies of the model, each sharded over ranks of its own, as those of a node; their gradients are summed (hybrid
    sharding)."""
    shard: int = 0
    """Ranks that share the weights, gradients and optimizer states of one copy; 0 takes all that are left."""
    experts: int = 1
    """Groups of experts: so many of the ranks of a copy hold different ones and exchange tokens; it divides shard."""
    accumulate: int = 1
    """Micro-batches of a rank in one step, one after the other: less memory for the same update."""
    reshard_after_forward: bool = True
    """Free the gathered weights of a block between its forward and its backward: less memory, one more gathering."""
    timeout: float = 600.0
    """Seconds in which no phase of a step ends, on any rank, after which all end with a report of who is behind."""

    @model_validator(mode="after")
    def _sizes_are_sizes(self) -> Self:
        for name, least in {"replicate": 1, "shard": 0, "experts": 1, "accumulate": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)} must be at least {least}")
        if self.timeout <= 0:
            raise ValueError(f"timeout {self.timeout:g} must be above 0 seconds")
        return self

    def axes(self, world: int) -> Axes:
        """The axes for that many ranks. UserError if the sizes do not divide."""
        shard = self.shard or world // self.replicate
        if self.replicate * shard != world:
            asked = f"replicate {self.replicate} x shard {self.shard or 'the rest'}"
            raise UserError(f"pretrain.parallel: {asked} does not make the {world} ranks that were started")
        if shard % self.experts:
            raise UserError(f"pretrain.parallel: experts {self.experts} does not divide the {shard} ranks of a copy")
        return Axes(self.replicate, shard, self.experts)

    def check(self, world: int, num_experts: int, num_documents: int) -> None:
        """UserError unless that many ranks can share the experts of a layer and the documents of a step."""
        axes = self.axes(world)
        if num_experts % axes.experts:
            raise UserError(
                f"pretrain.parallel.experts {axes.experts} does not divide model.experts.num_experts {num_experts}"
            )
        if num_documents < (parts := world * self.accumulate):
            raise UserError(
                f"pretrain.data.mixture gives {num_documents} documents a step, too few for {world} ranks with "
                f"{self.accumulate} micro-batches each: at least {parts}"
            )
