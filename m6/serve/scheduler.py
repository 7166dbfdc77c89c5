"""Continuous batching: jobs join and leave at every step of one model, in a thread of its own.

    submit -> queue of texts, queue of paintings -> free slots -> step, step, ... -> events

Some slots are for texts alone; the others are for both, and there a painting that waits goes first. Within a kind it
is first come, first served. One prefix is read between two steps, so that those who are being answered wait for one
reading at the most.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from m6.config import UserError
from m6.generate.engine import Engine
from m6.serve.jobs import Event, Job, TextJob, TimedOutError
from m6.serve.metrics import Metrics
from m6.serve.slots import ROWS, Slots


class BusyError(Exception):
    """The queue is full."""


class Scheduler:
    """Works on jobs until it is closed."""

    def __init__(
        self, engine: Engine, slots: Slots, text_slots: int, max_queue: int, metrics: Metrics | None = None
    ) -> None:
        self.engine, self.slots = engine, slots
        self.metrics = metrics or Metrics()
        self.counts = self.metrics.counts
        self._text_slots = min(text_slots, slots.count - 1)
        self._max_queue = max_queue
        self._texts: deque[Job] = deque()
        self._paintings: deque[Job] = deque()
        self._active: list[Job] = []
        self._painted_last = False
        self._free = list(range(slots.count))  # a heap: the first slots are taken first
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    @property
    def most_paintings(self) -> int:
        """Slots that one painting may have."""
        return self.slots.count - self._text_slots

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._texts) + len(self._paintings)

    @property
    def working(self) -> int:
        """Jobs that have begun."""
        return len(self._active)

    def submit(self, job: Job) -> None:
        """Queues it. BusyError if the queue of its kind is full or the scheduler closes; UserError for what can never
        fit."""
        if job.paints and len(job.prefixes) > self.most_paintings:
            raise UserError(
                f"a painting that needs {len(job.prefixes)} slots, this server takes {self.most_paintings} for one; "
                "ask for fewer pictures, or start it with more --slots"
            )
        queue = self._paintings if job.paints else self._texts
        with self._changed:
            if self._closing or len(queue) >= self._max_queue:
                self.counts.refused += 1
                raise BusyError
            self.counts.accepted += 1
            queue.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Takes nothing more, ends what has been taken, and returns when that is done."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        torch.set_flush_denormal(True)
        torch.set_num_threads(_threads())
        while True:
            with self._changed:
                while not (self._active or self.waiting or self._closing):
                    self._changed.wait()
                if self._closing and not (self._active or self.waiting):
                    return
            self._drop()
            self._join()
            if self._active:
                try:
                    self._step()
                except Exception as error:  # of the step itself, so of nobody alone; the next jobs may fare better
                    for job in list(self._active):
                        self._end(job, error)

    def _drop(self) -> None:
        """Takes out what nobody waits for any more."""
        with self._changed:
            for queue in (self._texts, self._paintings):
                gone = [job for job in queue if job.cancelled.is_set() or job.late]
                for job in gone:
                    queue.remove(job)
                    self._end(job)
        for job in [job for job in self._active if job.cancelled.is_set() or job.late]:
            self._end(job)

    def _join(self) -> None:
        """Begins the next job for which there are slots, if there is one."""
        with self._changed:
            queue = self._next()
            if not queue:
                return
            job = queue.popleft()
            self._painted_last = job.paints
        try:
            reads = [self.slots.read(prefix) for prefix in job.prefixes]
            longest = max(read.length for read in reads) + job.length
            if longest > self.slots.capacity:
                raise UserError(f"{longest} tokens with the answer, this server has room for {self.slots.capacity}")
            for read in reads:
                job.slots.append(heapq.heappop(self._free))
                self.slots.fill(job.slots[-1], read)
            job.begin([read.order for read in reads])
        except Exception as error:
            self._end(job, error)
        else:
            self._active.append(job)

    def _next(self) -> deque[Job] | None:
        """The queue whose first job begins now; None to wait for slots. A text that gets a slot of those for texts
        alone takes turns with paintings; else a painting goes first, and texts make room for it as they end. They do
        not wait for other paintings to end."""
        texts = sum(len(job.slots) for job in self._active if not job.paints)
        painted = sum(len(job.slots) for job in self._active if job.paints)
        own = bool(self._texts and self._free) and texts < self._text_slots
        needed = len(self._paintings[0].prefixes) if self._paintings else self.slots.count + 1
        if needed <= self.most_paintings - painted and not (own and self._painted_last):
            if needed <= len(self._free):
                return self._paintings
            if not own:
                return None
        return self._texts if self._texts and self._free else None

    def _close_up(self) -> None:
        """Moves jobs from the last slots to free ones before them, if fewer rows then have to be computed."""
        used = sum(len(job.slots) for job in self._active)
        least = -(-used // ROWS) * ROWS
        for job in self._active:
            for index, slot in enumerate(job.slots):
                if slot >= least:
                    job.slots[index] = heapq.heappushpop(self._free, slot)
                    self.slots.move(slot, job.slots[index])

    def _step(self) -> None:
        self._close_up()
        rows = [(0, 0, 0, 0)] * self.slots.rows
        for job in self._active:
            for slot, token in zip(job.slots, job.next(), strict=True):
                rows[slot] = token
        given = torch.tensor(rows)
        with torch.inference_mode():
            hidden = self.slots.step(given[:, 0], given[:, 1:])
            # Two products, each of one shape whatever shares the step; what nobody needs is not computed.
            texts = codes = hidden
            if any(not job.paints for job in self._active):
                texts = self.engine.text_logits(hidden)
            if any(job.paints for job in self._active):
                codes = self.engine.code_logits(hidden).cpu()
            likeliest = texts.argmax(-1).tolist()
            self.counts.steps += 1
            self.counts.tokens += sum(len(job.slots) for job in self._active)
            for job in list(self._active):
                self._give(job, codes if job.paints else texts, likeliest)

    def _give(self, job: Job, logits: Tensor, likeliest: Sequence[int]) -> None:
        try:
            if isinstance(job, TextJob) and job.likeliest:
                job.put(likeliest[job.slots[0]])
            else:
                job.take(logits[job.slots])
        except Exception as error:  # whatever is wrong with one must not end the others
            self._end(job, error)
        else:
            if not job.begun:
                job.begun = True
                self.metrics.first.labels(job.kind).observe(time.monotonic() - job.since)
            if job.done:
                self._end(job)

    def _end(self, job: Job, error: Exception | None = None) -> None:
        """Frees its slots, and says why if it is not done."""
        for slot in job.slots:
            self.slots.free(slot)
            heapq.heappush(self._free, slot)
        job.slots = []
        self.metrics.whole.labels(job.kind).observe(time.monotonic() - job.since)
        if (job.done or job.enough) and error is None:
            self.counts.finished += 1
        elif job.cancelled.is_set():
            self.counts.cancelled += 1
        else:
            self.counts.failed += 1
            job.tell(Event("failed", error or TimedOutError()))
        if job in self._active:  # last: who finds nobody at work finds all counted
            self._active.remove(job)


def _threads() -> int:
    """For the products of a step: one core is left to the interface, on whose answers the next requests wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), cores - 1))
