"""What the programs of `benchmarks.train_step` share: sizes, the mask, embedded rows, the update, and their main.

In: a file of `benchmarks.mixed` and a way to make a model. The model takes a batch and returns its mean loss. This file
runs in the environments of peers, where only torch is sure to be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from resident import peak_of_work, resident
from serve import serve
from torch import Tensor, nn

LAYERS, WIDTH, HEADS, INNER, EXPERTS, PATCH = 6, 256, 8, 1024, 8, 8  # as TINY and EXPERTS of benchmarks.step


def patches() -> nn.Conv2d:
    """The linear projection of patches."""
    return nn.Conv2d(3, WIDTH, PATCH, stride=PATCH, bias=False)


def embedded(batch: dict[str, Any], embedding: nn.Module, projection: nn.Conv2d) -> Tensor:
    """[R, T, D]: tokens, and patches where they belong."""
    rows: Tensor = embedding(batch["ids"])
    if len(batch["patch_at"]):
        pixels = [group.permute(0, 3, 1, 2) / 127.5 - 1.0 for group in batch["pictures"]]
        found = torch.cat([projection(group).flatten(2).transpose(1, 2).flatten(0, 1) for group in pixels])
        rows = rows.view(-1, WIDTH).index_copy(0, batch["patch_at"], found).view_as(rows)
    return rows


def allowed(sample: Tensor, branch: Tensor, causal: Tensor) -> Tensor:
    """[R, T, T] bool: where a query may look."""
    order = torch.arange(sample.shape[1])
    same = sample[:, :, None] == sample[:, None, :]
    own = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    return same & own & (~causal[:, None, :] | (order[None, :] <= order[:, None]))


class Step:
    """A model and its optimizer; `run` trains on some batches and returns their real tokens."""

    def __init__(self, model: Callable[[], nn.Module], precision: str) -> None:
        torch.set_flush_denormal(True)
        self.half = precision == "bfloat16"
        torch.manual_seed(0)
        self.model = model().train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)

    def run(self, batches: list[dict[str, Any]]) -> int:
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                loss = self.model(batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            assert (loss + norm).isfinite()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return sum(int((batch["sample"] >= 0).sum()) for batch in batches)


def main(model: Callable[[int, str], nn.Module]) -> None:
    """FILE VOCABULARY PRECISION KIND [--memory]: serve; with `--memory`, what is answered is the peak of a step in KiB,
    over what was resident before."""
    path, vocabulary, precision, kind, *memory = sys.argv[1:]
    batches = torch.load(path, weights_only=True)
    before = resident()
    step = Step(lambda: model(int(vocabulary), kind), precision)
    serve(lambda: peak_of_work(lambda: step.run(batches), before) if memory else step.run(batches))
