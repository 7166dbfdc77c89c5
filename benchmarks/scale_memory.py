"""Memory of a real training on two processes: python -m benchmarks.scale_memory MODEL PARALLEL CHECKPOINTING ROWS VOCABULARY LENGTH

MODEL and PARALLEL are configs as JSON. Prints the peak of the tensors of rank 0 in bytes, as `m6.parallel.ledger` counts
them, of a step in which the states of the optimizers are there.
"""  # noqa: E501

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.scale_step import free_port, others
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.ledger import Ledger
from m6.parallel.processes import joined
from m6.train.config import LoopConfig
from m6.train.dry_run import STEPS, as_on_a_gpu, text_task
from m6.train.loop import train


def main(model: str, parallel: str, how: str, rows: str, vocabulary: str, length: str,
         rank: str = "0", port: str = "") -> None:  # fmt: skip
    """Train; rank 0 prints."""
    port = port or free_port()
    os.environ |= {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = [model, parallel, how, rows, vocabulary, length]
    loop = LoopConfig(num_steps=STEPS, log_every=STEPS, checkpoint_every=0, precision="bfloat16", device="cpu")
    ledger = Ledger()
    config = ParallelConfig.model_validate(json.loads(parallel))
    with (
        tempfile.TemporaryDirectory() as folder,
        others("benchmarks.scale_memory", words, rank, "2", port),
        joined(config, "cpu") as ranks,
    ):
        with torch.device("meta"):
            made = Transformer(ModelConfig.model_validate_json(model), int(vocabulary))
        task, _ = text_task(made, ranks, int(rows), int(length), ledger)
        with as_on_a_gpu(), ledger:
            train(task, loop.override({"checkpointing": how}), Path(folder), "memory", {}, ranks)
        if ranks.first:
            print(json.dumps(ledger.peak))


if __name__ == "__main__":
    main(*sys.argv[1:])
