"""The watchdog of a rank: a thread that tells the others where this rank is, and notices who is behind or gone.

Every rank beats in the process group's store, over a connection of its own: how far its main thread is, and since when.
If a main thread has not moved for `timeout` seconds, or a rank has not beaten for as long, the lowest rank alive
writes one report, and all end with code 1, so that torchrun can start them again:

    m6: the training hangs: rank 1 has been in forward of step 12 for 600 s
      ranks 0, 2, 3 wait in all_gather_into_tensor (m6/train/loop.py:130)
      where rank 1 is:
        File ".../m6/train/pretrain.py", line 57, in batch_loss

Collectives have a somewhat longer timeout of their own, so that this report comes first. A rank that ends makes the
collectives of the others fail; the beats then tell which one it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

import torch.distributed as dist

from m6.run import EndedError

LONGEST_BEAT = 1.0  # seconds
SILENT_BEATS = 3.0
"""So many beats without a sign make a rank silent."""
STACK_FRAMES = 12
VERDICT, LOST = "verdict", "lost"


class Place:
    """Where the main thread of this rank is, as it notes itself."""

    def __init__(self) -> None:
        self.now: tuple[str, int | None, int, float] = ("start", None, 0, time.monotonic())

    def move(self, phase: str, step: int | None) -> None:
        """A new phase. One assignment, so that the other thread never sees half of it."""
        self.now = (phase, step, self.now[2] + 1, time.monotonic())


@dataclass(frozen=True)
class Beat:
    """What a rank tells of itself."""

    number: int
    phase: str
    step: int | None
    moves: int
    seconds: float
    """Since its last move."""
    collective: str = ""
    """What it waits in, once it has not moved for long; and its stack."""
    stack: str = ""
    left: int | None = None
    """The exit code of a rank that has ended in order."""

    def where(self) -> str:
        """Phase and step, in words."""
        return self.phase if self.step is None else f"{self.phase} of step {self.step}"


class Watchdog:
    """Beats from `start` to `leave`, which the main thread calls."""

    def __init__(self, rank: int, world: int, place: Place, timeout: float) -> None:
        self._rank = rank
        self._place = place
        self._timeout = timeout
        self._beat = min(LONGEST_BEAT, timeout / 20)
        self._keys = [f"beat/{rank}" for rank in range(world)]
        self._heard: list[tuple[Beat, float]] = []
        self._number = 0
        self._left: int | None = None
        self._store_gone = 0.0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watchdog")

    def start(self) -> None:
        """Connects, waits until all ranks have beaten once, and starts the thread."""
        wait = timedelta(seconds=self._timeout)
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        client = dist.TCPStore(address, port, timeout=wait)  # type: ignore[attr-defined]
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._store = dist.PrefixStore(f"watchdog/{again}", client)  # type: ignore[attr-defined]
        if self._rank == 0:
            self._store.set(VERDICT, "")
        self._tell()
        self._store.wait([*self._keys, VERDICT], wait)
        self._listen()
        self._thread.start()

    def leave(self, code: int) -> None:
        """Says that this rank has ended in order, with this exit code."""
        self._left = code
        self._ended.set()
        with contextlib.suppress(RuntimeError):  # the store went first
            self._tell()

    def lost(self) -> EndedError | None:
        """After a collective has failed: how to end, if that is because another rank is gone. Waits for some beats."""
        until = time.monotonic() + (SILENT_BEATS + 2) * self._beat
        while time.monotonic() < until:
            if self._store_gone:
                return EndedError(_lost_line([0]) if self._rank == 1 else "", 1)
            others = [(rank, beat) for rank, (beat, _) in enumerate(self._heard) if rank != self._rank]
            codes = [beat.left for _, beat in others if beat.left]
            if codes:  # it has said why
                return EndedError("", max(codes))
            if silent := self._silent():
                with contextlib.suppress(RuntimeError):
                    teller = int(self._store.compare_set(LOST, "", str(self._rank)))  # whoever comes first
                    return EndedError(_lost_line(silent) if teller == self._rank else "", 1)
            time.sleep(self._beat / 4)
        return None

    def _run(self) -> None:
        while not self._ended.wait(self._beat):
            try:
                self._tell()
                self._listen()
            except RuntimeError:  # the process that holds the store has ended; the main thread will notice, or hangs
                self._store_gone = self._store_gone or time.monotonic()
                if time.monotonic() - self._store_gone > 10 * LONGEST_BEAT and not self._ended.is_set():
                    _end(_lost_line([0]) if self._rank == 1 else "")
                continue
            if self._store.get(VERDICT) and not self._ended.is_set():
                _end("")
            alive = [rank for rank in range(len(self._keys)) if rank not in self._silent() and not self._has_left(rank)]
            if self._hangs() and alive and alive[0] == self._rank:
                report = describe([beat for beat, _ in self._heard], self._silent(), self._timeout)
                print(report, file=sys.stderr, flush=True)
                self._store.set(VERDICT, report)
                time.sleep(SILENT_BEATS * self._beat)  # the others read it
                _end("")

    def _tell(self) -> None:
        phase, step, moves, since = self._place.now
        seconds = time.monotonic() - since
        collective = stack = ""
        if seconds > self._timeout / 2:
            frames = main_stack()
            collective, stack = waiting_in(frames), "".join(traceback.format_list(frames[-STACK_FRAMES:]))
        with self._lock:
            self._number += 1
            beat = Beat(self._number, phase, step, moves, seconds, collective, stack, self._left)
            self._store.set(self._keys[self._rank], json.dumps(asdict(beat)))

    def _listen(self) -> None:
        now = time.monotonic()
        beats = [Beat(**json.loads(text)) for text in self._store.multi_get(self._keys)]
        before = self._heard or [(beat, now) for beat in beats]
        self._heard = [
            (beat, heard if beat.number == old.number else now)
            for beat, (old, heard) in zip(beats, before, strict=True)
        ]

    def _has_left(self, rank: int) -> bool:
        return self._heard[rank][0].left is not None

    def _silent(self) -> list[int]:
        """Ranks that have given no sign for some beats of this one, without having left."""
        now, heard = time.monotonic(), self._heard
        return [
            rank
            for rank, (beat, last) in enumerate(heard)
            if rank != self._rank and beat.left is None and now - last > SILENT_BEATS * self._beat
        ]

    def _hangs(self) -> bool:
        now = time.monotonic()
        return any(beat.left is None and max(beat.seconds, now - last) >= self._timeout for beat, last in self._heard)


def describe(beats: list[Beat], silent: list[int], timeout: float) -> str:
    """The report of a hang: who is behind, in what, and what the others wait in.

    Behind is who is silent; else who does not wait in a collective; else who has come least far.
    """
    there = [rank for rank, beat in enumerate(beats) if beat.left is None]
    fewest = min(beats[rank].moves for rank in there)
    behind = (
        silent
        or [rank for rank in there if beats[rank].stack and not beats[rank].collective]
        or [rank for rank in there if beats[rank].moves == fewest]
    )
    lines = []
    for rank in behind:
        where = beats[rank].where()
        if rank in silent:
            lines.append(f"rank {rank} gives no sign of life: it is frozen or gone; it was last seen in {where}")
        else:
            lines.append(f"rank {rank} has been in {where} for {beats[rank].seconds:.0f} s")
    waiting: dict[str, list[int]] = {}
    for rank in there:
        if rank not in behind:
            waiting.setdefault(beats[rank].collective or beats[rank].where(), []).append(rank)
    report = [f"m6: the training hangs: {'; '.join(lines)}"]
    report += [
        f"  {_names(ranks)} {'waits' if len(ranks) == 1 else 'wait'} in {name}" for name, ranks in waiting.items()
    ]
    for rank in behind:
        if rank not in silent:
            stack = beats[rank].stack.rstrip().replace("\n", "\n  ")
            report.append(f"  where rank {rank} is:\n  {stack}")
    report.append(f"  nothing has moved for {timeout:.0f} s (pretrain.parallel.timeout), so all ranks end")
    return "\n".join(report)


def main_stack() -> list[traceback.FrameSummary]:
    """The Python stack of the main thread, outermost first."""
    main: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    return list(traceback.extract_stack(main)) if main else []


def waiting_in(frames: list[traceback.FrameSummary]) -> str:
    """The function of torch.distributed that a stack is in, and our line that it was called from; or nothing."""
    inside = [at for at, frame in enumerate(frames) if "/torch/distributed/" in frame.filename.replace(os.sep, "/")]
    inside = [at for at in inside if not frames[at].filename.endswith("c10d_logger.py")]
    if not inside:
        return ""
    public = [at for at in inside if frames[at].filename.endswith("distributed_c10d.py")]
    name = frames[public[0] if public else inside[-1]].name
    ours = [frame for frame in frames[: inside[0]] if "/m6/" in frame.filename.replace(os.sep, "/")] or frames[:1]
    file = ours[-1].filename.replace(os.sep, "/")
    return f"{name} ({file[file.rfind('/m6/') + 1 :]}:{ours[-1].lineno})"


def _names(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def _lost_line(ranks: list[int]) -> str:
    were = "was" if len(ranks) == 1 else "were"
    return f"{_names(ranks)} {were} lost, killed or cut off; the same command goes on from the last checkpoint"


def _end(line: str) -> Any:
    """Ends the process at once: its main thread may never come back."""
    if line:
        print(f"m6: {line}", file=sys.stderr)
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(1)
