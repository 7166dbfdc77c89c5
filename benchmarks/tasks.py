"""Tasks beside baselines that had the same data, minutes and cores: python -m benchmarks.tasks --run RUN --data FOLDER

    python -m benchmarks.tasks --run RUN --data FOLDER [--minutes M] [--seeds N] [--examples N] [--only TASK ...]
        [--also NAME=RUN ...] [--json FILE]

FOLDER has a folder for each task. For every task: `m6` is RUN finetuned, `m6_scratch` the same without its pretraining,
`m6_blind` without the pictures; `git`, `clip` or `gpt2` is a model of transformers of the same size, trained from
scratch; `most_frequent`, `nearest_picture` and `nearest_text` train nothing. Each that trains does so for M minutes,
and the peer once more for M and what RUN's pretraining took (`--pretraining MINUTES`), if that is told. `--also` adds
runs, pretrained without an objective, say. All answer the same held-out examples.

Rows are one for each task, system, score and seed: value and 95 % interval, and `better`, how much higher ours is on
the same examples, with its interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import chosen
from benchmarks.rows import hardware
from benchmarks.runners import ROOT, peer_python, say
from benchmarks.task_data import KINDS, scores, write
from m6.config import UserError
from m6.run import read_metrics, write_atomic
from m6.tasks.metrics.statistic import difference
from m6.tasks.names import SUMMARIES
from m6.train.config import TaskEvaluation
from m6.train.task_evaluation import Examined, Scores, answered, baselines, told

TRIED = 20
"""Updates by which it is found out how many fill the minutes."""
SEEN = ("visual_question_answering", "captioning")
"""Tasks that are also tried without their pictures; a choice of texts for no picture is a guess."""


class Course:
    """The systems of one task and seed."""

    def __init__(self, given: argparse.Namespace, task: str, seed: int) -> None:
        self.given, self.task, self.seed = given, task, seed
        self.data = given.data / task
        self.folder = given.work / f"{task}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def systems(self) -> Iterator[tuple[str, Callable[[], Scores]]]:
        """Each by its name, and what trains and measures it."""
        yield "m6", lambda: self.ours("m6", self.given.run)
        for name, run in self.given.also:
            yield name, lambda name=name, run=run: self.ours(name, run)  # type: ignore[misc]
        yield "m6_scratch", lambda: self.ours("m6_scratch", self.given.run, "--finetune.fresh", "true")
        if self.task in SEEN:
            yield "m6_blind", lambda: self.ours("m6_blind", self.given.run, "--finetune.blind", "true")
        kind = KINDS[self.task]
        python = peer_python("transformers")
        if python:
            yield kind, lambda: self.peer(kind, python, self.given.minutes)
            if self.given.pretraining:
                longer = self.given.minutes + self.given.pretraining
                yield f"{kind}_longer", lambda: self.peer(kind, python, longer)

    def ours(self, name: str, run: Path, *flags: str) -> Scores:
        """A run finetuned for the minutes, and its scores."""
        out = self.folder / name
        if not (out / "finetune" / "done.json").exists():
            tried = self.folder / f"{name}-tried"
            few = 10 if self.given.smoke else TRIED
            self._finetune(run, tried, "--finetune.loop.num_steps", str(few), *flags)
            rows = read_metrics(tried / "finetune" / "metrics.jsonl")
            seconds = rows[-1]["seconds"] / (rows[-1]["step"] - (rows[-2]["step"] if rows[1:] else 0))
            steps = max(few, round(60 * self.given.minutes / seconds))
            self._finetune(run, out, "--finetune.loop.num_steps", str(steps), *flags)
        return answered(self.examined(out))[1]

    def _finetune(self, run: Path, out: Path, *flags: str) -> None:
        words = ["finetune", self.task, "--from", str(run), "--data", str(self.data), "--out", str(out)]
        _program([sys.executable, "-m", "m6.cli", *words, "--seed", str(self.seed), *flags])

    def peer(self, kind: str, python: Path, minutes: float) -> Scores:
        """A model of transformers trained for the minutes, and its scores."""
        about = self.examined(self.given.run)
        source, target = (self.folder / f"{kind}-{minutes:g}.{name}" for name in ("data", "answers"))
        if not target.exists():
            write(source, about, minutes, self.seed)
            _program(
                [str(python), str(ROOT / "benchmarks" / "peers" / "task_models.py"), kind, str(source), str(target)]
            )
        return scores(target, about)[0]

    def examined(self, run: Path) -> Examined:
        """A run beside the held-out examples."""
        config = {"task": self.task, "data": str(self.data), "split": self.given.split, "seed": self.seed}
        config["num_examples"] = self.given.examples
        return Examined(run, TaskEvaluation().override(config))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The scores of all, each beside ours."""
        found: dict[str, Scores] = {}
        for name, measure in self.systems():
            say(f"{self.task}, seed {self.seed}: {name}")
            found[name] = measure()
        found |= baselines(self.examined(self.given.run))
        for name, of_system in found.items():
            for score, value in told(of_system, self.seed).items():
                row = {"task": self.task, "system": name, "score": score, "seed": self.seed, **value}
                if name != "m6" and score in found["m6"]:
                    row["better"] = difference(found["m6"][score], of_system[score], self.seed)
                yield row | {"minutes": self.given.minutes, "hardware": hardware()}


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows. UserError for a run or data that is not there."""
    tasks = [name for name in chosen(given.only, SUMMARIES) if (given.data / name).is_dir()]
    if not tasks:
        raise UserError(f"benchmarks: {given.data} has no folder of a task; it may have {', '.join(SUMMARIES)}")
    return [row for task in tasks for seed in range(given.seeds) for row in Course(given, task, seed).rows()]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The mean over seeds of every score, a column a system."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    lines = [f"| task | score | {' | '.join(systems)} |", "| --- " * (len(systems) + 2) + "|"]
    for task, score in dict.fromkeys((row["task"], row["score"]) for row in rows):
        cells = []
        for system in systems:
            of = [row["value"] for row in rows if (row["task"], row["score"], row["system"]) == (task, score, system)]
            cells.append(f"{sum(of) / len(of):.3f}" if of else "-")
        lines.append(f"| {task} | {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.tasks", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a pretrained run")
    parser.add_argument("--data", type=Path, required=True, help="a folder with a folder of data for each task")
    parser.add_argument("--minutes", type=float, default=10, help="of training, for each (10)")
    parser.add_argument("--pretraining", type=float, default=0, help="minutes that the pretraining of RUN took")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--split", default="test")
    parser.add_argument("--examples", type=int, default=0, help="of a task, spread over all that are held out (all)")
    parser.add_argument("--only", nargs="+", default=(), metavar="TASK")
    parser.add_argument("--also", nargs="+", default=[], type=_named, metavar="NAME=RUN")
    parser.add_argument("--work", type=Path, default=Path("runs/task-bench"), help="where trainings are kept, to go on")
    parser.add_argument("--smoke", action="store_true", help="does it work? figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(words)
    if given.smoke:
        given.minutes, given.examples = 0.0, 8
    try:
        rows = measure(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{hardware()}\n{table(rows)}")
    if given.json:
        write_atomic(given.json, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    return 0


def _named(word: str) -> tuple[str, Path]:
    name, _, path = word.partition("=")
    return name, Path(path)


def _program(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"benchmarks: {' '.join(command[:6])} ...: {done.stderr.strip().splitlines()[-1:]}")


if __name__ == "__main__":
    sys.exit(main())
