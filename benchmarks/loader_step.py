"""Our loader under measurement: python -m benchmarks.loader_step FOLDER epoch|resume WORKERS SAMPLES

FOLDER is one of `benchmarks.loader_data`, with so many SAMPLES. "epoch" takes every batch of an epoch out of the worker
processes; "resume" opens the corpus and takes the first batch from the middle of an epoch on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.loader_data import BATCH, open_samples
from benchmarks.mixed import PATCH_SIZE
from benchmarks.peers.serve import serve
from m6.data.loader import Steps, batches


def main(folder: str, what: str, workers: str, samples: str) -> None:
    """Serve."""
    torch.set_num_threads(1)
    steps = _steps(folder)
    num_steps = int(samples) // BATCH

    def epoch() -> int:
        return sum(len(batch.keys) for batch in batches(steps, 0, num_steps, int(workers)))

    def resume() -> int:
        taken = batches(_steps(folder), num_steps // 2, num_steps, int(workers))
        found = len(next(taken).keys)
        taken.close()  # type: ignore[attr-defined]
        return found

    serve(epoch if what == "epoch" else resume)


def _steps(folder: str) -> Steps:
    mixture, vocabulary = open_samples(Path(folder))
    return Steps(mixture, vocabulary, PATCH_SIZE)


if __name__ == "__main__":
    main(*sys.argv[1:])
