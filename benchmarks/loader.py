"""The benchmark of the loader: ours beside webdataset and Hugging Face datasets, on the same pictures and texts.

    python -m benchmarks.loader [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--side S]

`vs_webdataset` and `vs_hf_datasets` are samples a second by the clock, from files to batches in the process that
trains, by as many worker processes as there are cores: a picture and its text are read in a shuffled order, the picture
is decoded, the text encoded by the same tokenizer, 64 of them made a batch. Pictures have the training size already.
Ours are packed into rows with all that the mask needs, the peers' filled up. A run is an epoch, with the start of its
workers; the note has microseconds of user CPU for a sample, which other programs change least. `resume_seconds` is a
cost: from opening the data to the first batch from the middle of an epoch on, imports not counted; beside webdataset,
which has to read all that it leaves out, and in the note beside datasets. With another side than 64 a key ends in
it: `vs_webdataset_256`. `--smoke` is one run on a few samples, whose figures mean nothing.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.loader_data import SIDE, write_samples
from benchmarks.rows import Row, row
from benchmarks.runners import ROOT, Run, named, paired, peer_python, say, started

PEERS = {"vs_webdataset": "webdataset", "vs_hf_datasets": "hf-datasets"}
"""By key."""
RESUME = "resume_seconds"
BAR = 1.5
SAMPLES, FEW = 4_096, 512
SIDES: Flags = {
    "--side": {"type": int, "choices": (64, 128, 256), "default": SIDE, "help": f"of the pictures, pixels ({SIDE})"}
}


def run(only: Sequence[str] = (), *, runs: int = 5, smoke: bool = False, side: int = SIDE) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key."""
    keys = chosen(only, (*PEERS, RESUME))
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    samples, runs = (FEW, 1) if smoke else (SAMPLES, runs)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        write_samples(Path(name), samples, side)
        programs = {"ours": [sys.executable, "-m", "benchmarks.loader_step", name]}
        for peer in PEERS.values():
            if (RESUME in keys or peer in (PEERS[key] for key in keys)) and (python := peer_python(peer)):
                script = ROOT / "benchmarks" / "peers" / f"{peer.replace('-', '_')}_loader.py"
                programs[peer] = [str(python), str(script), name]
        given = [str(workers), str(samples)]
        if speed := [key for key in keys if key != RESUME]:
            say(f"measuring {', '.join(speed)}")
            found = _measured(programs, ["epoch", *given], runs)
            rows += [_speed(key, found, workers, side) for key in speed]
        if RESUME in keys:
            say(f"measuring {RESUME}")
            rows.append(_resume(_measured(programs, ["resume", *given], runs), samples))
    for one in rows if side != SIDE else ():
        one["key"] += f"_{side}"
        one["command"] += f" --side {side}"
    return rows


def _measured(programs: dict[str, list[str]], given: list[str], runs: int) -> dict[str, list[Run]]:
    with contextlib.ExitStack() as stack:
        return paired(started(stack, {who: [*words, *given] for who, words in programs.items()}), runs)


def _speed(key: str, found: dict[str, list[Run]], workers: int, side: int) -> Row:
    peer = PEERS[key]
    taking_part = {who: found[who] for who in ("ours", peer) if who in found}
    rates = {who: [one.kept / one.wall for one in some] for who, some in taking_part.items()}
    cpu = ", ".join(
        f"{who} {statistics.median(one.user / one.kept for one in some) * 1e6:.0f}" for who, some in taking_part.items()
    )
    note = f"bar {BAR}; {found['ours'][0].kept:,} pictures of {side} pixels, {workers} workers; us of user CPU: {cpu}"
    return _row(key, rates["ours"], "samples/s", rates.get(peer, ()), peer, note)


def _resume(found: dict[str, list[Run]], samples: int) -> Row:
    seconds = {who: [one.wall for one in some] for who, some in found.items()}
    first, second = PEERS.values()
    other = f"{statistics.median(seconds[second]):.3g} s" if second in seconds else "not available"
    ours, peer = seconds["ours"], seconds.get(first, [])
    ratios = [own / theirs for own, theirs in zip(ours, peer, strict=False)]
    return _row(RESUME, ours, "s", peer, first, f"a cost: after {samples // 2:,} samples; {second} {other}", ratios)


def _row(
    key: str,
    ours: Sequence[float],
    unit: str,
    peer: Sequence[float],
    name: str,
    note: str,
    ratios: Sequence[float] = (),
) -> Row:
    said = note if peer else f"{note}; {name} not available"
    return row(key, ours, unit, peer=peer, peer_name=named(name), ratios=ratios, note=said, module="loader")


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command(
        "loader",
        __doc__,
        lambda given: run(given.only, runs=given.runs, smoke=given.smoke, side=given.side),
        {**ONLY, **RUNS, **SIDES},
        words,
    )


if __name__ == "__main__":
    sys.exit(main())
