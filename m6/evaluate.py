"""The command line of `m6 evaluate RUN --task TASK`, and of `--all`: words to evaluations, and their scores as a table.

m6 evaluate RUN --task TASK --data PATH    one task
m6 evaluate RUN --all --data FOLDER        every task that FOLDER has a folder of, by their names
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m6 import flags
from m6.config import UserError
from m6.recipes.recipe import Recipe
from m6.run import write_atomic
from m6.tasks.names import SUMMARIES, check_name
from m6.train.config import TaskEvaluation

_HELP = """\
m6 evaluate RUN --task TASK [--data PATH] [--name value ...]: measure a trained run on a task.
m6 evaluate RUN --all --data FOLDER [--name value ...]: on every task that FOLDER has a folder of, by its name.

RUN is a run folder, pretrained or finetuned. A finetuned one is measured on its own task and data without more words.
Scores, with 95 % intervals, stand in RUN/evaluate/TASK-SPLIT.json, answers beside them; --all writes tasks.md too.

Tasks: {tasks}

Flags, with their values:
{flags}"""


def describe() -> str:
    """The help page."""
    return _HELP.format(tasks=", ".join(SUMMARIES), flags=flags.describe(TaskEvaluation(), ()))


def evaluate(words: Sequence[str]) -> str:
    """What the words ask for; returns a table. UserError for whatever is wrong with them."""
    everything = "--all" in words
    alone, given = flags.split([word for word in words if word != "--all"])
    if len(alone) != 1:
        raise UserError("m6 evaluate --task takes one run folder; see `m6 evaluate --task --help`")
    folder = Path(alone[0])
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no run folder (no config.json)")
    wanted = TaskEvaluation().override(flags.values(given, TaskEvaluation(), "evaluate"))
    if everything:
        return _all(folder, wanted)
    own = Recipe.read(folder / "config.json").finetune
    told = {"task": wanted.task or own.task, "data": wanted.data or own.data}
    check_name(told["task"])
    if not told["data"]:
        raise UserError(f"m6 evaluate {folder} --task {told['task']}: give --data too")
    return table([_measure(folder, wanted.override(told))])


def _all(folder: Path, wanted: TaskEvaluation) -> str:
    data = Path(wanted.data or ".")
    tasks = [name for name in SUMMARIES if (data / name).is_dir()]
    if not tasks:
        raise UserError(f"--data {data}: no folder in it has the name of a task ({', '.join(SUMMARIES)})")
    results = [_measure(folder, wanted.override({"task": name, "data": str(data / name)})) for name in tasks]
    text = table(results)
    write_atomic(folder / "evaluate" / "tasks.md", text + "\n")
    return text


def _measure(folder: Path, config: TaskEvaluation) -> dict[str, Any]:
    from m6.train.task_evaluation import evaluate as measure

    return measure(folder, config)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The scores of evaluations as a Markdown table: a row a score, ours beside the baselines, with intervals."""
    names = list(dict.fromkeys(name for each in results for name in each["baselines"]))
    head = ["task", "score", "M6", *names]
    rows = [head, ["---"] * len(head)]
    for each in results:
        for name, score in each["scores"].items():
            beside = [each["baselines"].get(other, {}).get(name) for other in names]
            marked = f"**{name}**" if name == each["main"] else name
            rows.append([each["task"], marked, _cell(score), *map(_cell, beside)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(score: Mapping[str, float] | None) -> str:
    if score is None:
        return "-"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
