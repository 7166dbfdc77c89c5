"""The wish to stop: SIGTERM, by which a cluster says that it will soon take the machine.

A training finishes its step, saves and ends well. The signal is read by a thread of its own (through Python's wake-up
descriptor), since the main thread may be waiting where Python cannot interrupt it; so a second signal ends the process
at once, wherever it is. What comes within some seconds counts as one: torchrun and Slurm both pass the signal on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType
from typing import Any, Self

SAME_SECONDS = 3.0


class StopWish:
    """Notes SIGTERM from entering to leaving, which have to be in the main thread; elsewhere it does nothing."""

    def __init__(self) -> None:
        self.asked = False
        self._ends: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._ends = os.pipe()
            for end in self._ends:
                os.set_blocking(end, end == self._ends[0])
            self._handler: Any = signal.signal(signal.SIGTERM, lambda *_: None)  # Python tells the descriptor
            self._descriptor = signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
            threading.Thread(target=self._listen, args=(self._ends[0],), daemon=True, name="stop wish").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ends is not None:
            signal.set_wakeup_fd(self._descriptor)
            signal.signal(signal.SIGTERM, self._handler)
            os.close(self._ends[1])  # ends the thread

    def _listen(self, end: int) -> None:
        first = 0.0
        while said := os.read(end, 1):
            if said[0] != signal.SIGTERM:
                continue
            now = time.monotonic()
            if self.asked and now - first >= SAME_SECONDS:
                os._exit(128 + signal.SIGTERM)
            if not self.asked:
                self.asked, first = True, now
        os.close(end)
