"""Pretraining: the transformer on all objectives of the mixture (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
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
from m6.model.weights import beside, checkpoints, load_weights, newest
from m6.parallel.mesh import ALONE, Ranks
from m6.run import Run, read_metrics
from m6.shipped import run_folder
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import Vocabulary
from m6.train import coarse_codes
from m6.train.config import PretrainStage
from m6.train.cross_entropy import linear_cross_entropy
from m6.train.hardware import choose_device, matrix_dtype, prepare_cpu
from m6.train.loop import Task, train
from m6.train.requirements import check_pretraining
from m6.train.routing import forget_load, routing_figures, routing_loss, tallies, update_bias
from m6.train.start import begin
from m6.train.throughput import batch_counts
from m6.train.vqgan_encode import check_codes, weights_digest
from m6.train.window import Figures
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

SMALLEST_WEIGHT = 1e-30
"""Of all labels of a step: one without any gives a loss of 0."""
LABELS_MULTIPLE = 256
"""Labels are filled up to a multiple of this many: a kernel is made anew for every size of a matrix it meets."""


def batch_loss(
    model: Transformer, batch: Batch, total: Tensor | None = None, ranks: Ranks = ALONE
) -> tuple[Tensor, Figures]:
    """The weighted mean over labels, and the plain sum and count of each objective; experts add theirs to both, to the
    loss in training alone.

    A batch that is a part of a step, which has a `total` of weights [], gets its part of that mean: the losses of all
    parts, over ranks and micro-batches, add up to that of the step.
    """
    mask = build_mask(batch.sample, batch.branch, batch.causal, batch.position, model.config.code_attention)
    fill = (0, -len(batch.labels) % LABELS_MULTIPLE)
    at, labels = F.pad(batch.label_at, fill, value=-1), F.pad(batch.labels, fill)
    total_weight = batch.weights.sum() if total is None else total
    shares = F.pad(batch.weights / total_weight.clamp(min=SMALLEST_WEIGHT), fill)
    hidden = model(
        batch.ids,
        batch.position,
        mask,
        batch.pictures,
        batch.patch_at,
        at=at,
        real=batch.sample >= 0,
        coarse=batch.coarse,
    )
    if model.training:
        hidden = _Touch.apply(hidden, *model.occasional())
    loss, losses = linear_cross_entropy(hidden, model.embedding.weight, labels, shares)
    losses = losses[: len(batch.labels)]
    found = tallies(model, ranks)
    figures: Figures = routing_figures(model, batch, found, ranks)
    for index, name in enumerate(batch.objectives):
        chosen = batch.objective == index
        figures[f"loss/{name}"] = (losses.where(chosen, 0.0).sum(), chosen.sum())
    if model.training:
        loss = loss + routing_loss(found.values(), model.config.experts) / (
            1 if total is None else ranks.config.accumulate
        )
    return loss, figures


class _Touch(torch.autograd.Function):
    """Gives zeros to the gradients of what only some batches use, beside what a batch gives: one without pictures, or a
    rank without them, updates the same parameters as any other."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, *weights: Tensor) -> Tensor:
        ctx.weights = [(weight.shape, weight.dtype) for weight in weights]
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return gradient, *(gradient.new_zeros(shape, dtype=dtype) for shape, dtype in ctx.weights)


