"""Tasks beside baselines that had the same data, minutes and cores: python -m benchmarks.tasks --run RUN --data FOLDER

    python -m benchmarks.tasks --run RUN --data FOLDER [--minutes M] [--seeds N] [--examples N] [--only TASK ...]
        [--also NAME=RUN ...] [--json FILE]

FOLDER has a folder for each task. For every task: `m6` is RUN finetuned, `m6_scratch` the same without its pretraining,
`m6_blind` without the pictures; `git`, `clip` or `gpt2` is a model of transformers of the same size, trained from
scratch (`benchmarks.task_data` says which, and how it answers); `most_frequent`, `nearest_picture` and `nearest_text`
train nothing. All answer the same held-out examples.

Each that trains does so for M minutes, and the peer once more for M and what RUN's pretraining took (`--pretraining
MINUTES`), if that is told. Seconds of the updates count; what finds out how many fill the time (ours), or which rate is
best (the peer's, of three that each have the whole time), does not. Ours keeps the rates that finetuning has by
default, with and without pretraining.

Poems are written freely by all, since no peer has a grammar of their forms; `m6_form` is the same as `m6` held to
the form, as `m6 generate` holds it.

`--also` adds runs that are finetuned like RUN, such as those that show what an objective brings: the same recipe
pretrained without it, on the same corpus and vocabulary, as `benchmarks.task_objectives` makes them.

Trainings are kept in `--work` by all that decides them (weights of the run, data, minutes, seed, flags); rows are
written after each task. So what was stopped goes on when it is called again, and what has changed is made anew. After a
change of the program itself take another `--work`. Rows are one for each task, system, score and seed: value and 95 %
interval; `better`, how much higher ours is on the same examples, with its interval; what the system has cost.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import check, chosen
from benchmarks.rows import call_of, hardware, today
from benchmarks.runners import ROOT, peer_python, say
from benchmarks.task_data import kind_of, scores, write
from benchmarks.task_keys import digest_of, examples_key, weights_key
from benchmarks.task_rows import Row, Rows, table
from m6.config import UserError
from m6.data.config import DataConfig
from m6.run import ends_with_parent, read_done, read_metrics
from m6.tasks.metrics.statistic import difference
from m6.tasks.names import SUMMARIES
from m6.tokenizer.text import TextTokenizer
from m6.train.config import TaskEvaluation
from m6.train.task_evaluation import Examined, Scores, answered, baselines, told

TRIED = 40
"""Updates by which it is found out how many fill the minutes; the first ten warm up."""
WITHIN = 0.05
"""Share of the minutes by which a training may take less or more."""
TRAININGS = 2
"""How often it is trained anew by what the one before has told of the speed, at the most."""
SMOKE_MINUTES = 0.01
SEEN = ("visual_question_answering", "captioning")
"""Tasks that are also tried without their pictures; a choice of texts for no picture is a guess."""
TASKS = tuple(name for name in SUMMARIES if name != "text_to_image")
"""Paintings have peers of their own, in `benchmarks.text_to_image`."""
OURS = ("m6", "m6_scratch", "m6_blind", "m6_form")


class Measured(NamedTuple):
    """A system's scores, and what its training has cost."""

    scores: Scores
    cost: dict[str, Any]


class Clock:
    """Says what is under way, and about how many minutes are left of all trainings."""

    def __init__(self, plan: Sequence[Sequence[float]]) -> None:
        """plan: the minutes of each training, by course."""
        self._plan, self._total = [list(course) for course in plan], sum(map(len, plan))
        self._began, self._spent = time.monotonic(), 0.0

    def tell(self, line: str) -> None:
        """Before a training."""
        left = [minutes for course in self._plan for minutes in course]
        passed = (time.monotonic() - self._began) / 60
        slowness = passed / self._spent if self._spent else 1.5  # trials and answers take time too
        number = self._total - len(left) + 1
        say(f"{line}, training {number} of {self._total}, about {math.ceil(slowness * sum(left))} min left")

    def done(self) -> None:
        """After a training."""
        self._spent += self._plan[0].pop(0)

    def next(self) -> None:
        """After a course, whose trainings may not all have been done."""
        self._plan.pop(0)


