"""How long a training stands still for a checkpoint: python -m benchmarks.scale_save FILE VOCABULARY STEPS WORLD

A training of the measured size, with four checkpoints, on WORLD ranks (0: one process without a group). Rank 0 prints
seconds, medians: of a step without a checkpoint; and those that training stood still for one.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.mixed import read_batches
from benchmarks.scale_step import free_port, others
from benchmarks.step import TINY
from m6.data.packing import Batch
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.mesh import ALONE, Ranks
from m6.parallel.processes import joined
from m6.train.config import LoopConfig
from m6.train.hardware import prepare_cpu
from m6.train.loop import Task, train
from m6.train.pretrain import batch_loss, muon_matrices


def measure(ranks: Ranks, folder: Path, path: Path, vocabulary: int, steps: int) -> tuple[float, float]:
    """Seconds of a step, and seconds that training stood still for a checkpoint."""
    prepare_cpu(0)
    torch.manual_seed(0)
    model = Transformer(TINY, vocabulary)
    batches = read_batches(path)
    began: list[float] = []

    def given(start: int, stop: int, workers: int) -> Iterator[Batch]:
        for step in range(start, stop):
            began.append(time.perf_counter())
            yield batches[step % len(batches)]

    task = Task(
        model,
        lambda batch, total: batch_loss(model, batch, total, ranks),
        given,
        lambda batch: {"tokens": float(batch.num_tokens)},
        lambda batch: batch.weights.sum(),
        lambda batch: batch.keys,
        matrices=muon_matrices(model),
    )
    # A row for each step, so that the row after a checkpoint has its seconds alone.
    config = LoopConfig(num_steps=steps, checkpoint_every=steps // 4, log_every=1, precision="float32", device="cpu")
    train(task, config, folder, "save", {}, ranks)
    if not ranks.first:
        return 0.0, 0.0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    stood = [row["checkpoint_seconds"] for row in rows if "checkpoint_seconds" in row]
    undisturbed = [row["seconds"] for row in rows[1:] if "checkpoint_seconds" not in row]
    return statistics.median(undisturbed), statistics.median(stood)


def main(path: str, vocabulary: str, steps: str, world: str, rank: str = "0", port: str = "") -> None:
    """Measure once; rank 0 prints."""
    with ExitStack() as stack:
        ranks, folder = ALONE, Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if world != "0":
            port = port or free_port()
            os.environ |= {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            words = [path, vocabulary, steps, world]
            stack.enter_context(others("benchmarks.scale_save", words, rank, world, port))
            ranks = stack.enter_context(joined(ParallelConfig(), "cpu"))
            (folder,) = ranks.gather(folder)[:1]
        found = measure(ranks, folder, Path(path), int(vocabulary), int(steps))
        ranks.wait()
    if ranks.first:
        print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
