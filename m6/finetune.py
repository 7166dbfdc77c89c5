"""The command line of `m6 finetune`: words to a run folder and the recipe of a finetuned run.

That recipe is the one of the run it begins with, and a section "finetune" that tells the rest; so whatever knows what
to do with a run folder knows what to do with this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m6 import flags
from m6.config import UserError
from m6.recipes.recipe import Recipe
from m6.shipped import is_shipped, lasting, run_folder
from m6.tasks.names import SUMMARIES, check_name

_HELP = """\
m6 finetune TASK --from RUN --data PATH [--out DIR] [--section.field value ...]: train a trained model on one task.
m6 finetune DIR: the same again, or on from where it was stopped.

  --from RUN   the run folder to begin with, or mini, the model of the package; it stays as it is
  --data PATH  train.jsonl, or a folder with it and validation.jsonl, or one of a public format
  --out DIR    the run folder that is made, by default RUN-TASK beside RUN, runs/mini-TASK for mini

Tasks:
{tasks}

Flags, with their values:
{flags}

Any flag of the run it begins with may be given too, as --pretrain.data.max_text 256 for longer answers."""


def describe() -> str:
    """The help page."""
    width = max(map(len, SUMMARIES)) + 2
    tasks = "\n".join(f"  {name:<{width}}{summary}" for name, summary in SUMMARIES.items())
    return _HELP.format(tasks=tasks, flags=flags.describe(Recipe(), ("finetune",)))


def parse(words: Sequence[str]) -> tuple[Path, Recipe]:
    """The run folder and the recipe. UserError for whatever is wrong with the words."""
    alone, given = flags.split(words)
    if len(alone) != 1:
        raise UserError("m6 finetune takes one task, or the folder of a finetuned run; see `m6 finetune --help`")
    again = Path(alone[0]) / "config.json"
    if again.exists():
        recipe = Recipe.read(again)
        if not recipe.finetune.task:
            raise UserError(f"{alone[0]}: not the folder of a finetuned run; give a task and --from {alone[0]}")
        return Path(alone[0]), recipe.override(flags.values(given, recipe, "finetune"))
    check_name(alone[0])
    for name in ("from", "data"):
        if name not in given:
            raise UserError(f"m6 finetune {alone[0]}: give --{name} too; see `m6 finetune --help`")
    name, data = given.pop("from"), given.pop("data")
    base = run_folder(name)
    if not (base / "config.json").is_file():
        raise UserError(f"--from {name}: no run folder (no config.json)")
    out = Path(given.pop("out", f"{'runs/' if is_shipped(name) else ''}{Path(name)}-{alone[0]}"))
    recipe = Recipe.read(base / "config.json")
    told = {"task": alone[0], "data": str(Path(data).resolve()), "start_from": lasting(name)}
    fresh = Recipe().finetune.model_dump() | told
    return out, recipe.override({"finetune": fresh} | flags.values(given, recipe, "finetune"))