class Course:
    """The systems of one task and seed."""

    def __init__(self, given: argparse.Namespace, task: str, seed: int) -> None:
        self.given, self.task, self.seed = given, task, seed
        self.data = given.data / task
        self.folder = given.work / f"{task}-{seed}"
        self.python = given.python

    @property
    def minutes(self) -> list[float]:
        """Of each training."""
        own = 2 + len(self.given.also) + (self.task in SEEN)
        longer = [self.given.minutes + self.given.pretraining] if self.given.pretraining else []
        peers = [3 * minutes for minutes in (self.given.minutes, *longer)]  # at three rates
        return [self.given.minutes] * own + (peers if self.python else [])

    def systems(self) -> Iterator[tuple[str, Callable[[], Measured]]]:
        """Each that is trained by its name, and what trains and measures it."""
        yield "m6", lambda: self.ours(self.given.run)
        for name, run in self.given.also:
            yield name, lambda run=run: self.ours(run)  # type: ignore[misc]
        yield "m6_scratch", lambda: self.ours(self.given.run, "--finetune.fresh", "true")
        if self.task in SEEN:
            yield "m6_blind", lambda: self.ours(self.given.run, "--finetune.blind", "true")
        if self.python:
            kind = kind_of(self.about)
            yield kind, lambda: self.peer(kind, self.given.minutes)
            if self.given.pretraining:
                yield f"{kind}_longer", lambda: self.peer(kind, self.given.minutes + self.given.pretraining)

    @cached_property
    def about(self) -> Examined:
        """The run that is measured, as it is before it is finetuned, beside the held-out examples."""
        return self.examined(self.given.run)

    def forget(self) -> None:
        """Frees the model and the examples, which come again when they are asked for."""
        self.__dict__.pop("about", None)

    def examined(self, run: Path, form: bool = False) -> Examined:
        """A run beside the held-out examples."""
        config = {"task": self.task, "data": str(self.data), "split": self.given.split, "seed": self.seed, "form": form}
        config["num_examples"] = self.given.examples
        return Examined(run, TaskEvaluation().override(config))

    @cached_property
    def trained_on(self) -> dict[str, Any]:
        """All that decides a training but the run and the flags. UserError for data that does not fit."""
        given = self.given
        names = {"task": self.task, "seed": self.seed, "minutes": given.minutes, "threads": given.threads}
        return {**names, "smoke": given.smoke, "data": examples_key(self.about.known)}

    @cached_property
    def asked(self) -> str:
        """Names all that decides the rows."""
        runs = {name: weights_key(run) for name, run in [("m6", self.given.run), *self.given.also]}
        test = {"split": self.given.split, "test": examples_key(self.about.examples)}
        peer = {"peer": bool(self.python), "pretraining": self.given.pretraining}
        return digest_of({**self.trained_on, "runs": runs, **test, **peer})

    def ours(self, run: Path, *flags: str) -> Measured:
        """A run finetuned for the minutes, and its scores."""
        out, seconds = self.trained(run, flags)
        rows, done = read_metrics(out / "finetune" / "metrics.jsonl"), read_done(out, "finetune") or {}
        tokens = round(sum(row["tokens"] for row in rows))
        cost = {"parameters": done["parameters_trained"], "steps": rows[-1]["step"], "tokens": tokens}
        return Measured(answered(self.examined(out))[1], {**cost, "seconds": seconds, "folder": str(out)})

    def trained(self, run: Path, flags: Sequence[str]) -> tuple[Path, float]:
        """The run folder of a finetuning that has taken the minutes, or that of some which came nearest; its seconds.

        The schedule of the rate needs the number of updates beforehand. A trial tells it; and where the machine has
        been slower or faster since, the training itself tells it to the next one."""
        flags = [*flags, *self.room(run)]
        name = digest_of({**self.trained_on, "weights": weights_key(run), "flags": flags})
        wanted = 60 * self.given.minutes
        few = 10 if self.given.smoke else TRIED
        tried = self.finetuned(run, self.folder / f"m6-{name}-tried", few, flags)
        if self.given.smoke:
            return tried, seconds_of(tried)
        warm, *rest = read_metrics(tried / "finetune" / "metrics.jsonl")
        each = sum(row["seconds"] for row in rest) / (rest[-1]["step"] - warm["step"])
        found: list[tuple[float, Path]] = []
        while len(found) < TRAININGS and not (found and abs(found[-1][0] / wanted - 1) <= WITHIN):
            steps = max(1, round(wanted / each))
            out = self.finetuned(run, self.folder / f"m6-{name}-{len(found) + 1}", steps, flags)
            found.append((seconds_of(out), out))
            each = found[-1][0] / steps
        seconds, out = min(found, key=lambda one: abs(one[0] - wanted))
        if abs(seconds / wanted - 1) > WITHIN:
            say(f"{self.task}: training took {seconds:.0f} s of {wanted:.0f}; the machine is not as fast all the time")
        return out, seconds

    def room(self, run: Path) -> list[str]:
        """Flags that let a run read the longest text of the data, if it was trained on shorter ones: peers read it."""
        encode = TextTokenizer.load(run / "tokenizer" / "tokenizer.json").encode
        examples = [*self.about.known, *self.about.examples]
        texts = {text for each in examples for text in (each.prompt, *each.answers, *each.choices)}
        longest = max(len(encode(text)) for text in texts)
        least = DataConfig.read(run / "config.json", section="pretrain.data").max_text
        return ["--pretrain.data.max_text", str(longest)] if longest > least else []

    def finetuned(self, run: Path, out: Path, steps: int, flags: Sequence[str]) -> Path:
        """A finetuning of so many updates; one that is done, or was stopped, is gone on with."""
        words = ["finetune", self.task, "--from", run, "--data", self.data, "--out", out, "--seed", self.seed]
        loop = {"num_steps": steps, "heldout_every": 0, "keep_checkpoints": 1, "num_threads": self.given.threads}
        words += [word for name, value in loop.items() for word in (f"--finetune.loop.{name}", value)]
        if not (out / "finetune" / "done.json").exists():
            program([sys.executable, "-m", "m6.cli", *words, *flags], out.with_suffix(".log"), self.given.threads)
        return out

    def peer(self, kind: str, minutes: float) -> Measured:
        """A model of transformers trained for the minutes, and its scores."""
        test = {"kind": kind, "split": self.given.split, "test": examples_key(self.about.examples)}
        base = {**self.trained_on, "minutes": minutes, "weights": weights_key(self.given.run)}
        name = f"{kind}-{digest_of({**base, **test})}"
        source, target = (self.folder / f"{name}.{part}" for part in ("data", "answers"))
        if not target.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write(source, self.about, minutes, self.seed, self.given.threads)
            script = ROOT / "benchmarks" / "peers" / "task_models.py"
            fresh = self.folder / f"{name}.part"
            program([self.python, script, kind, source, fresh], self.folder / f"{name}.log", self.given.threads)
            os.replace(fresh, target)
            source.unlink()
        return Measured(*scores(target, self.about))

    def rows(self, clock: Clock) -> list[Row]:
        """The scores of all, each beside ours."""
        found: dict[str, Measured] = {}
        for name, measure in self.systems():
            clock.tell(f"{self.task}, seed {self.seed}: {name}")
            found[name] = measure()
            clock.done()
        if self.task == "poems":
            out = Path(found["m6"].cost["folder"])
            found["m6_form"] = found["m6"]._replace(scores=answered(self.examined(out, form=True))[1])
        found |= {name: Measured(of_system, {}) for name, of_system in baselines(self.about).items()}
        return [row for name in found for row in self.rows_of(name, found[name], found["m6"])]

    def rows_of(self, name: str, system: Measured, ours: Measured) -> Iterator[Row]:
        """The rows of one system."""
        given = {"minutes": self.given.minutes, "split": self.given.split, "count": len(self.about.examples)}
        cost = {"train_seconds": system.cost.get("seconds")}
        cost |= {each: system.cost.get(each) for each in ("parameters", "steps", "tokens")}
        cost |= {each: system.cost[each] for each in ("rate", "rates") if each in system.cost}
        for score, value in told(system.scores, self.seed).items():
            row: Row = {"task": self.task, "system": name, "score": score, "seed": self.seed, **value}
            if name != "m6" and score in ours.scores:
                row["better"] = difference(ours.scores[score], system.scores[score], self.seed)
            about = {"command": self.given.command, "hardware": hardware(), "date": today()}
            yield row | given | cost | about | {"asked": self.asked}


