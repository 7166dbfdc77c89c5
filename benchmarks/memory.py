"""How memory grows with the data: the peak of a whole `m6 corpus files` build, at ten times the texts over one time.

In: two files of recombined sentences of real texts, 20 MB and 200 MB. The peak is that of the resident memory of all
processes of the build together, looked at twenty times a second; pages that processes share count for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import texts
from benchmarks.rows import Row, row
from m6.config import UserError
from m6.run import ends_with_parent

MEGABYTES = 20
PAUSE = 0.05  # seconds


def measure(runs: int = 5, smoke: bool = False) -> list[Row]:
    """The row. UserError where there is no /proc to look at."""
    if not Path("/proc/self/statm").exists():
        raise UserError("benchmarks: memory_at_10x needs /proc, which Linux has")
    size = 0.1 if smoke else MEGABYTES
    some = texts.plain(smoke)
    peaks: dict[int, list[float]] = {1: [], 10: []}
    with tempfile.TemporaryDirectory() as folder:
        for times in peaks:
            with open(Path(folder, f"{times}.jsonl"), "w", encoding="utf-8") as file:
                for text in texts.recombined(some, int(times * size * 1e6)):
                    file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        for run in range(runs):
            for times, found in peaks.items():
                paths = [str(Path(folder, f"{times}.jsonl")), "--out", str(Path(folder, f"{times}-{run}"))]
                found.append(peak_of([sys.executable, "-m", "m6.cli", "corpus", "files", "--paths", *paths]))
    ratios = [more / once for once, more in zip(peaks[1], peaks[10], strict=True)]
    note = ", ".join(f"{times * size:g} MB: {max(found) / 1e6:,.0f} MB at most" for times, found in peaks.items())
    return [row("memory_at_10x", ratios, "times", ratios=ratios, note=note)]


def peak_of(command: list[str]) -> float:
    """The most resident memory, in bytes, that a command and all that it starts hold together. UserError if it
    fails."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=errors, stderr=errors, preexec_fn=ends_with_parent()) as process,
    ):
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_resident, _tree(process.pid))))
            time.sleep(PAUSE)
        if process.returncode:
            errors.seek(0)
            last = errors.read().strip().splitlines()[-1:]
            raise UserError(f"benchmarks: {' '.join(command[:5])} failed: {' '.join(last)}")
    return peak


def _tree(root: int) -> list[int]:
    """A process and all that came out of it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
            children.setdefault(parent, []).append(int(name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _resident(process: int) -> int:
    try:
        return int(Path("/proc", str(process), "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
