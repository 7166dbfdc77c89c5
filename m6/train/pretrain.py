"""Pretraining: the transformer on all objectives of the mixture (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.config import UserError
from m6.data.loader import Steps, batches, to_device
from m6.data.mixture import Mixture
from m6.data.packing import Batch
from m6.model.config import ModelConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.model.weights import load_weights, newest
from m6.run import Run, read_metrics
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.config import PretrainStage
from m6.train.cross_entropy import linear_cross_entropy
from m6.train.hardware import choose_device, matrix_dtype, prepare_cpu
from m6.train.loop import Task, train
from m6.train.routing import routing_figures, routing_loss, update_bias
from m6.train.throughput import batch_counts
from m6.train.window import Figures
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

LABELS_MULTIPLE = 256
"""Labels are filled up to a multiple of this many: a kernel is made anew for every size of a matrix it meets."""


def batch_loss(model: Transformer, batch: Batch) -> tuple[Tensor, Figures]:
    """The weighted mean over labels, and the plain sum and count of each objective; experts add theirs to both, to the
    loss in training alone."""
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    fill = (0, -len(batch.labels) % LABELS_MULTIPLE)
    at, labels = F.pad(batch.label_at, fill, value=-1), F.pad(batch.labels, fill)
    shares = F.pad(batch.weights / batch.weights.sum(), fill)
    hidden = model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=at, real=batch.sample >= 0)
    loss, losses = linear_cross_entropy(hidden, model.embedding.weight, labels, shares)
    losses = losses[: len(batch.labels)]
    figures: Figures = dict(routing_figures(model, batch))
    for index, name in enumerate(batch.objectives):
        chosen = batch.objective == index
        figures[f"loss/{name}"] = (losses.where(chosen, 0.0).sum(), chosen.sum())
    return loss + routing_loss(model) if model.training else loss, figures


def muon_matrices(model: Transformer) -> tuple[str, ...]:
    """The matrices of the blocks, but for routers; embedding, patch projection and norms are AdamW's too."""
    blocks = ((name, p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.dim() >= 2)
    return tuple(name for name, p in blocks if not name.endswith("router.weight"))


def rate_shares(model: Transformer) -> dict[str, float]:
    """The weights of a vision model that is trained along, and their share of AdamW's rate."""
    share = model.config.crops.learning_rate_share
    return {name: share for name, p in model.named_parameters() if ".backbone." in name and p.requires_grad}


def load_backbone(folder: Path, model: ModelConfig, config: VQGANConfig) -> nn.Module | None:
    """The image tokenizer's encoder, if the model reads pictures with it. UserError if the two do not fit."""
    if model.stem != "backbone":
        return None
    if (model.patch_size, model.backbone_channels) != (config.downsample, config.channels[-1]):
        raise UserError(
            f"model.patch_size {model.patch_size} and model.backbone_channels {model.backbone_channels} must be those "
            f"of the image tokenizer, {config.downsample} and {config.channels[-1]}, for model.stem 'backbone'"
        )
    vqgan = VQGAN(config)
    load_weights(newest(folder, "vqgan"), vqgan)
    return vqgan.backbone()


def heldout_batches(steps: Steps, count: int) -> list[Batch]:
    """The first batches to which every line of the mixture gives; none if nothing is held out."""
    mixture = steps.mixture
    first = max((entry.first_step for entry in mixture.config.mixture), default=0)
    return [steps[step] for step in range(first, first + count) if mixture.samples(step)]


def pretraining(model: Transformer, steps: Steps, heldout: Sequence[Batch] = ()) -> Task[Batch]:
    """What the loop trains: this model, on the batches of these steps; and what is held out."""
    return Task(
        model=model,
        loss=lambda batch: batch_loss(model, batch),
        batches=lambda start, stop, workers: batches(steps, start, stop, workers),
        counts=lambda batch: batch_counts(batch, model.config, steps.vocabulary),
        describe=lambda batch: ", ".join(batch.keys),
        matrices=muon_matrices(model),
        rate_shares=rate_shares(model),
        after_step=lambda: update_bias(model),
        move=to_device,
        heldout=heldout,
    )


def run(run: Run, stage: PretrainStage, model_config: ModelConfig, vqgan: VQGANConfig, seed: int) -> dict[str, Any]:
    """Trains in the run folder's `pretrain`; returns the figures of the stage."""
    prepare_cpu(stage.loop.num_threads)
    if not stage.data.mixture:
        raise UserError("pretrain.data.mixture is empty; a recipe names at least one source with its objectives")
    tokenizer = TextTokenizer.load(run.folder / "tokenizer" / "tokenizer.json")
    vocabulary = Vocabulary(tokenizer.size, vqgan.num_codes)
    codes = run.folder / "vqgan" / "codes"

    def steps_of(split: str) -> Steps:
        store = codes if codes.exists() else None
        mixture = Mixture(run.folder / "corpus", store, tokenizer, stage.data, seed, split)
        return Steps(mixture, vocabulary, model_config.patch_grid)

    steps = steps_of("train")
    heldout = heldout_batches(steps_of("heldout"), stage.loop.heldout_batches) if stage.loop.heldout_every else ()
    torch.manual_seed(seed)
    model = Transformer(model_config, vocabulary.size, load_backbone(run.folder / "vqgan", model_config, vqgan))
    folder = run.stage("pretrain")
    train(pretraining(model, steps, heldout), stage.loop, folder, "pretrain", run.config.model_dump(mode="json"))
    rows = read_metrics(folder / "metrics.jsonl")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "vocabulary": vocabulary.size,
        "tokens": round(sum(row["tokens"] for row in rows)),
        "tokens_per_second": round(median(row["tokens_per_second"] for row in rows), 1),
        "loss": rows[-1]["loss"],
        "precision": str(matrix_dtype(stage.loop.precision, choose_device(stage.loop.device))).removeprefix("torch."),
    }
