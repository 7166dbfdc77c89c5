"""Trainings under torchrun that are killed, frozen or asked to stop from outside: real processes of the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from m6.run import read_metrics
from tests.distributed.launch import free_port

SECONDS = 120.0


def torchrun(world: int, given: list[str], *flags: str) -> subprocess.Popen[str]:
    """torchrun with the command `m6` and these words."""
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(world), "--master-port", str(free_port()), *flags]
    return subprocess.Popen(
        [sys.executable, *launch, "-m", "m6.cli", *given],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """Process id of each rank that a torchrun has started."""
    found = {}
    for child in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split():
        try:
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks = [int(entry[5:]) for entry in environment if entry.startswith(b"RANK=")]
        if ranks:
            found[ranks[0]] = int(child)
    return found


def until(true: Callable[[], bool], what: str) -> None:
    """Waits, and fails if it takes too long."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, f"waited {SECONDS:.0f} s for {what}"
        time.sleep(0.01)


def steps_done(run: Path) -> int:
    """The last step that stands in the metrics."""
    rows = read_metrics(run / "pretrain" / "metrics.jsonl")
    return int(rows[-1]["step"]) if rows else 0
