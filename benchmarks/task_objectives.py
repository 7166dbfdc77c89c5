"""What each objective of pretraining brings to the tasks: the recipe `tasks`, with one of them left out at a time.

    python -m benchmarks.task_objectives runs/tasks --out runs/task-objectives [--share S] [--only NAME ...]

RUN has the corpus, the vocabulary and the image tokenizer, which all share. Every arm is a run folder of its own under
--out, pretrained for share S of the recipe's updates; what was stopped goes on, what is done is not done again. The end
prints the call of `benchmarks.tasks` that finetunes all of them for the same minutes and puts them into one table.

An objective that is left out leaves its pictures and texts to those that stay, so that every arm makes as many updates;
where none stay the source goes, and a step has fewer tokens. `no_texts` keeps the texts of pictures alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import check, chosen
from benchmarks.runners import say
from m6.config import UserError
from m6.recipes import tasks
from m6.recipes.recipe import Recipe
from m6.run import Run, read_done

SHARED = ("corpus", "tokenizer", "vqgan")
WITHOUT = {
    "all": (),
    "no_captioning": ("captioning",),
    "no_questions": ("visual_question_answering",),
    "no_matching": ("matching",),
    "no_texts": ("poem", "question_answering", "product_description"),
}
"""Arms, and the objectives that they leave out."""


def recipe(arm: str, share: float) -> Recipe:
    """The recipe `tasks` at this share of its length, without the objectives of an arm."""
    whole = tasks.recipe()
    look, steps = (round(share * count) for count in (600, whole.pretrain.loop.num_steps))
    short = tasks.recipe(look, steps)
    entries = []
    for entry in short.pretrain.data.mixture:
        kept = {name: weight for name, weight in entry.objectives.items() if name not in WITHOUT[arm]}
        if kept:
            entries.append({**entry.model_dump(), "objectives": kept})
    every = {f"pretrain.loop.{name}": steps for name in ("heldout_every", "checkpoint_every")}
    return short.override({"pretrain.data.mixture": entries, **every, "pretrain.loop.keep_checkpoints": 1})


def pretrain(source: Path, folder: Path, arm: str, share: float) -> None:
    """The run of an arm, unless it is done."""
    from m6.stages import run_stage

    if read_done(folder, "pretrain") is not None:
        return
    say(f"{arm}: without {', '.join(WITHOUT[arm]) or 'nothing left out'}")
    run = Run.open(folder, recipe(arm, share))
    for stage in SHARED:
        if not (run.folder / stage).exists():
            (run.folder / stage).symlink_to((source / stage).resolve(), target_is_directory=True)
    run_stage("pretrain", folder, recipe(arm, share))


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.task_objectives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="RUN", help="a run of the recipe tasks, but for its pretraining")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the trainings stand")
    parser.add_argument("--share", type=float, default=0.25, help="of the recipe's updates (0.25)")
    parser.add_argument("--only", nargs="+", default=(), metavar="ARM", help=", ".join(WITHOUT))
    given = parser.parse_args(words)
    try:
        check(given)
        if not 0.01 <= given.share <= 1:
            raise UserError(f"benchmarks: --share {given.share} is no share of the updates, it takes 0.01 to 1")
        arms = chosen(given.only, WITHOUT)
        for stage in SHARED:
            if read_done(given.source, stage) is None:
                raise UserError(f"benchmarks: {given.source} has no finished {stage}; make it with `m6 {stage} tasks`")
        for arm in arms:
            pretrain(given.source, given.out / arm, arm, given.share)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    also = " ".join(f"{arm}={given.out / arm}" for arm in arms if arm != "all")
    print(f"python -m benchmarks.tasks --run {given.out / 'all'} --data FOLDER{f' --also {also}' if also else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
