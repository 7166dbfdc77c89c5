"""Finetuning: a trained model on the examples of one task, by the loop of pretraining.

    m6 finetune TASK --from RUN --data PATH

In: a run folder and a data folder. Out: a run folder of its own, with the tokenizers of the other and a model that does
one thing well; it is evaluated, asked and exported as any run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from m6.config import UserError
from m6.data.loader import Steps
from m6.data.packing import Batch
from m6.generate.engine import Engine
from m6.generate.segments import RunSegments
from m6.model.initial import initialise
from m6.model.lora import add_lora
from m6.model.weights import beside, check_beside, checkpoints, newest_weights
from m6.parallel.mesh import Ranks
from m6.run import Run, read_done, read_metrics
from m6.shipped import run_folder
from m6.tasks.example import Example
from m6.tasks.files import has_split, read_split
from m6.tasks.task import named
from m6.train.config import FinetuneStage
from m6.train.examples import Examples, check_lengths
from m6.train.hardware import prepare_cpu
from m6.train.loop import Task, train
from m6.train.pretrain import heldout_batches, pretraining

BASES = ("tokenizer", "vqgan")
"""Stages whose work a finetuned run takes over."""


def run(run: Run, stage: FinetuneStage, seed: int) -> dict[str, Any]:
    """Trains in the run folder's `finetune`, with all ranks that have joined; returns the figures of the stage."""
    prepare_cpu(stage.loop.num_threads)
    ranks = Ranks.of(stage.parallel, "cuda" if torch.cuda.is_available() and stage.loop.device != "cpu" else "cpu")
    with ranks.agreed():
        if ranks.first:
            take_over(run_folder(stage.start_from), run.folder)
    with ranks.agreed():
        try:
            examples = examples_of(stage, "train")
            trained = prepare(run.folder, stage, examples, seed, ranks)
        except UserError:
            if ranks.first:
                give_back(run.folder)
            raise
    parameters = sum(each.numel() for each in trained.model.parameters() if each.requires_grad)
    folder = run.stage("finetune")
    loop = stage.loop if trained.heldout else stage.loop.override({"heldout_every": 0})
    about = {"config": run.config.model_dump(mode="json"), "beside": beside(run.folder)}
    train(trained, loop, folder, "finetune", about, ranks)
    rows = read_metrics(folder / "metrics.jsonl") if ranks.first else []
    if not rows:
        return {}
    return {
        "task": stage.task,
        "examples": len(examples),
        "examples_sha256": digest(examples),
        "parameters_trained": parameters,
        "tokens": round(sum(row["tokens"] for row in rows)),
        "tokens_per_second": round(median(row["tokens_per_second"] for row in rows), 1),
        "loss": rows[-1]["loss"],
    }


def take_over(base: Path, folder: Path) -> None:
    """Copies what a finetuned run needs of the run it begins with, all but weights. UserError if that has no weights,
    or weights of another training."""
    if checkpoints(folder / "finetune"):
        return
    check_beside(newest_weights(base), base)
    for name in BASES:
        if (folder / name).exists() or not (base / name).exists():
            continue
        temporary = folder / f".{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(
            base / name, temporary, ignore=shutil.ignore_patterns("codes", "coarse", "optimizer", "*.jsonl")
        )
        os.replace(temporary, folder / name)


def give_back(folder: Path) -> None:
    """Removes what was taken over, if nothing has been trained, so that a corrected command finds the folder free."""
    if not checkpoints(folder / "finetune"):
        for name in BASES:
            shutil.rmtree(folder / name, ignore_errors=True)


def check_codes(folder: Path, base: str) -> None:
    """UserError if the image tokenizer that was taken over makes the same of every picture."""
    if (read_done(folder, "vqgan") or {}).get("codebook_entropy", 1.0) <= 0:
        raise UserError(
            f"{base}: its image tokenizer uses one code alone, so there is nothing to paint with; take a run whose "
            "tokenizer was trained for longer, such as one of the recipe paint"
        )


def prepare(folder: Path, stage: FinetuneStage, examples: Sequence[Example], seed: int, ranks: Ranks) -> Task[Batch]:
    """What is trained. UserError for whatever is missing or does not fit."""
    weights = None if checkpoints(folder / "finetune") else newest_weights(run_folder(stage.start_from))
    engine = Engine.load(folder, weights, device="cpu")
    segments = RunSegments(engine, folder)
    data = engine.data.override({"max_skipped": stage.max_skipped})
    chosen = named(stage.task)
    if chosen.KIND == "painted" and (stage.jitter or stage.blind):
        name = "jitter" if stage.jitter else "blind"
        raise UserError(f"--finetune.{name}: pictures are what is learnt by {stage.task}, as they are; leave it out")

    if chosen.KIND == "painted":
        check_codes(folder, stage.start_from)

    def steps(of: Sequence[Example], jitter: float, *parts: int) -> Steps:
        check_lengths(of, segments, stage.data)
        found = Examples(chosen, of, segments, data, stage.samples, seed, jitter)
        return Steps(found, engine.vocabulary, engine.model.config.patch_grid, *parts)

    training = steps(examples, stage.jitter, ranks.rank, ranks.world, ranks.config.accumulate)
    heldout: Sequence[Batch] = ()
    if stage.loop.heldout_every and has_split(stage.task, Path(stage.data), "validation"):
        held = steps(examples_of(stage, "validation"), 0.0)
        heldout = heldout_batches(held, stage.loop.heldout_batches, ranks)
    torch.manual_seed(seed)
    if stage.fresh:
        initialise(engine.model, engine.model.config, seed)
    if stage.lora.rank:
        add_lora(engine.model, stage.lora.rank, stage.lora.alpha)
    trained = pretraining(engine.model, training, heldout, ranks)
    if stage.lora.rank:
        trained.matrices = ()  # thin ones have no use for Muon
    return trained


def examples_of(stage: FinetuneStage, split: str) -> list[Example]:
    """Those of a split, without their pictures if it is blind. UserError for data that does not fit."""
    found = read_split(stage.task, Path(stage.data), split)
    return [replace(each, picture=None) for each in found] if stage.blind else found


def digest(examples: Sequence[Example]) -> str:
    """A short hash of what examples ask and of their answers, in their order; for results, to tell splits apart."""
    found = hashlib.sha256()
    for each in examples:
        found.update("\0".join((each.key, each.prompt, *each.answers, *each.choices)).encode())
    return found.hexdigest()[:16]
