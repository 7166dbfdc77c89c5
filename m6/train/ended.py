"""Whether the training of a run folder has ended as it was meant to: one line about it if not."""

from __future__ import annotations

import sys
from pathlib import Path

from m6.recipes.recipe import Recipe
from m6.run import read_done, read_metrics
from m6.train.divergence import Level


def unfinished(folder: Path) -> str:
    """That the training which made the newest weights has not ended, at which of its steps they stand, and whether the
    loss has risen further than it may; "" if it has ended, or has none yet."""
    recipe = Recipe.read(folder / "config.json")
    stage = "finetune" if recipe.finetune.task else "pretrain"
    if read_done(folder, stage) is not None:
        return ""
    loop = recipe.finetune.loop if stage == "finetune" else recipe.pretrain.loop
    newest = max((int(path.name.removeprefix("step-")) for path in (folder / stage).glob("step-*")), default=0)
    if not newest:
        return ""  # there are no weights, as whoever wants them will say
    line = f"{folder}: its {stage} has not ended; this is step {newest} of {loop.num_steps}"
    diverged = _diverged(folder / stage / "metrics.jsonl", loop.largest_rise)
    return f"{line}; it diverged at step {diverged}" if diverged else line


def warn(folder: Path) -> None:
    """Says so on stderr."""
    if line := unfinished(folder):
        print(f"m6: {line}", file=sys.stderr, flush=True)


def _diverged(metrics: Path, largest_rise: float) -> int:
    """The step at which the loss had risen by more than `largest_rise`, as `m6.train.guard` has it; 0 if it never
    had."""
    level = Level()
    for row in read_metrics(metrics):
        if 0 < largest_rise < level.add(row["loss"]):
            return int(row["step"])
    return 0