def muon_matrices(model: Transformer) -> tuple[str, ...]:
    """The matrices of the blocks, but for routers; embedding, patch projection and norms are AdamW's too."""
    blocks = ((name, p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.dim() >= 2)
    return tuple(name for name, p in blocks if not name.endswith("router.weight"))


def rate_shares(model: Transformer) -> dict[str, float]:
    """The weights of a vision model that is trained along, and their share of AdamW's rate."""
    share = model.config.crops.learning_rate_share
    return {name: share for name, p in model.named_parameters() if ".backbone." in name and p.requires_grad}


def load_backbone(folder: Path, model: ModelConfig, config: VQGANConfig) -> nn.Module | None:
    """The image tokenizer's encoder, if the model reads pictures with it."""
    if model.stem != "backbone":
        return None
    vqgan = VQGAN(config)
    load_weights(newest(folder, "vqgan"), vqgan)
    return vqgan.backbone()


def heldout_batches(steps: Steps, count: int, ranks: Ranks = ALONE) -> list[Batch]:
    """This rank's share of the first whole batches to which every line of the mixture gives; none if nothing is held
    out. It is filled up with idle batches, for every rank computes as many as the others."""
    mixture = steps.mixture
    first = max((entry.first_step for entry in mixture.config.mixture), default=0)
    numbers = [step for step in range(first, first + count) if mixture.drawn(step)]
    own = [steps[step] for step in numbers[ranks.rank :: ranks.world]]
    return own + [steps.idle()] * (-(-len(numbers) // ranks.world) - len(own))


def pretraining(model: Transformer, steps: Steps, heldout: Sequence[Batch] = (), ranks: Ranks = ALONE) -> Task[Batch]:
    """What the loop trains: this model, on the batches of these steps; and what is held out."""
    parts = steps.accumulate
    return Task(
        model=model,
        loss=lambda batch, total: batch_loss(model, batch, total, ranks),
        weight=lambda batch: batch.weights.sum(),
        batches=lambda start, stop, workers: batches(steps, start * parts, stop * parts, workers),
        counts=lambda batch: batch_counts(batch, model.config, steps.vocabulary),
        describe=lambda batch: batch.keys,
        skipped=lambda batch: batch.skipped,
        num_documents=steps.mixture.num_drawn,
        max_skipped=steps.mixture.config.max_skipped,
        matrices=muon_matrices(model),
        rate_shares=rate_shares(model),
        after_step=lambda: update_bias(model, ranks),
        after_skip=lambda: forget_load(model),
        move=to_device,
        heldout=heldout,
    )


def check_ranks(ranks: Ranks, stage: PretrainStage, model: ModelConfig) -> None:
    """UserError unless these ranks can train this model on this mixture."""
    if ranks.joined and stage.loop.optimizer.states != "float32":
        raise UserError("pretrain.loop.optimizer.states '8bit' is for one process; ranks shard them in float32")
    documents = sum(floor(entry.samples) for entry in stage.data.mixture if not entry.first_step)
    if ranks.joined or ranks.config.accumulate > 1:
        ranks.config.check(ranks.world, model.experts.num_experts, documents)


def prepare(
    run: Run, stage: PretrainStage, model_config: ModelConfig, vqgan: VQGANConfig, seed: int, ranks: Ranks
) -> Task[Batch]:
    """What is trained in a run folder. UserError for whatever is missing or does not fit."""
    check_ranks(ranks, stage, model_config)
    check_pretraining(stage, model_config, vqgan, run.folder)
    tokenizer = TextTokenizer.load(run.folder / "tokenizer" / "tokenizer.json")
    vocabulary = Vocabulary(tokenizer.size, vqgan.num_codes)
    codes = run.folder / "vqgan" / "codes"
    if ranks.first and codes.exists():
        check_codes(codes, weights_digest(run.folder / "vqgan"))

    def mixture(split: str) -> Mixture:
        store = codes if codes.exists() else None
        coarse = coarse_codes.folder_of(run.folder) if coarse_codes.wanted(stage.data) else None
        return Mixture(run.folder / "corpus", store, tokenizer, stage.data, seed, split, coarse)

    grid, parts = model_config.patch_grid, (ranks.rank, ranks.world, ranks.config.accumulate)
    steps = Steps(mixture("train"), vocabulary, grid, *parts)
    heldout: Sequence[Batch] = ()
    if stage.loop.heldout_every:  # whole batches, so that the figures are those of one process
        heldout = heldout_batches(Steps(mixture("heldout"), vocabulary, grid), stage.loop.heldout_batches, ranks)
    backbone = load_backbone(run.folder / "vqgan", model_config, vqgan)
    torch.manual_seed(seed)
    begins = bool(stage.start_from) and not checkpoints(run.folder / "pretrain")
    # Ranks make its weights where they lie; those of another run are read whole by each.
    with torch.device("meta" if ranks.joined and not begins else "cpu"):
        model = Transformer(model_config, vocabulary.size, backbone)
    if begins:
        begin(model, run_folder(stage.start_from), run.folder, seed)
    return pretraining(model, steps, heldout, ranks)


def run(run: Run, stage: PretrainStage, model_config: ModelConfig, vqgan: VQGANConfig, seed: int) -> dict[str, Any]:
    """Trains in the run folder's `pretrain`, with all ranks that have joined; returns the figures of the stage."""
    prepare_cpu(stage.loop.num_threads)
    ranks = Ranks.of(stage.parallel, "cuda" if torch.cuda.is_available() and stage.loop.device != "cpu" else "cpu")
    if coarse_codes.wanted(stage.data):
        with ranks.agreed():
            if ranks.first:
                coarse_codes.write_coarse_codes(run.folder, stage.data, vqgan)
    with ranks.agreed():
        task = prepare(run, stage, model_config, vqgan, seed, ranks)
    model = task.model
    assert isinstance(model, Transformer)
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    folder = run.stage("pretrain")
    about = {"config": run.config.model_dump(mode="json"), "beside": beside(run.folder)}
    train(task, stage.loop, folder, "pretrain", about, ranks)
    rows = read_metrics(folder / "metrics.jsonl") if ranks.first else []
    if not rows:
        return {}
    return {
        "parameters": parameters,
        "vocabulary": model.embedding.num_embeddings,
        "tokens": round(sum(row["tokens"] for row in rows)),
        "tokens_per_second": round(median(row["tokens_per_second"] for row in rows), 1),
        "loss": rows[-1]["loss"],
        "precision": str(matrix_dtype(stage.loop.precision, choose_device(stage.loop.device))).removeprefix("torch."),
    }
