"""The benchmark of the model that comes with the package: how soon it answers, and what it knows beside others.

    python -m benchmarks.mini [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--full RUN] [--quickstart RUN]
                              [--begun RUN]

Of mini alone, costs in seconds: `mini_first_answer_seconds`, from the command to a picture, a process of its own each
time; once loaded, `mini_caption_seconds` and `mini_pictures16_seconds`, one caption and sixteen pictures of the size it
has learnt. `mini_scores`: each held-out score of the quickstart's own evaluation, of mini and of the quickstart's model
(its run, or the medians in benchmarks/results), on the quickstart's held-out data; the first row counts those whose
interval lies above the other's. `mini_int8`: the same scores of mini as it ships, in 8 bits, and of the run it was
packed from (--full). `mini_begun`: the scores of a quickstart that began with mini (m6 quickstart --from mini) beside
those of one that did not, and first the seconds that training took. `--smoke` is one run of the seconds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.rows import Row, row
from benchmarks.runners import say
from benchmarks.start import M6, took
from m6.config import UserError
from m6.recipes import quickstart
from m6.recipes.recipe import begun
from m6.run import Run, read_done
from m6.shipped import DEFAULT, SHIPPED

Scores = Mapping[str, float]
PROMPT = "左边是老虎，右边是西瓜"
KEYS = (
    "mini_first_answer_seconds", "mini_caption_seconds", "mini_pictures16_seconds", "mini_scores", "mini_int8",
    "mini_begun",
)  # fmt: skip
LEARNT = Path(__file__).parent / "results" / "quickstart_2cores_202611.json"
"""Of the quickstart, medians of three seeds."""
VIEW = ("tokenizer", "vqgan", "pretrain")
TRAINED = ("vqgan", "pretrain")
FLAGS: Flags = {
    "--full": {
        "type": Path, "default": Path("runs/mini-more"), "metavar": "RUN",
        "help": "what mini was packed from (runs/mini-more)",
    },
    "--quickstart": {
        "type": Path, "default": Path("runs/quickstart"), "metavar": "RUN",
        "help": "its corpus, and its results.json if it is trained (runs/quickstart)",
    },
    "--begun": {
        "type": Path, "default": Path("runs/quickstart-from-mini"), "metavar": "RUN",
        "help": "a quickstart that began with mini (runs/quickstart-from-mini)",
    },
}  # fmt: skip

ONE_RUN = "quickstart, one run"
"""What a beginning with mini is beside, of the same seed; scores of mini are beside medians of three runs."""


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key, and a run that is not there."""
    keys = chosen(given.only or (KEYS[:3] if given.smoke else ()), KEYS)
    runs = 1 if given.smoke else given.runs
    rows: list[Row] = []
    for key in keys:
        say(f"measuring {key}")
        if key == "mini_first_answer_seconds":
            rows.append(_first(runs))
        elif key in ("mini_caption_seconds", "mini_pictures16_seconds"):
            rows.append(_loaded(key, runs))
        elif key == "mini_scores":
            rows += _beside(key, _view(SHIPPED[DEFAULT], given.quickstart), _learnt(given.quickstart), "quickstart")
        elif key == "mini_int8":
            ours, peer = (_view(run, given.quickstart) for run in (SHIPPED[DEFAULT], given.full))
            rows += _beside(key, ours, peer, "open-m6, float32")
        else:
            rows += _begun(key, given.begun, given.quickstart)
    return rows


def _first(runs: int) -> Row:
    with tempfile.TemporaryDirectory() as name:
        words = [*M6, "generate", "paint", "--prompt", PROMPT, "--output", f"{name}/painting.png"]
        took(words)
        found = [took(words) for _ in range(runs)]
    note = f"a cost, bar at most 5; process start to PNG; s of CPU {found[-1].cpu:.3g}"
    return row("mini_first_answer_seconds", [one.wall for one in found], "s", note=note, module="mini")


