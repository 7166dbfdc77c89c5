"""Daft, the engine of the corpus: imported in one place, quiet and without telemetry.

Daft reports its import to a server and draws its own progress bars unless its environment says otherwise at import, so
nothing else of this project imports it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from m6.config import UserError

_MISTAKE = "mistake: "  # marks the message of a UserError on its way back from a worker


def daft() -> Any:
    """The module `daft`, set up."""
    os.environ.update(DAFT_ANALYTICS_ENABLED="0", SCARF_NO_ANALYTICS="true", DO_NOT_TRACK="true", DAFT_PROGRESS_BAR="0")
    import daft as module

    return module


def each(function: Callable[[int], None], numbers: list[int]) -> Iterator[int]:
    """Calls `function` with each number, in worker processes, one a core; yields a number when it is done, in no
    particular order. UserError of a worker is raised here as it was, any other error as RuntimeError with its trace.
    """
    if not numbers:
        return
    module = daft()
    workers = min(
        len(numbers), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )

    @module.cls(use_process=True, max_concurrency=workers)
    class Worker:
        # Returns text: a Daft method that returns Python objects is not run in a process of its own. An error comes
        # back as text, since Daft would wrap it in an exception of its own.
        @module.method(return_dtype=module.DataType.string())
        def call(self, number: int) -> str:
            try:
                function(number)
            except UserError as error:
                return _MISTAKE + str(error)
            except Exception:
                return traceback.format_exc()
            return ""

    frame = module.from_pydict({"number": numbers}).into_batches(1)
    frame = frame.select("number", Worker().call(module.col("number")).alias("error"))
    for row in frame.iter_rows():
        if row["error"].startswith(_MISTAKE):
            raise UserError(row["error"].removeprefix(_MISTAKE))
        if row["error"]:
            raise RuntimeError(row["error"])
        yield row["number"]
