"""The benchmark of starting: help, imports, the first picture; each a process of its own.

    python -m benchmarks.start [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--run RUN]

All are costs, in seconds of the clock from the start of a process to its end, with files in the cache of the system
and modules compiled; the note has the seconds of CPU, user and system, which other programs change least.
`help_seconds` is `m6 --help`, beside `transformers --help`; `show_seconds` is `m6 show tiny`; `import_seconds` is the
import of our model beside that of AutoModel, both with PyTorch, and the note tells what `import m6` alone takes;
`first_answer_seconds` is `m6 generate paint` with a run, from the command to the PNG: by default one of the
quickstart's size with weights drawn by chance. `--smoke` is one run, with a small model.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.rows import Row, row
from benchmarks.runners import NO_NETWORK, ROOT, named, or_left_out, peer_python, say
from benchmarks.serve_run import write_run
from m6.config import UserError
from m6.run import ends_with_parent

PEER = "transformers"
M6 = [sys.executable, "-m", "m6.cli"]
IMPORTS = {
    "ours": "import m6; from m6.model.transformer import Transformer",
    "m6 alone": "import m6",
    "peer": "import transformers; from transformers import AutoModel",
}
HELP = "import sys; from transformers.cli.transformers import main; sys.argv = ['transformers', '--help']; main()"
"""What the command of the peer does."""
KEYS = ("help_seconds", "show_seconds", "import_seconds", "first_answer_seconds")
FLAGS: Flags = {"--run": {"type": Path, "metavar": "RUN", "help": "a trained run (one that is made for it)"}}


class Took(NamedTuple):
    """Of one process."""

    wall: float  # seconds
    cpu: float  # seconds, user and system, with its children's


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key and a command that fails."""
    keys, runs = chosen(given.only, KEYS), 1 if given.smoke else given.runs
    if given.run and not (given.run / "config.json").is_file():
        raise UserError(f"benchmarks: --run {given.run} is no run folder; make one with: m6 quickstart")
    beside = {"help_seconds", "import_seconds"} & set(keys)
    python = peer_python(PEER) if beside else None
    with tempfile.TemporaryDirectory() as name:
        run = given.run.absolute() if given.run else Path(name) / "run"
        if given.run is None and "first_answer_seconds" in keys:
            write_run(run, small=given.smoke)
            (run / "pretrain" / "done.json").write_text("{}")
        paint = ["generate", "paint", "--prompt", "红苹果", "--run", str(run), "--output", f"{name}/painting.png"]
        commands = {
            "help_seconds": {"ours": [*M6, "--help"], "peer": [str(python), "-c", HELP]},
            "show_seconds": {"ours": [*M6, "show", "tiny"]},
            "import_seconds": {
                who: [str(python) if who == "peer" else sys.executable, "-c", words] for who, words in IMPORTS.items()
            },
            "first_answer_seconds": {"ours": [*M6, *paint]},
        }
        rows = []
        for key in keys:
            say(f"measuring {key}")
            known = {who: words for who, words in commands[key].items() if who != "peer" or python}
            rows.append(_row(key, _by_turns(known, runs), given))
    return rows


def _by_turns(commands: dict[str, list[str]], runs: int) -> dict[str, list[Took]]:
    """Each once without being counted, then by turns, every second time in the opposite order."""
    found: dict[str, list[Took]] = {who: [] for who in commands}
    running = {}
    for who, words in commands.items():
        with or_left_out(who if who == "peer" else "ours", words):
            took(words)
            running[who] = words
    for number in range(runs):
        for who in list(running)[:: -1 if number % 2 else 1]:
            found[who].append(took(running[who]))
    return {who: some for who, some in found.items() if some}


def took(words: Sequence[str]) -> Took:
    """What a command takes. UserError, with its last line, if it fails."""
    environment = {**os.environ, **NO_NETWORK}
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=ROOT,
            env=environment,
            preexec_fn=ends_with_parent(),
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = " ".join(said.read().strip().splitlines()[-1:])
            raise UserError(f"benchmarks: {' '.join(words[:4])} failed: {last or process.returncode}")
    return Took(wall, used.ru_utime + used.ru_stime)


def _row(key: str, found: dict[str, list[Took]], given: argparse.Namespace) -> Row:
    medians = {
        who: (statistics.median(one.wall for one in some), statistics.median(one.cpu for one in some))
        for who, some in found.items()
    }
    names = {"ours": "ours", "peer": PEER}
    said = ", ".join(f"{names.get(who, who)} {cpu:.3g}" for who, (_, cpu) in medians.items())
    ours, peer = ([one.wall for one in found.get(who, ())] for who in ("ours", "peer"))
    has_peer = key in ("help_seconds", "import_seconds")
    note = f"a cost; s of CPU: {said}"
    if "m6 alone" in medians:
        note += f"; m6 alone by the clock {medians['m6 alone'][0]:.3g} s"
    made = row(
        key,
        ours,
        "s",
        peer=peer,
        peer_name=named(PEER) if has_peer else None,
        ratios=[own / other for own, other in zip(ours, peer, strict=bool(peer))] if has_peer else ours,
        note=note if peer or not has_peer else f"{note}; {PEER} not available",
        module="start",
    )
    if key == "first_answer_seconds" and given.run:
        made["command"] += f" --run {given.run}"
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("start", __doc__, measure, {**ONLY, **RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
