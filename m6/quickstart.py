"""The quickstart: every stage in turn, from the bundled sample to the report.

Each stage is a process of its own, the same command a user could type. So its peak memory is its own, its threads do
not live on beside the loader workers of the next (forking beside the threads of a data engine can hang), and a stage
that dies for want of memory is a line, not the end of everything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from m6.config import UserError
from m6.recipes.recipe import Recipe
from m6.run import duration, read_done
from m6.shipped import DEFAULT, SHIPPED
from m6.stages import STAGES, launched
from m6.train.requirements import check_recipe


def run(folder: Path, recipe: Recipe, arguments: Sequence[str]) -> int:
    """Run all stages of a recipe in `folder` and return the exit code; `arguments` are the words that give the recipe.
    UserError, before anything is done, if this machine cannot do all of it."""
    if launched():
        raise UserError("m6 quickstart is the work of one process; torchrun is for pretrain and finetune")
    if read_done(folder, "pretrain") is None:
        check_recipe(recipe, folder)
    if read_done(folder, "corpus") is None and not recipe.pretrain.start_from and _fits_mini(recipe):
        print("with --from mini it begins with the model of the package, and trains a fifth of the updates", flush=True)
    for position, name in enumerate(STAGES, start=1):
        print(f"[{position}/{len(STAGES)}] {name}: {STAGES[name].summary}", flush=True)
        code = _run_child(name, arguments)
        if code < 0:
            reason = "perhaps for want of memory" if code == -signal.SIGKILL else signal.Signals(-code).name
            print(f"m6: {name} was killed ({reason}); the same command goes on where it was", file=sys.stderr)
            return 1
        if code or read_done(folder, name) is None:  # it failed, or was asked to stop
            return code
    print(_closing(folder))
    return 0


def _fits_mini(recipe: Recipe) -> bool:
    """Whether the recipe could begin with the model of the package: their pictures have to be of one size."""
    return Recipe.read(SHIPPED[DEFAULT] / "config.json").corpus.image_size == recipe.corpus.image_size


def _run_child(name: str, arguments: Sequence[str]) -> int:
    command = [sys.executable, "-m", "m6.quickstart", name, *arguments]
    # The child reads its end of this pipe only to learn that the parent is gone.
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:  # a terminal sends it to the child too, which says so and ends in its own time
            try:
                return child.wait(timeout=10) or 1
            except subprocess.TimeoutExpired:
                child.kill()
                raise


def _closing(folder: Path) -> str:
    figures = [(name, read_done(folder, name) or {}) for name in STAGES]
    rows = [f"  {name:<10} {duration(f['seconds']):>12} {f['peak_rss_gib']:>8.2f} GiB" for name, f in figures]
    total = duration(sum(f["seconds"] for _, f in figures))
    return "\n".join(
        [
            "",
            f"Done: a small M6 that reads and paints, in {total}.",
            *rows,
            "",
            f"Open {folder / 'report.html'} in a browser, and go on from here:",
            f"  m6 generate paint --run {folder} --prompt 红苹果 --output apple.png",
            f"  m6 generate caption --run {folder} --image apple.png",
            f"  m6 generate answer --run {folder} --image apple.png --question 这是什么？",
            f"  m6 generate poem --run {folder} --title 春晓 --form 五言绝句",
        ]
    )


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, lest it go on writing in the run folder."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)  # every file is atomic, so no moment is a bad one

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    from m6.cli import main

    _end_with_parent()
    sys.exit(main())
