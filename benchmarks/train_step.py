"""The benchmark of the training step: ours beside others, packed beside padded, experts beside dense.

    python -m benchmarks.train_step [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--precision bfloat16]

All programs train on the same samples of the mixed corpus with the same labels, at the same size, with as many threads
as there are cores: in float32, or both under autocast to bfloat16, which is what our training takes on a processor with
units for it. Figures are real tokens, without padding, by seconds of the clock; a ratio is taken within a pair of runs.
`memory_vs_hf` is a cost: the peak of a step over what was resident before the model was made, ours by that of
transformers with packed rows. `--smoke` is one run on a few samples, whose figures mean nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.mixed import write_batches
from benchmarks.rows import Row, row
from benchmarks.runners import ROOT, Run, Runner, named, or_left_out, paired, peer_python, say, started
from m6.data.config import DataConfig

CONTEXT = DataConfig().row_length
"""Tokens of a row, padded or packed: those of recipes by default. Longer rows favour packing."""
PRECISIONS = ("float32", "bfloat16")
NUM_BATCHES = 2  # steps of one run
PEERS = {"hf": ("transformers", "transformers_step.py"), "xt": ("x-transformers", "x_transformers_step.py")}
"""Environment and program, by how contestants are called."""
CONTESTANTS = {
    "ours": ("packed", "dense"),
    "ours_padded": ("padded", "dense"),
    "ours_experts": ("packed", "experts"),
    "hf": ("packed", "dense"),
    "hf_padded": ("padded", "dense"),
    "hf_experts": ("packed", "experts"),
    "xt": ("packed", "dense"),
}
"""Layout of the rows and kind of the model."""
KEYS = {
    "mixed_vs_hf_padded": ("ours", "hf_padded"),
    "mixed_vs_hf_packed": ("ours", "hf"),
    "mixed_vs_x_transformers": ("ours", "xt"),
    "packed_vs_padded": ("ours", "ours_padded"),
    "moe_vs_dense": ("ours_experts", "ours"),
    "moe_vs_hf_eager": ("ours_experts", "hf_experts"),
    "memory_vs_hf": ("ours", "hf"),
}
"""Who is measured beside whom."""
PRECISION: Flags = {
    "--precision": {"choices": PRECISIONS, "default": PRECISIONS[0], "help": "of matrix products, on both sides"}
}


def run(only: Sequence[str] = (), *, runs: int = 5, smoke: bool = False, precision: str = PRECISIONS[0]) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key."""
    keys = chosen(only, KEYS)
    taking_part = {who for key in keys for who in KEYS[key]}
    pythons = {who: peer_python(name) for who, (name, _) in PEERS.items() if who in map(_kind, taking_part)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vocabulary = write_batches(folder, CONTEXT, 1 if smoke else NUM_BATCHES, smoke).size
        given = [str(vocabulary), precision]
        commands = {who: _command(who, folder, given, pythons) for who in CONTESTANTS}
        speed = [key for key in keys if key != "memory_vs_hf"]
        rows = _speed(speed, commands, 1 if smoke else runs) if speed else []
        rows += _memory(commands, 1 if smoke else runs) if "memory_vs_hf" in keys else []
    return [
        Row(**{**one, "command": f"{one['command']} --precision {precision}", "note": f"{precision}, {one['note']}"})
        for one in rows
    ]


def _kind(who: str) -> str:
    """Whose contestant it is: ours, hf, xt."""
    return who.split("_")[0]


def _command(who: str, folder: Path, given: list[str], pythons: Mapping[str, Path | None]) -> list[str]:
    """How a contestant is started; empty for one whose environment is missing."""
    layout, kind = CONTESTANTS[who]
    given = [str(folder / f"{layout}.pt"), *given, kind]
    if _kind(who) == "ours":
        return [sys.executable, "-m", "benchmarks.step", *given]
    python = pythons.get(_kind(who))
    return [str(python), str(ROOT / "benchmarks" / "peers" / PEERS[_kind(who)][1]), *given] if python else []


def _threads() -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)}


def _speed(keys: Sequence[str], commands: dict[str, list[str]], runs: int) -> list[Row]:
    taking_part = [who for who in CONTESTANTS if commands[who] and any(who in KEYS[key] for key in keys)]
    say(f"measuring {', '.join(keys)}: {', '.join(taking_part)}")
    with contextlib.ExitStack() as stack:
        found = paired(started(stack, {who: commands[who] for who in taking_part}, _threads()), runs)
    rates = {who: [_rate(one) for one in runs_of] for who, runs_of in found.items()}
    rows = []
    for key in keys:
        own, other = KEYS[key]
        tokens = found[own][0].kept
        rows.append(
            _row(
                key,
                rates[own],
                "tokens/s",
                rates.get(other, ()),
                note=f"{tokens:,} tokens a run, context {CONTEXT}, by the clock",
            )
        )
    return rows


def _memory(commands: dict[str, list[str]], runs: int) -> list[Row]:
    """The peak of a step; each run is a process of its own."""
    peaks: dict[str, list[float]] = {"ours": [], "hf": []}
    for who, found in peaks.items():
        for _ in range(runs if commands[who] else 0):
            with (
                or_left_out(who, commands[who]),
                Runner([*commands[who], "--memory"], _threads()) as runner,
            ):
                found.append(runner.run().kept / 2**10)
    ratios = [own / other for own, other in zip(peaks["ours"], peaks["hf"], strict=False)]
    return [_row("memory_vs_hf", peaks["ours"], "MiB", peaks["hf"], ratios, "a cost: less is better")]


def _row(
    key: str, ours: Sequence[float], unit: str, peer: Sequence[float], ratios: Sequence[float] = (), note: str = ""
) -> Row:
    other = KEYS[key][1]
    own = f"open-m6, {' '.join(CONTESTANTS[other])}"
    name = own if _kind(other) == "ours" else named(PEERS[_kind(other)][0])
    said = note if peer else f"{note}; not available"
    return row(key, ours, unit, peer=peer, peer_name=name, ratios=ratios, note=said, module="train_step")


def _rate(run: Run) -> float:
    return run.kept / run.wall


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command(
        "train_step",
        __doc__,
        lambda given: run(given.only, runs=given.runs, smoke=given.smoke, precision=given.precision),
        {**ONLY, **RUNS, **PRECISION},
        words,
    )


if __name__ == "__main__":
    sys.exit(main())
