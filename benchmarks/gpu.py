"""The benchmark of the training step on one GPU: which share of its arithmetic a pretraining uses, and its memory.

    python -m benchmarks.gpu [--smoke] [--json FILE] [--only KEY ...]

Every configuration is trained in a process of its own (`gpu_step.py`) by the loop of any run; one that fails or runs
out of memory twice, the second time at half the tokens, gives a row that says so. The whole takes under nine minutes:
what there is no time left for says so too. MFU counts what the model asks for, attention by the pairs that the mask
allows (causal halved), over the data sheet's peak of dense bfloat16; what the measured peak and whole squares give
stands in the note. `--smoke` trains the smallest sizes on the CPU: it shows that all works, and its figures mean
nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from benchmarks.command import ONLY, chosen, command
from benchmarks.gpu_step import SETTINGS, TEXT_CONTEXT, small
from benchmarks.mixed import write_corpus
from benchmarks.rows import Row, hardware, row
from benchmarks.runners import ROOT, say
from m6.config import UserError
from m6.run import ends_with_parent

SECONDS = 520.0  # for everything
SECONDS_EACH = 150.0
FEWEST_SECONDS = 25.0  # in which no configuration starts and compiles
LARGE = 120_000  # MiB of a GPU that takes the tokens of SETTINGS; others start with half of them


class Key(NamedTuple):
    """What a row tells."""

    settings: tuple[str, ...]  # the second one is what the first is measured beside
    figure: str  # of a row of metrics
    unit: str
    bar: str


KEYS = {
    "text_mfu_1b": Key(("text_1b",), "mfu_datasheet", "MFU", "bar 0.50"),
    "mixed_mfu": Key(("mixed",), "mfu_datasheet", "MFU", "bar 0.45"),
    "moe_mfu_wide": Key(("moe_wide",), "mfu_datasheet", "MFU", "bar 0.40"),
    "moe_mfu_narrow": Key(("moe_narrow",), "mfu_datasheet", "MFU", "bar 0.25"),
    "step_10b_gib": Key(("step_10b",), "peak_memory_gib", "GiB", "a cost, bar 139"),
    "text_mfu_3b": Key(("text_3b",), "mfu_datasheet", "MFU", "bar 0.50"),
    "compile_speedup": Key(("text_1b", "text_1b_eager"), "tokens_per_second", "tokens/s", "the same model"),
    "float8_speedup": Key(("text_1b_float8", "text_1b"), "tokens_per_second", "tokens/s", "the same model"),
    "loader_stall_share": Key(("mixed",), "stall_share", "share", "a cost"),
    "recompilations": Key(("mixed",), "recompilations", "times", "a cost, bar 0 after the warm-up"),
}
"""In the order in which they are measured: what matters most comes first."""
Answer = dict[str, Any]
"""What `gpu_step.measure` returns; or "failed", why there is nothing."""


def run(only: Sequence[str] = (), *, smoke: bool = False) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key, and without a GPU."""
    keys = chosen(only, KEYS)
    if not (smoke or torch.cuda.is_available()):
        raise UserError("benchmarks: this PyTorch finds no CUDA device; --smoke shows on a CPU that all works")
    name, memory = ("", 0) if smoke else _gpu()
    needed = list(dict.fromkeys(setting for key in keys for setting in KEYS[key].settings))
    answers: dict[str, Answer] = {}
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), smoke, long_texts=TEXT_CONTEXT)
        for setting in needed:
            say(f"measuring {setting}")
            answers[setting] = _measured(setting, Path(folder), deadline, memory, smoke)
    on = ", ".join([*([name] if name else []), f"torch {torch.__version__}", hardware()])
    return [_row(key, [answers[setting] for setting in KEYS[key].settings], on) for key in keys]


def _gpu() -> tuple[str, int]:
    """Name and driver of the first GPU, and its memory in MiB. Not by PyTorch, which would take some of it."""
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, preexec_fn=ends_with_parent())
        name, driver, memory = done.stdout.splitlines()[0].split(", ")
        return f"{name}, driver {driver}", int(memory)
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return "a GPU of which nvidia-smi tells nothing", 0


