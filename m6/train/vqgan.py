"""Trains the image tokenizer on the pictures of the corpus, then writes the codes of every picture, row for row."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from m6.config import UserError, differences
from m6.data.loader import batches
from m6.data.pictures import PictureBatch, Pictures, to_tensor
from m6.model.weights import WEIGHTS, checkpoints, load_weights, newest
from m6.parallel.mesh import ALONE
from m6.run import Run, read_metrics
from m6.shipped import run_folder
from m6.train.checkpoint_files import write
from m6.train.config import VQGANStage
from m6.train.hardware import prepare_cpu
from m6.train.loop import Opponent, Task, train
from m6.train.vqgan_encode import encode_corpus, weights_digest
from m6.train.vqgan_features import Features, features_of
from m6.train.vqgan_figures import FEWEST_USED, Grid, figures_of
from m6.train.window import Figures
from m6.vqgan.config import VQGANConfig
from m6.vqgan.figures import psnr, use_of_codes
from m6.vqgan.interop import read
from m6.vqgan.losses import Losses, PatchDiscriminator
from m6.vqgan.model import VQGAN


def run(run: Run, stage: VQGANStage, seed: int) -> dict[str, Any]:
    """Trains in the run folder's `vqgan`, encodes the corpus, and returns the figures of the stage."""
    prepare_cpu(stage.loop.num_threads)
    corpus, folder = run.folder / "corpus", run.stage("vqgan")
    about = {"config": run.config.model_dump(mode="json")}
    features = features_of(stage, corpus, folder, about, seed)
    task = prepare(run, stage, seed, features)
    model = task.model
    assert isinstance(model, VQGAN)
    if not stage.frozen:
        train(task, stage.loop, folder, "vqgan", about)
    elif not checkpoints(folder):
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        write(folder, 0, {WEIGHTS: weights}, about, ALONE)
    encode_corpus(model.cpu(), corpus, folder / "codes", weights_digest(folder))
    found = figures_of(model, corpus, folder / "codes", features.on("cpu") if features else None)
    if found["codebook_used"] < FEWEST_USED:
        used = round(found["codebook_used"] * stage.model.num_codes)
        said = f"vqgan: only {used} of {stage.model.num_codes} codes are used, so pictures are lost in it"
        print(f"{said}; train it for longer, at a lower rate, or from another seed", file=sys.stderr, flush=True)
    rows = read_metrics(folder / "metrics.jsonl")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **(_of_training(rows) if rows else {}),
        **found,
        **({"features": features.digest} if features else {}),
    }


def _of_training(rows: list[dict[str, Any]]) -> dict[str, float]:
    speed = median(row["tokens_per_second"] for row in rows)
    return {"pictures_per_second": round(speed, 1), "psnr_train": rows[-1]["psnr"]}


def begin(stage: VQGANStage, seed: int) -> VQGAN:
    """The model with the weights that it begins with: those of a run, published ones, or drawn by chance. UserError if
    they are of another shape than the recipe's."""
    torch.manual_seed(seed)
    if not stage.start_from:
        return VQGAN(stage.model)
    start = run_folder(stage.start_from)
    model = _of_run(start) if (start / "vqgan").is_dir() else read(start)
    free = ("quantizer.decay", "quantizer.revive_below", "quantizer.commitment", "quantizer.entropy")
    unlike = [each for each in differences(model.config, stage.model) if not each.startswith(free)]
    if unlike:
        raise UserError(
            f"vqgan.start_from: {stage.start_from} has another shape than vqgan.model (field: there, here): "
            f"{'; '.join(unlike)}"
        )
    fresh = VQGAN(stage.model)
    fresh.load_state_dict(model.state_dict())
    return fresh


def _of_run(folder: Path) -> VQGAN:
    model = VQGAN(VQGANConfig.read(folder / "config.json", section="vqgan.model"))
    load_weights(newest(folder / "vqgan", "vqgan"), model)
    return model


def prepare(run: Run, stage: VQGANStage, seed: int, features: Features | None) -> Task[PictureBatch]:
    """What is trained in a run folder. UserError for whatever is missing or does not fit."""
    pictures = Pictures(run.folder / "corpus", stage.batch_size, seed, stage.crop)
    model: VQGAN = begin(stage, seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    losses = stage.losses
    discriminator: nn.Module | None = None
    if losses.discriminator:
        discriminator = PatchDiscriminator(losses.discriminator_channels, losses.discriminator_layers)
        discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    both = Losses(losses, model.last_layer, features.maps if features else None, discriminator)
    task = Task(
        model=model,
        loss=tokenizer_loss(model, both),
        batches=lambda start, stop, workers: batches(pictures, start, stop, workers),
        counts=lambda batch: {"tokens": len(batch.ids)},
        weight=lambda batch: torch.ones(()),
        describe=lambda batch: batch.ids,
        skipped=lambda batch: batch.skipped,
        num_documents=lambda step: step * stage.batch_size,
        max_skipped=stage.max_skipped,
        after_step=model.quantizer.after_step,
        after_skip=model.quantizer.after_skip,
        average=stage.average,
    )
    if discriminator is not None:
        task.opponent = Opponent(discriminator, lambda *_: counted(both.against()), stage.discriminator)
    if stage.grid_every:
        task.look = Grid(stage, run.folder / "corpus", run.folder / "vqgan" / "grids", features)
    return task


def tokenizer_loss(model: VQGAN, losses: Losses) -> Callable[[PictureBatch, Tensor | None], tuple[Tensor, Figures]]:
    """The loss of the task, with its figures."""

    def loss(batch: PictureBatch, _: Tensor | None) -> tuple[Tensor, Figures]:
        images = to_tensor(batch.pixels).to(next(model.parameters()).device)
        restored, codes, auxiliary = model(images)
        total, parts = losses(images, restored, auxiliary, batch.step)
        with torch.no_grad():
            quality = psnr(images, restored.float().clamp(-1, 1)).mean()
            use = use_of_codes(torch.bincount(codes.flatten(), minlength=model.config.num_codes))
        figures: dict[str, float | Tensor] = {"psnr": quality, "codes/entropy": use.entropy, **parts}
        return total, {name: (value, 1.0) for name, value in figures.items()}

    return loss


def counted(answer: tuple[Tensor, dict[str, Tensor]] | None) -> tuple[Tensor, Figures] | None:
    """The answer of the second player with its figures as the loop takes them."""
    if answer is None:
        return None
    loss, parts = answer
    return loss, {name: (value, 1.0) for name, value in parts.items()}
