"""The process group that torchrun's environment names: joined for the time of a command, left when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from m6.config import UserError
from m6.parallel.config import ParallelConfig
from m6.parallel.mesh import AgreedError, Ranks


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
    dist.init_process_group(backend, timeout=timedelta(seconds=config.timeout))
    ranks = Ranks.of(config, "cuda" if cuda else "cpu")
    try:
        yield ranks
    except AgreedError:
        dist.destroy_process_group()
        raise
    except UserError as error:
        raise OneRankError(f"rank {ranks.rank}: {error}") from None
    dist.destroy_process_group()
