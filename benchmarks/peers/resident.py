"""The most memory that a piece of work takes, on Linux. Only the standard library is imported here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def resident(field: str = "VmRSS") -> int:
    """Resident memory of this process in KiB, or with "VmHWM" the most since its peak was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def peak_of_work(work: Callable[[], int], before: int) -> int:
    """The peak in KiB while `work` runs, less what was resident `before`."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    work()
    return resident("VmHWM") - before
