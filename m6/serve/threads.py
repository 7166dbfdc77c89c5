"""Work that takes long and is no step of the scheduler: pictures are read, texts are scored. Each kind has threads of
its own, so that one never waits behind another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from m6.serve.jobs import TimedOutError
from m6.serve.metrics import Metrics
from m6.serve.scheduler import BusyError

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Threads:
    """`count` threads for one kind of work, before which `most` callers may wait."""

    def __init__(self, name: str, count: int, most: int, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._name, self._count, self._most, self._metrics = name, count, most, metrics
        self._asked = 0

    @property
    def waiting(self) -> int:
        """Callers whose work has not begun."""
        return max(0, self._asked - self._count)

    def check(self) -> None:
        """BusyError if no more may wait."""
        if self._asked >= self._count + self._most:
            self._metrics.counts.refused += 1
            raise BusyError

    async def run(self, ends: float, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
        """What the work makes of what is given. TimedOutError if it is not done at `ends`, a time of `time.monotonic`:
        then it is not begun any more."""
        self._asked += 1
        asked = time.monotonic()
        begun = self._pool.submit(work, *given, **named)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(begun), ends - time.monotonic())
        except TimeoutError:
            raise TimedOutError from None
        finally:
            self._asked -= 1
            self._metrics.whole.labels(self._name).observe(time.monotonic() - asked)

    def close(self) -> None:
        """Begins nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