def _loaded(key: str, runs: int) -> Row:
    """Of a loaded engine; the first run, in which PyTorch sets up its products, does not count."""
    from m6.generate.engine import Engine
    from m6.generate.paintings import Wanted, paint_candidates
    from m6.generate.sampling import Sampling

    engine = Engine.load(SHIPPED[DEFAULT], device="cpu")
    side, most = engine.picture_size, 16 if key == "mini_pictures16_seconds" else 1
    (picture,) = (one.image for one in paint_candidates(engine, Wanted(PROMPT), Sampling(temperature=0.0)))
    found = []
    for number in range(runs + 1):
        start = time.perf_counter()
        if most == 1:
            said = engine.write_texts([(engine.picture(np.asarray(picture)),)], 64)[0]
        else:
            paint_candidates(engine, Wanted(PROMPT, n=most), Sampling(seed=number))
        found.append(time.perf_counter() - start)
    note = f"said: {said}" if most == 1 else f"{most} of {side} x {side} pixels"
    bar = 0.3 if most == 1 else 5
    return row(key, found[1:], "s", note=f"a cost, bar at most {bar}; once loaded; {note}", module="mini")


@functools.cache
def _view(run: Path, where: Path) -> Scores:
    """Scores of a run, on the held-out data of the quickstart in that folder."""
    if read_done(where, "corpus") is None:
        raise UserError(f"benchmarks: {where} has no corpus; make one with: m6 corpus quickstart --out {where}")
    if not (run / "config.json").is_file():
        raise UserError(f"benchmarks: {run} is no run folder; make one with: m6 quickstart mini --out {run}")
    from m6.train import evaluate

    with tempfile.TemporaryDirectory() as name:
        recipe = begun(quickstart.recipe(), str(run))
        view = Run.open(Path(name) / "view", recipe)
        for each, of in {"corpus": where, **dict.fromkeys(VIEW, run)}.items():
            os.symlink((of / each).resolve(), view.folder / each)
        evaluate.run(view, recipe.evaluate, recipe.seed)
        return dict(json.loads((view.folder / "evaluate" / "scores.json").read_text()))


def _learnt(run: Path) -> Scores:
    """Figures of a quickstart: of the run in that folder if it has some, or the medians that are committed."""
    path = run / "results.json"
    return dict(json.loads(path.read_text())) if path.is_file() else dict(json.loads(LEARNT.read_text())["median"])


def _beside(key: str, ours: Scores, peer: Scores, name: str) -> list[Row]:
    """A row for each score that both have, with its baseline; and first how many held-out ones lie above the other's,
    by their intervals."""
    rows, held = [], []
    for each in [each for each in ours if f"{each}.baseline" in ours and each in peer]:
        one, other, baseline = ours[each], peer[each], ours[f"{each}.baseline"]
        notes = [f"trivial baseline {baseline:.3f}"] if baseline is not None else []
        if f"{each}.low" in ours and f"{each}.low" in peer:
            (low, high), (least, most) = ((found[f"{each}.low"], found[f"{each}.high"]) for found in (ours, peer))
            lies = "above" if low > most else "below" if high < least else "overlaps"
            notes.append(f"95 % intervals {low:.3f} to {high:.3f}, theirs {least:.3f} to {most:.3f}: {lies}")
            held += [lies] * ("_heldout" in each)
        ratio = one / other if other else float(one == other)
        unit = "bits" if "bits" in each else "share"
        made = row(f"{key}_{each}", [one], unit, peer=[other], peer_name=name, ratios=[ratio], note="; ".join(notes))
        rows.append(_commanded(made, key))
    note = f"of {len(held)} held-out scores with an interval, those that lie above that of {name}"
    return [_commanded(row(f"{key}_above", [held.count("above")], "scores", note=note), key), *rows]


def _commanded(made: Row, key: str) -> Row:
    made["command"] = f"python -m benchmarks.mini --only {key}"
    return made


def _begun(key: str, run: Path, other: Path) -> list[Row]:
    figures = []
    for each in (run, other):
        path = each / "results.json"
        if not path.is_file():
            raise UserError(f"benchmarks: {path}: missing; run `m6 quickstart` with this --out, of mini with --from")
        figures.append(dict(json.loads(path.read_text())))
    seconds: list[Any] = [sum(found[f"seconds.{stage}"] for stage in TRAINED) for found in figures]
    made = row(
        f"{key}_seconds", seconds[:1], "s", peer=seconds[1:], peer_name=ONE_RUN, ratios=[seconds[0] / seconds[1]],
        note="a cost, bar at most 0.3334; training of the image tokenizer and of the model, of one run each",
    )  # fmt: skip
    return [_commanded(made, key), *_beside(key, figures[0], figures[1], ONE_RUN)]


def main(words: list[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("mini", __doc__, measure, {**ONLY, **RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