def _measured(name: str, folder: Path, deadline: float, memory: int, smoke: bool) -> Answer:
    """What a setting gives; once more with half the tokens where memory ends."""
    if SETTINGS[name].float8 and importlib.util.find_spec("torchao") is None:
        return {"failed": "not available: torchao is not installed"}
    tokens = small(SETTINGS[name]).tokens if smoke else SETTINGS[name].tokens // (1 if memory > LARGE else 2)
    answer: Answer = {}
    for _ in range(2):
        left = min(SECONDS_EACH, deadline - time.monotonic())
        if left < FEWEST_SECONDS:
            return answer or {"failed": "no time was left"}
        answer = _answer(name, folder, tokens, left, smoke)
        if not answer.get("out_of_memory"):
            break
        answer["failed"] = f"{answer['failed']} (at {tokens:,} tokens a step)"
        tokens //= 2
    return answer


def _answer(name: str, folder: Path, tokens: int, seconds: float, smoke: bool) -> Answer:
    """What the process says at its end. All configurations share what has been compiled."""
    environment = {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled"),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",  # packs of many lengths leave gaps else
    }
    words = [sys.executable, "-m", "benchmarks.gpu_step", name, str(folder), str(tokens), *["--smoke"] * smoke]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            start_new_session=True,
            preexec_fn=ends_with_parent(),
        ) as process,
    ):
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            return {"failed": f"not done within {seconds:.0f} s"}
        if process.returncode == 0:
            answer: Answer = json.loads(said.splitlines()[-1])
            return answer
        errors.seek(0)
        last = errors.read().strip().splitlines()[-1:]
        return {"failed": f"ended with {process.returncode}: {' '.join(last)[:300]}"}


def _row(key: str, answers: list[Answer], on: str) -> Row:
    settings, figure, unit, bar = KEYS[key]
    failed = next((answer["failed"] for answer in answers if "failed" in answer), "")
    # By the measured peak, for a device of which no data sheet is known.
    figures = [[] if failed else [one.get(figure, one["mfu"]) for one in answer["rows"][1:]] for answer in answers]
    note = failed or "; beside ".join(map(_about, answers))
    peer, name = (figures[1], f"open-m6, {settings[1]}") if len(settings) > 1 else ([], None)
    own = figures[0][: len(peer) or None]  # windows of the two stand side by side
    return row(key, own, unit, peer=peer, peer_name=name, note=f"{bar}; {note}", module="gpu", on=on)


def _about(answer: Answer) -> str:
    """What was trained and how it went, in medians over the windows."""
    rows = answer["rows"][1:]

    def middle(name: str) -> float:
        return median(one.get(name, 0.0) for one in rows)

    seconds, tokens = middle("seconds") / answer["steps"], middle("tokens") / answer["steps"]
    shares = ", ".join(f"{name} {middle(name):.3f}" for name in ("mfu", "mfu_datasheet_square", "mfu_square"))
    return (
        f"{answer['parameters'] / 1e9:.2f} B weights, {tokens:,.0f} tokens a step in rows of {answer['context']}, "
        f"{answer['optimizer']}: {seconds:.3f} s, {middle('tokens_per_second'):,.0f} tokens/s, "
        f"{middle('tflops_per_second'):.1f} TFLOP/s, mfu_datasheet {middle('mfu_datasheet'):.3f}, {shares}, "
        f"padding {middle('padding_share'):.3f}, stall {middle('stall_share'):.3f}, "
        f"peak {rows[-1]['peak_memory_gib']:.1f} GiB, reserved {answer['reserved_gib']:.1f}"
    )


def _measure(given: argparse.Namespace) -> list[Row]:
    return run(given.only, smoke=given.smoke)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("gpu", __doc__, _measure, ONLY, words)


if __name__ == "__main__":
    sys.exit(main())
