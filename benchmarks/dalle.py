"""Painting from texts beside DALLE-pytorch of equal size, after equal time on the same codes.

    python -m benchmarks.dalle [--run RUN] [--minutes N] [--smoke] [--json FILE] [--only KEY ...] [--runs N]

Both learn from the texts and image codes of the training scenes of RUN (runs/paint), whose transformer they do not
need: ours is that of its config, from scratch. Each has one thread, batches of 16 pictures in the same order, and N
minutes of user CPU, on an idle machine those of the clock; the peer has them at each of three rates, and the one that
is best on the held-out scenes counts. `bits_vs_dalle` is bits of a held-out code, those of the peer over ours;
`paint_right_vs_dalle` the share of 200 held-out scenes that the judge of `m6 evaluate` finds right, each side at the
better of temperatures 0 and 0.5. `train_codes_vs_dalle` is codes a second of training, `paint_vs_dalle` pictures a
second in batches of 16, by turns. `benchmarks.peers.dalle` says what the peer is. `--smoke` is a little of all, whose
figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.dalle_data import Court, Material, material
from benchmarks.rows import Row, row
from benchmarks.runners import NO_NETWORK, ONE_THREAD, ROOT, or_left_out, paired, peer_python, say, started
from m6.config import UserError
from m6.run import ends_with_parent

PEER = "dalle-pytorch"
PEER_NAME = "dalle-pytorch 1.6.6, rotary-embedding-torch 0.2.3, torch 2.13.0"
LEARNT = ("bits_vs_dalle", "paint_right_vs_dalle")
SPEED = {"train_codes_vs_dalle": ("train", "codes/s"), "paint_vs_dalle": ("paint", "pictures/s")}
HELD_OUT, SMOKE = 200, 8
SMOKE_SECONDS = 2.0
DEFAULT_RUN = Path("runs/paint")
FLAGS: Flags = {
    "--run": {"type": Path, "default": DEFAULT_RUN, "metavar": "RUN", "help": f"with image codes ({DEFAULT_RUN})"},
    "--minutes": {"type": float, "default": 20.0, "metavar": "N", "help": "of each training, of CPU (20)"},
}
Told = dict[str, Any]
"""What a side says of its training, and "painted": codes by temperature."""


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key, no time, and an unfit run."""
    keys = chosen(given.only, (*LEARNT, *SPEED))
    if not (given.minutes > 0 and math.isfinite(given.minutes)):
        raise UserError(f"benchmarks: --minutes {given.minutes} is no time to learn in, it has to be above 0")
    found = material(given.run, SMOKE if given.smoke else HELD_OUT, 64 if given.smoke else 0)
    python = peer_python(PEER)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "data.pt"
        torch.save(found.data, path)
        programs = {"ours": [sys.executable, "-m", "benchmarks.dalle_model", str(path)]}
        if python:
            programs["peer"] = [str(python), str(ROOT / "benchmarks" / "peers" / "dalle.py"), str(path)]
        rows = _learnt([key for key in keys if key in LEARNT], given, found, programs)
        return rows + [_speed(key, given, programs) for key in keys if key in SPEED]


def _learnt(
    keys: Sequence[str], given: argparse.Namespace, found: Material, programs: dict[str, list[str]]
) -> list[Row]:
    """What is known of the models after their time, one after the other."""
    if not keys:
        return []
    seconds = SMOKE_SECONDS if given.smoke else 60 * given.minutes
    told: dict[str, Told] = {}
    for who, words in programs.items():
        say(f"training {who}, {seconds:.0f} s of CPU{', three times' * (who == 'peer')}")
        out = Path(words[-1]).with_name(f"{who}.npz") if "paint_right_vs_dalle" in keys else None
        with or_left_out(who, words):
            told[who] = _trained([*words, "learn", str(seconds)], out)
    sizes = ", ".join(f"{who} {one['parameters']:,} parameters, {one['steps']} updates" for who, one in told.items())
    note = f"{seconds:.0f} s of CPU each, {len(found.data['train_texts']):,} scenes; {sizes}"
    if "peer" in told:
        note += f" at {told['peer']['rate']:g}, best of {', '.join(told['peer']['rates'])}"
    rows = []
    if "bits_vs_dalle" in keys:
        bits = {who: [one["bits"]] for who, one in told.items()}
        ratios = [bits["peer"][0] / bits["ours"][0]] if "peer" in bits else []
        rows.append(_row("bits_vs_dalle", given, "bits a code", bits, note, ratios))
    if "paint_right_vs_dalle" in keys:
        rows.append(_right(given, found, told, note))
    return rows


def _trained(words: list[str], out: Path | None) -> Told:
    """What a program says of its training, and, if there is a file for it, what it has painted, by temperature.
    UserError if it fails."""
    words, environment = [*words, *([str(out)] if out else [])], {**os.environ, **ONE_THREAD, **NO_NETWORK}
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=environment, preexec_fn=ends_with_parent()
    )
    if done.returncode:
        raise UserError(f"benchmarks: {' '.join(words[:3])} ended: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    told: Told = json.loads(done.stdout.splitlines()[-1])
    if out:
        with np.load(out) as painted:
            told["painted"] = dict(painted)
    return told


def _right(given: argparse.Namespace, found: Material, told: dict[str, Told], note: str) -> Row:
    """Paintings judged. A peer of which none is right has no ratio."""
    say("training the judge")
    court = Court(given.run)
    shares = {who: [court.right(codes, found.wanted) for codes in one["painted"].values()] for who, one in told.items()}
    best = {who: [max(each)] for who, each in shares.items()}
    seen = ", ".join(
        f"{who} {' and '.join(f'{share:.3f}' for share in each)} at temperatures {' and '.join(told[who]['painted'])}"
        for who, each in shares.items()
    )
    restored = court.right(found.data["heldout_codes"], found.wanted)
    judged = f"{len(found.wanted)} held-out scenes, whose own codes are right for {restored:.3f}, by a judge"
    judged += f" that finds {court.accuracy:.3f} of real ones right"
    note = f"{seen}; {judged}; {note}"
    if "peer" in best and not best["peer"][0]:
        made = _row("paint_right_vs_dalle", given, "share", {"ours": best["ours"]}, note)
        made["peer"] = 0.0
        return made
    return _row("paint_right_vs_dalle", given, "share", best, note)


def _speed(key: str, given: argparse.Namespace, programs: dict[str, list[str]]) -> Row:
    """Of programs that are warm, by turns."""
    what, unit = SPEED[key]
    say(f"measuring {key}")
    with contextlib.ExitStack() as stack:
        running = started(stack, {who: [*words, what] for who, words in programs.items()})
        found = paired(running, 1 if given.smoke else given.runs)
    rates = {who: [one.kept / one.user for one in runs] for who, runs in found.items()}
    return _row(key, given, unit, rates, "one thread, 16 pictures at once, by user CPU")


def _row(
    key: str,
    given: argparse.Namespace,
    unit: str,
    figures: dict[str, list[float]],
    note: str,
    ratios: Sequence[float] = (),
) -> Row:
    peer = figures.get("peer", ())
    module = f"dalle --run {given.run} --minutes {given.minutes:g}"
    return row(key, figures["ours"], unit, peer=peer, peer_name=PEER_NAME, ratios=ratios, note=note, module=module)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("dalle", __doc__, measure, {**ONLY, **RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
