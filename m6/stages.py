"""The stages of a run in the order of the work: what each needs, and the function that does it.

Every stage takes an opened run folder, works in its own folder of it, goes on where it was when it was stopped, and
returns its figures. The code of a stage is imported when it starts, so that a help page imports none of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m6.config import UserError
from m6.corpus.config import CorpusConfig
from m6.recipes.recipe import Recipe
from m6.run import Run, duration, read_done

if TYPE_CHECKING:
    from m6.parallel.mesh import Ranks


@dataclass(frozen=True)
class Stage:
    """One stage: what it does, in a line; the stages it reads; the sections of the recipe it is told by."""

    summary: str
    work: Callable[[Run, Recipe], Any]
    needs: tuple[str, ...]
    sections: tuple[str, ...]


def _corpus(run: Run, recipe: Recipe) -> Any:
    return _build(recipe.corpus, run.stage("corpus"), recipe.seed)


def _build(config: CorpusConfig, folder: Path, seed: int) -> Any:
    from m6.corpus.pipeline import build

    return build(config, folder, seed, _scorer)


def _scorer(checkpoint: str) -> Any:
    """What scores pictures and texts by a trained run; called in the workers of the corpus, if at all."""
    from m6.generate.match import Matcher

    return Matcher(Path(checkpoint))


def _tokenizer(run: Run, recipe: Recipe) -> Any:
    from m6.tokenizer import train

    return train.run(run, recipe.tokenizer)


def _vqgan(run: Run, recipe: Recipe) -> Any:
    from m6.train import vqgan

    return vqgan.run(run, recipe.vqgan, recipe.seed)


def _pretrain(run: Run, recipe: Recipe) -> Any:
    from m6.train import pretrain

    return pretrain.run(run, recipe.pretrain, recipe.model, recipe.vqgan.model, recipe.seed)


def _finetune(run: Run, recipe: Recipe) -> Any:
    from m6.train import finetune

    return finetune.run(run, recipe.finetune, recipe.seed)


def _evaluate(run: Run, recipe: Recipe) -> Any:
    from m6.train import evaluate

    return evaluate.run(run, recipe.evaluate, recipe.seed)


STAGES = {
    "corpus": Stage("read, clean and deduplicate the sources into shards", _corpus, (), ("corpus",)),
    "tokenizer": Stage("learn the vocabulary", _tokenizer, ("corpus",), ("tokenizer",)),
    "vqgan": Stage("train the image tokenizer", _vqgan, ("corpus",), ("vqgan",)),
    "pretrain": Stage(
        "train the model on all objectives", _pretrain, ("corpus", "tokenizer", "vqgan"), ("model", "pretrain")
    ),
    "evaluate": Stage(
        "score the model on held-out data, write the report", _evaluate, ("corpus", "tokenizer", "vqgan", "pretrain"),
        ("evaluate",),
    ),
}  # fmt: skip
"""The stages of a whole run, in their order."""
FINETUNE = Stage("train a trained model on one task, in a run folder of its own", _finetune, (), ("finetune",))


def _stage(name: str) -> Stage:
    return FINETUNE if name == "finetune" else STAGES[name]


def run_stage(name: str, folder: Path, recipe: Recipe) -> None:
    """Do one stage in a run folder, or say that it is done. Raises UserError if an earlier stage is missing.

    Started by torchrun, a training of the model is done by all processes together, of which the first writes.
    """
    if launched():
        from m6.parallel.processes import joined

        section = recipe.finetune if name == "finetune" else recipe.pretrain
        with joined(section.parallel, section.loop.device) as ranks:
            _run_on(ranks, name, folder, recipe)
        return
    run = _open(name, folder, recipe)
    try:
        fresh = _work(name, run, recipe)
    except UserError:
        run.leave()
        raise
    if name == "evaluate" and (fresh or not (run.folder / "report.html").exists()):
        from m6.train import report

        report.write(run)
    print(_summary(name, folder, fresh), flush=True)


def launched() -> bool:
    """Whether torchrun, or what sets the same environment, has started this process as one of several, or alone."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def _run_on(ranks: Ranks, name: str, folder: Path, recipe: Recipe) -> None:
    from m6.parallel.fingerprint import check_shared, compare, fingerprint

    with ranks.agreed():
        if name not in ("pretrain", "finetune"):
            raise UserError(f"m6 {name} is the work of one process; torchrun is for pretrain and finetune")
        ranks.config.axes(ranks.world)
        run = _open(name, folder, recipe) if ranks.first else Run(folder.resolve(), recipe)
    (done,) = ranks.gather(ranks.first and run.done(name) is not None)[:1]
    try:
        check_shared(ranks, run.folder)
        compare(ranks, fingerprint(run.folder, recipe))
        figures = {} if done else _stage(name).work(run, recipe)
    except UserError:
        if ranks.first:
            run.leave()
        raise
    if ranks.first:
        if not done:
            run.finish(name, **figures)
        print(_summary(name, folder, not done), flush=True)


def _open(name: str, folder: Path, recipe: Recipe) -> Run:
    for earlier in _stage(name).needs:
        if read_done(folder, earlier) is None:
            raise UserError(f"{name} needs the {earlier} of {folder}, run `m6 {earlier}` with the same words first")
    return Run.open(folder, recipe)


def _work(name: str, run: Run, recipe: Recipe) -> bool:
    """Whether there was something to do, which is done now."""
    if run.done(name) is not None:
        return False
    run.stage(name)  # starts the clock, so that the seconds include the imports
    figures = _stage(name).work(run, recipe)
    if run.done(name) is None:
        run.finish(name, **(figures or {}))
    return True


def run_corpus_files(folder: Path, config: CorpusConfig) -> None:
    """Build a corpus that stands alone in a folder, with its report; or say that it is done."""
    run = Run.open(folder, config)
    started = time.monotonic()
    try:
        figures = _build(config, run.folder, seed=0)
    except UserError:
        run.leave()
        raise
    print(
        f"{figures['read']:,} records read, {figures['kept']:,} kept ({figures['pairs']:,} with pictures,"
        f" {figures['texts']:,} plain texts), in {duration(time.monotonic() - started)}: {folder / 'report.html'}"
    )


def _summary(name: str, folder: Path, fresh: bool) -> str:
    figures = read_done(folder, name) or {}
    cost = f"{duration(figures['seconds'])}, at most {figures['peak_rss_gib']:.2f} GiB"
    if fresh:
        return f"{name}: done in {cost}"
    return f"{name}: already done (in {cost}); to do it again, remove {folder / name} and what was made from it"
