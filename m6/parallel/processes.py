"""The process group that torchrun's environment names: joined for the time of a command, left when it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from m6.config import UserError
from m6.parallel.config import ParallelConfig
from m6.parallel.mesh import AgreedError, Ranks
from m6.parallel.watchdog import Watchdog
from m6.run import EndedError

COLLECTIVES_WAIT = (1.25, 30.0)
"""Times the watchdog's timeout, and seconds more: a collective gives up later than the watchdog, which knows more."""


class OneRankError(UserError):
    """A mistake that this rank alone knows of."""

    of_one_rank = True


@contextmanager
def joined(config: ParallelConfig, device: str) -> Iterator[Ranks]:
    """Joins the other processes: over gloo on a CPU, over NCCL on CUDA, where each takes the device of its local rank.
    device: "auto", "cpu" or "cuda". A UserError inside is told by this rank, unless all have agreed on it."""
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"  # objects and counts on the CPU go over gloo
    wait = timedelta(seconds=config.timeout * COLLECTIVES_WAIT[0] + COLLECTIVES_WAIT[1])
    # torchrun may keep its store when it starts all again: the keys of those that were killed must not be met.
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store, rank, world = next(rendezvous("env://", timeout=wait))
    store = dist.PrefixStore(f"start/{again}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=wait)
    ranks = Ranks.of(config, "cuda" if cuda else "cpu")
    ranks.at("start")
    watchdog = Watchdog(ranks.rank, ranks.world, ranks.place, config.timeout)
    watchdog.start()
    try:
        yield ranks
    except (AgreedError, EndedError) as error:
        watchdog.leave(error.code if isinstance(error, EndedError) else 2)
        dist.destroy_process_group()
        raise
    except UserError as error:
        watchdog.leave(2)
        raise OneRankError(f"rank {ranks.rank}: {error}") from None
    except RuntimeError:  # as that of a collective
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the others when one is gone; this one does so too
        if ended := watchdog.lost():
            raise ended from None
        raise
    watchdog.leave(0)
    dist.destroy_process_group()
