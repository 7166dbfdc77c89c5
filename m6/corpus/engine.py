"""The engine of the corpus: work is cut into numbered pieces that any number of workers do in any order.

Workers are processes of Daft on this machine, or tasks on a Ray cluster. On a cluster all machines need this project
installed, and the folders it reads and writes. Daft reports its import to a server and draws its own progress bars
unless its environment says otherwise at import, so nothing else of this project imports it.

On Ray the pieces are plain tasks rather than a Daft frame: when a worker is killed, Daft 0.7.26 waits for ever or loses
rows, while a lost task is known and can be done again.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from m6.config import UserError
from m6.corpus.config import EngineConfig

ATTEMPTS = 3  # at a piece whose worker is lost, on a cluster
_MISTAKE = "mistake: "  # marks the message of a UserError on its way back from a worker
_QUIET = {
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "SCARF_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray warns of a change to come
}


def each(function: Callable[[int], None], numbers: list[int], engine: EngineConfig | None = None) -> Iterator[int]:
    """Calls `function` with each number, in worker processes; yields a number when it is done, in no particular order.

    UserError of a worker is raised here as it was, any other error as RuntimeError with its trace; UserError, too, if a
    worker is killed (on a cluster, if that happens to one piece several times), or there is no cluster.
    """
    engine = engine or EngineConfig()
    if not numbers:
        return
    for number, error in (_on_ray if engine.runner == "ray" else _here)(function, numbers, engine):
        if error.startswith(_MISTAKE):
            raise UserError(error.removeprefix(_MISTAKE))
        if error:
            raise RuntimeError(error)
        yield number


def daft() -> Any:
    """The module `daft`, set up."""
    os.environ.update(_QUIET)
    import daft as module

    return module


def _error_of(function: Callable[[int], None], number: int) -> str:
    """Call the function; its error as text, since Daft and Ray would wrap it in exceptions of their own."""
    try:
        function(number)
    except UserError as error:
        return _MISTAKE + str(error)
    except Exception:
        return traceback.format_exc()
    return ""


def _here(function: Callable[[int], None], numbers: list[int], engine: EngineConfig) -> Iterator[tuple[int, str]]:
    """Numbers and errors, from processes of this machine."""
    module = daft()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @module.cls(use_process=True, max_concurrency=min(len(numbers), engine.workers or cores))
    class Worker:
        # Returns text: a Daft method that returns Python objects is not run in a process of its own.
        @module.method(return_dtype=module.DataType.string())
        def call(self, number: int) -> str:
            return _error_of(function, number)

    frame = module.from_pydict({"number": numbers}).into_batches(1)
    rows = frame.select("number", Worker().call(module.col("number")).alias("error")).iter_rows()
    while True:
        try:
            row = next(rows, None)
        except Exception as error:  # not one of the function, which comes as text
            raise _killed(error) from error
        if row is None:
            return
        yield row["number"], row["error"]


def _on_ray(function: Callable[[int], None], numbers: list[int], engine: EngineConfig) -> Iterator[tuple[int, str]]:
    """Numbers and errors, from the workers of a cluster."""
    ray = _connected(engine.address)
    task = ray.remote(max_retries=0)(_error_of)
    shared = ray.put(function)
    waiting = list(reversed(numbers))
    running: dict[Any, int] = {}
    attempts: Counter[int] = Counter()
    try:
        while waiting or running:
            most = engine.workers or int(ray.cluster_resources().get("CPU", 1))  # a cluster may grow
            while waiting and len(running) < most:
                number = waiting.pop()
                attempts[number] += 1
                running[task.remote(shared, number)] = number
            done = ray.wait(list(running))[0][0]
            number = running.pop(done)
            try:
                error = ray.get(done)
            except ray.exceptions.RayError as lost:
                if attempts[number] == ATTEMPTS:
                    raise _killed(lost) from lost
                waiting.append(number)
            else:
                yield number, error
    finally:
        for left in running:
            ray.cancel(left, force=True)


def _killed(error: Exception) -> UserError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return UserError(
        f"corpus.engine: a worker was killed ({reason[:200]}), often for want of memory; set corpus.engine.workers to"
        " fewer and start again: what is done is kept"
    )


def _connected(address: str) -> Any:
    """The module `ray`, connected to the cluster, or to one started on this machine."""
    os.environ.update(_QUIET)
    try:
        import ray
    except ImportError:
        raise UserError("corpus.engine.runner: 'ray' needs a package: pip install \"open-m6[ray]\"") from None
    if not ray.is_initialized():
        new: dict[str, Any] = {} if address else {"include_dashboard": False}
        try:
            ray.init(address=address or None, logging_level=logging.ERROR, log_to_driver=False, **new)
        except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise UserError(f"corpus.engine.address: no Ray cluster at {address!r}: {reason[:200]}") from error
    return ray
