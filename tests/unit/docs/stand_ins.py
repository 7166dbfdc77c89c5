"""A folder in which commands of m6 are read as ever, and the work that they ask for is not done.

What a user types goes through the real command line: verbs, recipes, flags, checks of values, of run folders and of
pictures. In place of the work stands a function of the same signature that leaves the traces that later commands of a
page look for: the config of a run, what is done, a picture. So commands of a page are read in their order.
"""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, create_autospec

import pytest
from PIL import Image

import m6.cards
import m6.corpus.check
import m6.encode
import m6.evaluate
import m6.export
import m6.generate.answers
import m6.generate.paintings
import m6.plan
import m6.quickstart
import m6.reproduce
import m6.serve.run
import m6.stages
import m6.task_files
import m6.tasks.from_corpus
from m6.data.config import Entry
from m6.generate.decoding import Decoding
from m6.generate.paintings import Wanted
from m6.generate.sampling import Sampling
from m6.recipes import quickstart
from m6.recipes.recipe import Recipe, named
from m6.tasks.names import SUMMARIES

RUNS = {"runs/quickstart": "quickstart", "runs/mine": "quickstart", "runs/tasks": "tasks", "runs/paint": "paint"}
"""Runs that pages begin with, by their recipes; every other one is made by a command of its page."""
ABLE = "runs/able"
"""A run that has learnt all that can be asked of one."""
FILES = ("cat.png", "table.png", "data/hub/train.parquet")
"""Files of a reader whose kind a command looks at."""
TRACES = {
    "corpus": ["corpus/report.md"],
    "pretrain": ["pretrain/metrics.jsonl"],
    "evaluate": ["results.json", "report.html"],
}
"""Files of stages that commands of other programs name."""
OWN_RECIPE = "from m6.recipes.quickstart import recipe\n"
"""What stands in a reader's recipe where the page shows none."""


def furnish(folder: Path) -> None:
    """Puts into a folder what pages take for granted."""
    for run, recipe in RUNS.items():
        _leave(folder / run, named(recipe), tuple(m6.stages.STAGES))
    base = quickstart.recipe()
    more = Entry(source="emoji", samples=1, objectives={"inpainting": 1.0, "coarse_to_fine": 1.0})
    able = base.override({"pretrain.data.mixture": (*base.pretrain.data.mixture, more)})
    _leave(folder / ABLE, able, tuple(m6.stages.STAGES))
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(folder / name, "PNG")


def do_no_work(patch: pytest.MonkeyPatch) -> None:
    """Puts stand-ins in place of all work."""
    stands: dict[ModuleType, dict[str, Callable[..., Any] | None]] = {
        m6.stages: {"run_stage": _stage, "run_corpus_files": None},
        m6.quickstart: {"run": _quickstart},
        m6.corpus.check: {"check": lambda config, seed=0: iter(())},
        m6.encode: {"_write": None},
        m6.evaluate: {"_measure": None, "_tables": lambda results: "", "_warn": None},
        m6.serve.run: {"serve": None},
        m6.tasks.from_corpus: {"write_tasks": _tasks},
        m6.task_files: {"_readable_by": None},
        m6.export: {"_write": _exported, "_checkpoint": None},
        m6.plan: {"describe": lambda request, dry=False: {}, "page": lambda facts: ""},
        m6.generate.answers: {
            **dict.fromkeys(("caption", "answer", "describe", "poem"), _written),
            "match": lambda folder, image, texts: "",
        },
        m6.generate.paintings: {"paint": _painted},
        m6.reproduce: {"run": _reproduced, "check_machine": None},
        m6.cards: {"compare": lambda expect, folder: []},
    }
    for module, functions in stands.items():
        for name, does in functions.items():
            patch.setattr(module, name, _instead(getattr(module, name), does))
    patch.setattr(m6.encode, "Shards", MagicMock())
    patch.setattr(subprocess, "Popen", _refuse)


def _instead(real: Callable[..., Any], does: Callable[..., Any] | None) -> Any:
    """A function that takes what the real one takes, and nothing else."""
    stand_in = create_autospec(real)
    stand_in.side_effect = does
    return stand_in


def _refuse(*words: Any, **settings: Any) -> None:
    raise AssertionError(f"real work begins, for which there is no stand-in: {words}")


def _leave(folder: Path, recipe: Recipe, stages: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    recipe.write(folder / "config.json")
    for stage in (*stages, "tokenizer"):
        (folder / stage).mkdir(exist_ok=True)
        (folder / stage / "done.json").write_text("{}")
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    for stage, names in TRACES.items():
        for name in names if stage in stages else ():
            (folder / name).touch()


def _exported(checkpoint: Path, out: Path, most: int, run: Path, form: str) -> str:
    if form == "packed":
        _leave(out, Recipe.read(run / "config.json"), tuple(m6.stages.STAGES))
    return ""


def _stage(name: str, folder: Path, recipe: Recipe) -> None:
    if not folder.is_absolute():
        _leave(folder, recipe, (name,))


def _quickstart(folder: Path, recipe: Recipe, arguments: Any) -> int:
    _leave(folder, recipe, tuple(m6.stages.STAGES))
    return 0


def _tasks(corpus: Path, out: Path, readable: Any = None) -> dict[str, dict[str, int]]:
    for name in SUMMARIES:
        (out / name).mkdir(parents=True, exist_ok=True)
    return {}


def _reproduced(commands: Any, folder: Path) -> None:
    """Leaves what the card with these commands looks at."""
    for card in map(m6.cards.read, m6.cards.names()):
        for told in (card, card.smoke):
            names = [name for expect in told.expect for name in expect.files] if told.commands == commands else []
            for path in (folder / name for name in names):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()


def _written(folder: Path, **given: Any) -> str:
    taken = ("image", "question", "title", "attributes", "choices", "form", "max_tokens")
    Decoding(**{name: value for name, value in given.items() if name not in taken})
    return ""


def _painted(folder: Path, output: Path, prompt: str, **given: Any) -> list[str]:
    drawn = inspect.signature(Sampling).parameters
    Sampling(**{name: value for name, value in given.items() if name in drawn})
    wanted = Wanted(prompt, **{name: value for name, value in given.items() if name not in drawn})
    alone = output.suffix.lower() == ".png"
    m6.generate.paintings._check_output(output, alone, wanted)
    m6.generate.paintings.check_learnt(folder, wanted)
    if alone:
        Image.new("RGB", (64, 64)).save(output)
    return []
