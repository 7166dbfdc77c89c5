"""The benchmark of scale: what sharding costs on one machine, and whether plans and dry runs tell the truth.

    python -m benchmarks.scale [--smoke] [--json FILE] [--only KEY ...] [--runs N]

`wrapped_overhead`: seconds of a step of one process whose model is sharded over itself alone, by those of a plain one;
gathered weights stay until the backward, as a plan recommends where they fit.
`weak_scaling_2`: tokens a second of two processes, each with as much work as one has alone, by twice those of one; all
with one thread each, so that two have two cores. `async_save_blocked`: seconds that training stands still for a
checkpoint by those of a step, for the worse of one process and two. `dry_run_100b_seconds`, `dry_run_100b_gib`: what
the dry run of 100b on 128 ranks takes here; `dry_run_volume_error`: how far its traffic is from the formula
(docs/en/plan.md), the largest over 10b on 8 and on 64 ranks and 100b on 128. `plan_memory_error`: how far the planned
memory is from what real trainings on two processes hold at their peak, the largest over several. All but
`weak_scaling_2` are costs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import ONLY, RUNS, chosen, command
from benchmarks.mixed import write_batches
from benchmarks.rows import Row, row
from benchmarks.runners import ROOT, Run, Runner, paired, say
from m6.model.config import ModelConfig
from m6.model.sizes import SIZES
from m6.parallel.config import ParallelConfig
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import memory
from m6.parallel.plan.traffic import by_group
from m6.run import ends_with_parent

CONTEXT = 384
NUM_BATCHES = 2
PROCESSES = 4
"""Times that processes are started anew for speed: one is a little faster than another for as long as it lives."""
SAVE_STEPS = 16
DRY_RUNS = {
    "10b on 8": ("10b", 8, {}),
    "10b on 64": ("10b", 64, {}),
    "100b on 128": ("100b", 128, {"experts": 128}),
}
DENSE = ModelConfig(num_layers=4, hidden_size=256, num_heads=4, ffn_size=1024)
MEASURED: dict[str, tuple[ModelConfig, dict[str, Any], str, int]] = {
    "dense": (DENSE, {}, "none", 8),
    "dense, selective": (DENSE, {}, "selective", 8),
    "dense, full, copies": (DENSE, {"replicate": 2}, "full", 8),
    "experts": (DENSE.override({"experts": {"num_experts": 8, "every": 2}}), {"experts": 2}, "none", 4),
}
VOCABULARY, LENGTH = 2_000, 512


def speed(keys: Sequence[str], runs: int, smoke: bool) -> list[Row]:
    """Sharded beside plain, and two beside one."""
    worlds = {"plain": "0", "wrapped": "1"} | ({"two": "2"} if "weak_scaling_2" in keys else {})
    rates: dict[str, list[float]] = {who: [] for who in worlds}
    with tempfile.TemporaryDirectory() as name:
        vocabulary = str(write_batches(Path(name), CONTEXT, 1 if smoke else NUM_BATCHES, smoke).size)
        words = [sys.executable, "-m", "benchmarks.scale_step", str(Path(name) / "packed.pt"), vocabulary]
        for _ in range(1 if smoke else PROCESSES):
            with contextlib.ExitStack() as stack:
                runners = {who: stack.enter_context(Runner([*words, world])) for who, world in worlds.items()}
                for who, found in paired(runners, runs).items():
                    rates[who] += map(_rate, found)
    rows = []
    note = f"tiny, context {CONTEXT}, float32, one thread a process"
    if "wrapped_overhead" in keys:
        ratios = [plain / wrapped for plain, wrapped in zip(rates["plain"], rates["wrapped"], strict=True)]
        rows.append(_row("wrapped_overhead", rates["wrapped"], "tokens/s", rates["plain"], ratios, f"{note}; a cost"))
    if "weak_scaling_2" in keys:
        ratios = [two / one / 2 for two, one in zip(rates["two"], rates["wrapped"], strict=True)]
        rows.append(_row("weak_scaling_2", rates["two"], "tokens/s", rates["wrapped"], ratios, f"{note}; over gloo"))
    return rows


def saving(runs: int, smoke: bool) -> list[Row]:
    """How long a checkpoint stops the training."""
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        vocabulary = str(write_batches(Path(name), CONTEXT, 1 if smoke else NUM_BATCHES, smoke).size)
        words = ["benchmarks.scale_save", str(Path(name) / "packed.pt"), vocabulary, str(8 if smoke else SAVE_STEPS)]
        for _ in range(runs):
            worlds = [_program([*words, world]) for world in ("0", "2")]
            shares.append(max(stood / step for step, stood in worlds))
    note = f"tiny, rows of {CONTEXT} tokens, float32; weights and states of optimizers; the worse of 1 and 2 ranks"
    return [_row("async_save_blocked", shares, "of a step", note=f"{note}; a cost")]


def dry(keys: Sequence[str], smoke: bool) -> list[Row]:
    """Dry runs, each in a process of its own, beside the formula."""
    found = {}
    for name, (size, world, parallel) in DRY_RUNS.items():
        if name == "100b on 128" or ("dry_run_volume_error" in keys and not smoke):
            say(f"dry run of {name}")
            found[name] = _program(["benchmarks.scale_dry", size, str(world), json.dumps(parallel), str(int(smoke))])
    rows = []
    for key, value, unit in (("dry_run_100b_seconds", "seconds", "s"), ("dry_run_100b_gib", "host_gib", "GiB")):
        if key in keys:
            rows.append(_row(key, [found["100b on 128"][value]], unit, note="128 ranks, one simulated; a cost"))
    if "dry_run_volume_error" in keys:
        errors = {name: _volume_error(name, each, smoke) for name, each in found.items()}
        note = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
        rows.append(_row("dry_run_volume_error", [max(errors.values())], "of all bytes", note=f"{note}; a cost"))
    return rows


def _volume_error(name: str, found: dict[str, Any], smoke: bool) -> float:
    size, world, parallel = DRY_RUNS[name]
    model = SIZES[size].model.override({"num_layers": 2}) if smoke else SIZES[size].model
    job = Job(model, SIZES[size].vocab_size, world, ParallelConfig.model_validate(parallel))
    planned = {key: flow.bytes for key, flow in by_group(job).items()}
    counted = {(kind, axis): bytes_ for kind, axis, bytes_ in found["traffic"]}
    apart = sum(abs(planned.get(key, 0) - counted.get(key, 0)) for key in planned | counted)
    return apart / sum(counted.values())


def planned_memory(smoke: bool) -> list[Row]:
    """Real trainings on two processes, their tensors counted, beside the plan."""
    errors = {}
    for name, (model, parallel, how, rows_each) in MEASURED.items():
        if smoke and name != "dense":
            continue
        words = ["benchmarks.scale_memory", model.model_dump_json(), json.dumps(parallel), how, str(rows_each)]
        peak = _program([*words, str(VOCABULARY), str(LENGTH)])
        config = ParallelConfig.model_validate(parallel)
        job = Job(model, VOCABULARY, 2, config, rows_each, LENGTH, how)  # type: ignore[arg-type]
        errors[name] = abs(memory(job).tensors / peak - 1)
    note = ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
    return [_row("plan_memory_error", [max(errors.values())], "of the peak", note=f"tensors; {note}; a cost")]


PARTS: dict[str, tuple[str, ...]] = {
    "speed": ("wrapped_overhead", "weak_scaling_2"),
    "saving": ("async_save_blocked",),
    "dry": ("dry_run_100b_seconds", "dry_run_100b_gib", "dry_run_volume_error"),
    "memory": ("plan_memory_error",),
}


def run(only: Sequence[str] = (), *, runs: int = 5, smoke: bool = False) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key."""
    keys = chosen(only, [key for part in PARTS.values() for key in part])
    runs = 1 if smoke else runs
    parts: dict[str, Callable[[], list[Row]]] = {
        "speed": lambda: speed(keys, runs, smoke),
        "saving": lambda: saving(runs, smoke),
        "dry": lambda: dry(keys, smoke),
        "memory": lambda: planned_memory(smoke),
    }
    return [one for part, of_part in PARTS.items() if set(of_part) & set(keys) for one in parts[part]()]


def _program(words: list[str]) -> Any:
    """What a module of the benchmarks prints, as JSON, in its last line."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, preexec_fn=ends_with_parent()
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _row(
    key: str, ours: Sequence[float], unit: str, peer: Sequence[float] = (), ratios: Sequence[float] = (), note: str = ""
) -> Row:
    name = "open-m6, one process" if peer else None
    ratios = ratios or list(ours)
    return row(key, ours, unit, peer=peer, peer_name=name, ratios=ratios, note=note, module="scale")


def _rate(one: Run) -> float:
    return one.kept / one.wall


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""

    def measure(given: argparse.Namespace) -> list[Row]:
        return run(given.only, runs=given.runs, smoke=given.smoke)

    return command("scale", __doc__, measure, {**ONLY, **RUNS}, words)


if __name__ == "__main__":
    sys.exit(main())
