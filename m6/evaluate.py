"""The command line of `m6 evaluate RUN --task TASK`, and of `--all`: words to evaluations, and their scores as tables.

m6 evaluate RUN --task TASK --data PATH    one task
m6 evaluate RUN --all --data FOLDER        every task that FOLDER has a folder of, by their names
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from m6 import flags
from m6.config import UserError
from m6.recipes.recipe import Recipe
from m6.run import EndedError, write_atomic
from m6.shipped import check_own
from m6.tasks.names import SUMMARIES, check_name
from m6.train.config import TaskEvaluation

_HELP = """\
m6 evaluate RUN --task TASK --data PATH [--name value ...]: measure a trained run on a task.
m6 evaluate RUN --all --data FOLDER [--name value ...]: on every task that FOLDER has a folder of, by its name.

RUN is a run folder, pretrained or finetuned. A finetuned one is measured on its own task and data without more words.
  --task TASK    one of: {tasks}
  --all          all tasks of a folder; those that fail are named at the end
  --data PATH    a folder with test.jsonl (train.jsonl for baselines), one of a public format, or one such file
  --anew         measure again what has been measured with the same settings, data and weights

Scores, with 95 % intervals, stand in RUN/evaluate/NAME.json, answers beside them; NAME is the task, the split, every
flag that differs from what follows, and a hash of the examples. --all writes RUN/evaluate/tasks.md too. What was
stopped goes on with the same command.

Flags, with their values:
{flags}"""
_BARE = ("--all", "--anew")


class Evaluated(NamedTuple):
    """What the words came to."""

    text: str
    """The tables of what was measured."""
    failures: list[str]
    """What went wrong, a line a task."""


def describe() -> str:
    """The help page."""
    return _HELP.format(tasks=", ".join(SUMMARIES), flags=flags.describe(TaskEvaluation(), ()))


def evaluate(words: Sequence[str]) -> Evaluated:
    """What the words ask for. UserError for whatever is wrong with them, or with the only task."""
    bare = {word for word in words if word in _BARE}
    alone, given = flags.split([word for word in words if word not in _BARE])
    if len(alone) != 1:
        raise UserError("m6 evaluate --task takes one run folder; see `m6 evaluate --task --help`")
    folder = check_own(alone[0])
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no run folder (no config.json)")
    wanted = TaskEvaluation().override(flags.values(given, TaskEvaluation(), "evaluate"))
    if "--all" in bare:
        return _all(folder, wanted, "--anew" in bare)
    own = Recipe.read(folder / "config.json").finetune
    told = {"task": wanted.task or own.task, "data": wanted.data or own.data}
    if not told["task"]:
        raise UserError(f"m6 evaluate {folder}: give --task TASK, or --all; tasks are {', '.join(SUMMARIES)}")
    check_name(told["task"])
    if not told["data"]:
        raise UserError(f"m6 evaluate {folder} --task {told['task']}: give --data too")
    _warn(folder)
    return Evaluated(_tables([_measure(folder, wanted.override(told), "--anew" in bare)]), [])


def _all(folder: Path, wanted: TaskEvaluation, anew: bool) -> Evaluated:
    if not wanted.data:
        raise UserError(f"m6 evaluate {folder} --all: give --data FOLDER too, with a folder for each task, by its name")
    if wanted.task:
        raise UserError(f"m6 evaluate {folder} --all --task {wanted.task}: take one of them")
    data = Path(wanted.data)
    tasks = [name for name in SUMMARIES if (data / name).is_dir()]
    if "text_to_image" in tasks and "text_to_image" not in Recipe.read(folder / "config.json").learnt:
        print("text_to_image: left out, since this run has not learnt to paint", file=sys.stderr, flush=True)
        tasks.remove("text_to_image")
    if not tasks:
        raise UserError(f"--data {data}: no folder in it has the name of a task ({', '.join(SUMMARIES)})")
    _warn(folder)
    results: list[dict[str, Any]] = []
    failures: list[str] = []
    for name in tasks:
        try:
            results.append(_measure(folder, wanted.override({"task": name, "data": str(data / name)}), anew))
        except (EndedError, OSError):  # asked to end, or a full disk: no other task would fare better
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            failures.append(f"{name}: {' '.join(said.split())}")
    text = _tables(results)
    if results:
        write_atomic(folder / "evaluate" / "tasks.md", text + "\n")
    return Evaluated(text, failures)


def _measure(folder: Path, config: TaskEvaluation, anew: bool) -> dict[str, Any]:
    from m6.train.task_evaluation import evaluate as measure

    result = measure(folder, config, anew)
    if result["taken"]:
        line = f"{config.task}: measured before with the same settings, data and weights, taken from {result['file']}"
        print(f"{line}; --anew measures again", file=sys.stderr, flush=True)
    return result


def _tables(results: Sequence[dict[str, Any]]) -> str:
    from m6.train.task_tables import tables

    return tables(results)


def _warn(folder: Path) -> None:
    from m6.train.ended import warn

    warn(folder)
