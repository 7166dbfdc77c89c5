"""How a program under measurement talks to the benchmark: one line a run, on its standard input and output.

The program does its work once before it says that it is ready, so that imports, tables and caches are paid for; then
once for every line that it is sent. What its libraries print goes to standard error. Only the standard library is
imported here, for peers run in environments of their own.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def read_texts(path: str) -> list[str]:
    """The texts of a JSON lines file with a field `text`, in memory."""
    return [json.loads(line)["text"] for line in Path(path).read_text(encoding="utf-8").splitlines()]


def serve(work: Callable[[], int], before: Callable[[], None] = lambda: None) -> None:
    """Answer every line with {"user": seconds of user CPU, "wall": seconds, "kept": what `work` returned}.

    `before` is called ahead of each run, outside of the clock: it empties caches that remember earlier runs.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print where they like
    before()
    kept = work()
    print(json.dumps({"kept": kept}), file=answers, flush=True)
    for _ in sys.stdin:
        before()
        gc.collect()
        print(json.dumps(timed(work)), file=answers, flush=True)


def timed(work: Callable[[], int]) -> dict[str, float]:
    """Seconds of user CPU and of the clock that the work takes, and what it returns."""
    user, wall = _user_seconds(), time.perf_counter()
    kept = work()
    return {"user": _user_seconds() - user, "wall": time.perf_counter() - wall, "kept": kept}


def _user_seconds() -> float:
    """Of this process and of its finished children."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(one).ru_utime for one in who)
