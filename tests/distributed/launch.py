"""Runs a function on several processes that have joined over gloo, as torchrun would start them, and ends them in time.

Processes are forked from a server that has imported torch once: a test waits for tenths of a second, not for imports.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest

from m6.parallel.config import ParallelConfig

SECONDS = 240.0
"""After which the processes are killed and the test fails."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.distributed.launch", "torch.distributed.fsdp", "m6.train.pretrain"])


def run_on(world: int, function: Callable[..., Any], *arguments: Any, **config: Any) -> list[Any]:
    """What function(ranks, *arguments) returns on each of `world` ranks, in order. config: of `ParallelConfig`.

    The test fails if one of them fails, or if they have not all ended in time.
    """
    return _start(world, _join, (config, function, arguments))


def command(world: int, words: list[str]) -> list[tuple[int, str]]:
    """Exit code and stderr of the command `m6` on each of `world` ranks, in order."""
    return _start(world, _command, (words,))


def _start(world: int, work: Callable[..., Any], arguments: Any) -> list[Any]:
    port = str(free_port())
    ends = [_processes.Pipe(duplex=False) for _ in range(world)]
    started = [
        _processes.Process(target=_rank, args=(sender, rank, world, port, work, arguments), daemon=True)
        for rank, (_, sender) in enumerate(ends)
    ]
    for process, (_, sender) in zip(started, ends, strict=True):
        process.start()
        sender.close()
    try:
        return _results([receiver for receiver, _ in ends])
    finally:
        for process in started:
            process.join(timeout=5)
            process.kill()


def _results(receivers: list[Connection]) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(receivers):
        ready = wait([each for rank, each in enumerate(receivers) if rank not in results], timeout=SECONDS)
        if not ready:
            pytest.fail(f"ranks {sorted(set(range(len(receivers))) - set(results))} did not end in {SECONDS:.0f} s")
        for receiver in ready:
            assert isinstance(receiver, Connection)
            rank = receivers.index(receiver)
            worked, results[rank] = pickle.loads(receiver.recv_bytes())
            if not worked:
                pytest.fail(f"rank {rank}: {results[rank]}")
    return [results[rank] for rank in range(len(receivers))]


def _rank(sender: Connection, rank: int, world: int, port: str, work: Callable[..., Any], arguments: Any) -> None:
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    try:
        sender.send_bytes(pickle.dumps((True, work(*arguments))))
    except BaseException:
        sender.send_bytes(pickle.dumps((False, traceback.format_exc())))


def _join(config: dict[str, Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    from m6.parallel.processes import joined

    with joined(ParallelConfig.model_validate({"timeout": 60.0, **config}), "cpu") as ranks:
        return function(ranks, *arguments)


def _command(words: list[str]) -> tuple[int, str]:
    from m6.cli import main

    with contextlib.redirect_stderr(io.StringIO()) as told:
        return main(words), told.getvalue()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
