"""A small model of codes, trained on real pictures, to compare patterns of attention at equal steps."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.paint import VOCABULARY, model
from m6.data.packing import Batch, pack
from m6.data.sample import Branch, Codes, Sample
from m6.model.config import CodeAttentionConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.run import progress

BATCH = 4  # pictures of a step
RATE = 3e-3


def _batch(grids: np.ndarray) -> Batch:
    samples = [Sample("", (), (Branch("text_to_image", (), Codes(grid)),)) for grid in grids]
    return pack(samples, VOCABULARY, 8, 0)


def _losses(made: Transformer, batch: Batch) -> torch.Tensor:
    """Of every code, nats: [N]."""
    mask = build_mask(batch.sample, batch.branch, batch.causal, batch.position, made.config.code_attention)
    hidden = made(batch.ids, batch.position, mask, at=batch.label_at)
    logits = F.linear(hidden, made.embedding.weight[VOCABULARY.text_size :])
    return F.cross_entropy(logits, batch.labels - VOCABULARY.text_size, reduction="none")


def trained(grids: np.ndarray, codes: CodeAttentionConfig, steps: int, smoke: bool = False) -> Transformer:
    """The model after so many steps on grids [N, h, w]: the same pictures in the same order for every pattern."""
    made = model(codes, smoke).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01)
    rng = np.random.default_rng(0)
    for step in progress(steps, f"train, {codes.pattern}"):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20, 1.05 - step / steps)
        loss = _losses(made, _batch(grids[rng.integers(0, len(grids), BATCH)])).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    return made.eval()


@torch.inference_mode()
def bits(made: Transformer, grids: np.ndarray) -> float:
    """Mean bits of a code of grids [N, h, w]."""
    losses = [_losses(made, _batch(grids[at : at + BATCH])) for at in range(0, len(grids), BATCH)]
    return float(torch.cat(losses).mean()) / math.log(2)