def seconds_of(out: Path) -> float:
    """What the updates of a finetuning have taken, over all of its parts."""
    return float(sum(row["seconds"] for row in read_metrics(out / "finetune" / "metrics.jsonl")))


def program(command: Sequence[object], log: Path, threads: int) -> None:
    """Runs it to its end, its output in a log. UserError with the last line of that if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run(
            [str(word) for word in command], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, check=False, preexec_fn=ends_with_parent(),
        )  # fmt: skip
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        said = last[0] if last else f"ended with {done.returncode}"
        raise UserError(f"benchmarks: {said.removeprefix('m6: ')} (all of it is in {log})")


def measure(given: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """All rows, and what went wrong with tasks that have none. UserError for a run or data that is not there, before
    anything is trained."""
    tasks = [name for name in chosen(given.only, TASKS) if (given.data / name).is_dir()]
    if not tasks:
        raise UserError(f"benchmarks: {given.data} has no folder of a task; it may have {', '.join(TASKS)}")
    rows = Rows(given.json)
    courses = [Course(given, task, seed) for task in tasks for seed in range(given.seeds)]
    left = [course for course in courses if not rows.of(course.asked)]
    if len(left) < len(courses):
        say(f"{len(courses) - len(left)} of {len(courses)} stand in {given.json} already")
    for course in courses:
        course.forget()
    clock = Clock([course.minutes for course in left])
    failed: list[str] = []
    for course in left:
        try:
            rows.add(course.rows(clock))
        except UserError as error:  # hours of other tasks are not lost for one
            failed.append(f"{error}; {course.task}, seed {course.seed} is left out")
            say(failed[-1].removeprefix("benchmarks: "))
        clock.next()
        course.forget()
    return [row for course in courses for row in rows.of(course.asked)], failed


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.tasks", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a pretrained run")
    parser.add_argument("--data", type=Path, required=True, help="a folder with a folder of data for each task")
    parser.add_argument("--minutes", type=float, default=10, help="of training, for each (10)")
    parser.add_argument("--pretraining", type=float, default=0, help="minutes that the pretraining of RUN took")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of every training (2)")
    parser.add_argument("--split", default="test")
    parser.add_argument("--examples", type=int, default=0, help="of a task, spread over all that are held out (all)")
    parser.add_argument("--only", nargs="+", default=(), metavar="TASK")
    parser.add_argument("--also", nargs="+", default=[], type=_named, metavar="NAME=RUN")
    parser.add_argument("--work", type=Path, default=Path("runs/task-bench"), help="where trainings are kept, to go on")
    parser.add_argument("--smoke", action="store_true", help="does it work? figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="rows; those that stand in it are not measured again")
    given = parser.parse_args(words)
    given.command = call_of("tasks", words)
    if given.smoke:
        given.minutes, given.examples = SMOKE_MINUTES, 8
    try:
        check(given)
        _check(given)
        given.python = peer_python("transformers")
        rows, failed = measure(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if rows:
        print(f"{hardware()}\n\n{table(rows)}")
    return 2 if failed else 0


def _check(given: argparse.Namespace) -> None:
    """UserError for numbers that mean nothing, and names that are taken."""
    for name, least in {"minutes": SMOKE_MINUTES, "pretraining": 0, "threads": 1, "examples": 0}.items():
        value = getattr(given, name)
        if not (value >= least and math.isfinite(value)):
            raise UserError(f"benchmarks: --{name} {value} is too small or no number, it takes {least} at least")
    names = [name for name, _ in given.also]
    taken = next((name for name in names if name in OURS or names.count(name) > 1), None)
    if taken:
        raise UserError(f"benchmarks: --also {taken}: the name is taken; give another")
    # Programs run in the folder of the repository.
    given.run, given.data, given.work = (each.absolute() for each in (given.run, given.data, given.work))
    given.also = [(name, run.absolute()) for name, run in given.also]


def _named(word: str) -> tuple[str, Path]:
    name, equals, path = word.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=RUN, a name and a run folder")
    return name, Path(path)


if __name__ == "__main__":
    sys.exit(main())
