"""One request of one caller: its jobs, and what they make, from the scheduler's thread to the server's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from fastapi import Request

from m6.serve.door import GoneError
from m6.serve.jobs import Event, Job


class Task:
    """Jobs by number."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._jobs: dict[int, Job] = {}

    def tell(self, index: int) -> Callable[[Event], None]:
        """What job `index` tells its events to."""

        def told(event: Event) -> None:
            with suppress(RuntimeError):  # the server has gone
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return told

    @contextmanager
    def beginning(self) -> Iterator[dict[int, Job]]:
        """Takes the jobs as they are begun; if one cannot begin, the others need not go on."""
        try:
            yield self._jobs
        except BaseException:
            self._leave()
            raise

    def end(self, index: int) -> None:
        """What this job has made is all that is wanted of it."""
        job = self._jobs.pop(index, None)
        if job is not None:
            job.enough = True
            job.cancelled.set()

    async def events(self, request: Request) -> AsyncIterator[tuple[int, Event]]:
        """All events until all jobs have ended. Raises what went wrong, GoneError if the caller has left; then all jobs
        are cancelled."""
        try:
            while self._jobs:
                try:
                    index, event = await asyncio.wait_for(self._events.get(), 0.5)
                except TimeoutError:
                    if await request.is_disconnected():
                        raise GoneError from None
                    continue
                if index not in self._jobs:
                    continue
                if event.kind == "failed":
                    raise event.value
                if event.kind == "done":
                    del self._jobs[index]
                yield index, event
        finally:
            self._leave()

    def _leave(self) -> None:
        for job in self._jobs.values():
            job.cancelled.set()
        self._jobs.clear()


def ended(text: str, stops: Sequence[str]) -> str | None:
    """A text up to the first of the stops; None if there is none in it."""
    found = [text.index(stop) for stop in stops if stop and stop in text]
    return text[: min(found)] if found else None


def settled(text: str, stops: Sequence[str]) -> str:
    """So much of an unfinished text as stays, whatever follows: what may become a stop is kept back."""
    kept = max((size for stop in stops for size in range(len(stop)) if text.endswith(stop[:size])), default=0)
    return text[: len(text) - kept]
