"""Our training step under measurement: python -m benchmarks.step FILE VOCABULARY PRECISION KIND [--memory]

FILE is one of `benchmarks.mixed`, VOCABULARY its number of ids, PRECISION that of matrix products, KIND dense
or experts. Forward, backward, clipping and
one update on each batch, by the parts of the real loop. AdamW alone, since the peers have no Muon.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.mixed import PATCH_SIZE, read_batches
from benchmarks.peers.resident import peak_of_work, resident
from benchmarks.peers.serve import serve
from m6.data.packing import Batch
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.transformer import Transformer
from m6.parallel.fsdp import shard
from m6.parallel.mesh import ALONE, Ranks
from m6.train.config import OptimizerConfig
from m6.train.hardware import matrix_dtype, prepare_cpu
from m6.train.loop import autocast
from m6.train.optimizer import Optimizers
from m6.train.pretrain import batch_loss

CPU = torch.device("cpu")
TINY = ModelConfig(num_layers=6, hidden_size=256, num_heads=8, ffn_size=1024, patch_size=PATCH_SIZE)
"""The size that is measured."""
EXPERTS = ExpertsConfig(num_experts=8)
"""Top-1, nothing dropped: what a token passes is as wide as in the dense model."""


class Step:
    """A model and its optimizer; `run` trains on some batches and returns their real tokens. With ranks, each has
    batches of its own, and as many of them."""

    def __init__(self, vocabulary: int, precision: str, with_experts: bool, ranks: Ranks = ALONE) -> None:
        self.dtype = matrix_dtype(precision)
        prepare_cpu(0)
        torch.manual_seed(0)
        config = TINY.model_copy(update={"experts": EXPERTS}) if with_experts else TINY
        self.model = Transformer(config, vocabulary).train()
        if ranks.joined:
            shard(self.model, ranks, self.dtype)
        rates = OptimizerConfig(learning_rate=1e-4, muon_learning_rate=0.0)
        self.optimizers = Optimizers(self.model, rates, 10**6, ranks=ranks)
        self.ranks = ranks

    def run(self, batches: list[Batch]) -> int:
        for batch in batches:
            total = self.ranks.sum(batch.weights.sum())
            with autocast(CPU, self.dtype):
                loss, _ = batch_loss(self.model, batch, total, self.ranks)
            loss.backward()
            norm = self.optimizers.clip()
            assert (loss + norm).isfinite()
            self.optimizers.step(10**5)
        return sum(batch.num_tokens for batch in batches)


def main(path: str, vocabulary: str, precision: str, kind: str, *memory: str) -> None:
    """Serve; with `--memory`, what is answered is the peak of a step in KiB, over what was resident before."""
    batches = read_batches(Path(path))
    before = resident()
    step = Step(int(vocabulary), precision, kind == "experts")
    serve(lambda: peak_of_work(lambda: step.run(batches), before) if memory else step.run(batches))


if __name__ == "__main__":
    main(*sys.argv[1:])
