"""A ledger of what a program holds and sends: the memory of its tensors, and its collectives with their bytes.

It watches every operation of PyTorch inside `with Ledger() as ledger:`, on real tensors and on fake ones alike, so a
dry run and a real one are counted by one rule. Memory is that of storages, each counted once and for as long as it
lives; what a process holds beside tensors is not seen.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Of the arguments of an operation, the tensor that tells how much travels: outputs come first, then inputs. What comes
# with a row of metrics, small objects in pickles, is left out.
COLLECTIVES = {
    "c10d::_allgather_base_": ("all_gather", 0),
    "c10d::_reduce_scatter_base_": ("reduce_scatter", 1),
    "c10d::allreduce_": ("all_reduce", 0),
    "c10d::alltoall_base_": ("all_to_all", 1),
}


@dataclass(frozen=True)
class Collective:
    """What is added up: a kind of exchange among the ranks of a group."""

    kind: str
    group: str


@dataclass
class Traffic:
    """How often, and bytes of the whole tensor that is gathered, reduced, or sent in parts."""

    calls: int = 0
    bytes: int = 0


class Ledger(TorchDispatchMode):
    """Bytes held `now` and at the `peak`, and `traffic` since the last `begin`."""

    def __init__(self, groups: dict[str, str] | None = None) -> None:
        """groups: names of process groups, as PyTorch calls them, and how they are to be called here."""
        super().__init__()
        self.now = 0
        self._groups = groups or {}
        self._held: dict[int, tuple[Any, int]] = {}
        self.begin()

    def begin(self) -> None:
        """Forgets the peak and what has travelled; what is held stays."""
        self.peak = self.now
        self.traffic: dict[Collective, Traffic] = defaultdict(Traffic)

    def __enter__(self) -> Ledger:
        self._resize = torch.UntypedStorage.resize_
        ledger, resize = self, self._resize

        def noted(storage: torch.UntypedStorage, size: int) -> None:  # no operation: FSDP frees weights by it
            resize(storage, size)
            ledger._change(storage, size)

        torch.UntypedStorage.resize_ = noted  # type: ignore[method-assign, assignment]
        super().__enter__()
        return self

    def __exit__(self, *about: Any) -> None:
        super().__exit__(*about)
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented  # its parts come by on their own
        if func.namespace == "c10d":
            self._note(func._schema.name, args)
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._hold(value.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._held:
            self._held[key] = (weakref.ref(storage, lambda _: self._drop(key)), 0)
            self._change(storage, storage.nbytes())

    def _change(self, storage: torch.UntypedStorage, size: int) -> None:
        if (held := self._held.get(storage._cdata)) is not None:
            self._held[storage._cdata] = held[0], size
            self.now += size - held[1]
            self.peak = max(self.peak, self.now)

    def _drop(self, key: int) -> None:
        self.now -= self._held.pop(key)[1]

    def _note(self, operation: str, args: Any) -> None:
        if operation not in COLLECTIVES:
            return
        kind, which = COLLECTIVES[operation]
        group = next(dist.ProcessGroup.unbox(arg) for arg in args if isinstance(arg, torch.ScriptObject))
        found = self.traffic[Collective(kind, self._groups.get(group.group_name, group.group_name))]
        found.calls += 1
        found.bytes += sum(tensor.nbytes for tensor in tree_leaves(args[which]) if isinstance(tensor, Tensor))
