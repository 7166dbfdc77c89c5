"""Our training step on ranks, under measurement: python -m benchmarks.scale_step FILE VOCABULARY WORLD [RANK PORT]

Rank 0 starts the others, answers for all, and tells them when to work. FILE is one of `benchmarks.mixed`, from which
every rank takes the same batches: as much work for each, whatever their number. WORLD 0 is a process without a group.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.mixed import read_batches
from benchmarks.peers.serve import serve
from benchmarks.step import Step
from m6.parallel.config import ParallelConfig
from m6.parallel.processes import joined
from m6.run import ends_with_parent

KEPT = ParallelConfig(reshard_after_forward=False)
"""What a plan recommends where memory allows it, as here: gathered weights stay until the backward."""


def main(path: str, vocabulary: str, world: str, rank: str = "0", port: str = "") -> None:
    """Serve as rank 0, or work until rank 0 ends."""
    batches = read_batches(Path(path))
    if world == "0":
        alone = Step(int(vocabulary), "float32", with_experts=False)
        serve(lambda: alone.run(batches))
        return
    port = port or free_port()
    os.environ |= {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    words = [path, vocabulary, world]
    with others("benchmarks.scale_step", words, rank, world, port), joined(KEPT, "cpu") as ranks:
        step = Step(int(vocabulary), "float32", with_experts=False, ranks=ranks)

        def work() -> int:
            tell(True)
            return step.run(batches) * ranks.world

        if ranks.first:
            serve(work)
            tell(False)
        else:
            while tell(False):
                step.run(batches)


@contextlib.contextmanager
def others(module: str, words: list[str], rank: str, world: str, port: str) -> Iterator[None]:
    """The other ranks of a program, started if this is the first one, which waits for them unless it fails."""
    started = []
    for other in range(1, int(world)) if rank == "0" else ():
        command = [sys.executable, "-m", module, *words, str(other), port]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, preexec_fn=ends_with_parent()))
    yield
    for process in started:
        process.wait()


def tell(work: bool) -> bool:
    """What rank 0 says: whether there is more to do."""
    word = torch.tensor(int(work))
    dist.broadcast(word, src=0)
    return bool(word)


def free_port() -> str:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
