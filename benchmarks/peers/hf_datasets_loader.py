"""The loader of Hugging Face datasets: PYTHON hf_datasets_loader.py FOLDER epoch|resume WORKERS SAMPLES

FOLDER is one of `benchmarks.loader_data`. The Parquet file becomes an Arrow file, which is mapped into memory; a batch
is taken out of it at once by a sampler of whole batches, and made by a transform. What is left out on resuming is left
out of the sampler.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
from loader_work import AHEAD, BATCH, Batches, collated, main, pixels_of
from tokenizers import Tokenizer
from torch.utils.data import BatchSampler, DataLoader

ARROW = "hf-datasets"


def convert(folder: Path) -> None:
    """Writes the Arrow file, unless it is there. Pictures stay bytes, which the transform
    decodes: the library's own decoding takes longer."""
    if not (folder / ARROW).is_dir():
        cache = str(folder / "cache")
        made = datasets.Dataset.from_parquet(str(folder / "samples.parquet"), cache_dir=cache, keep_in_memory=False)
        made.cast_column("image", datasets.Image(decode=False)).save_to_disk(str(folder / ARROW))


def batches_of(folder: Path, workers: int, skipped: int) -> Batches:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def transform(rows: dict[str, list[Any]]) -> dict[str, Any]:
        pictures, ids = collated(tokenizer, [pixels_of(each["bytes"]) for each in rows["image"]], rows["text"])
        return {"pictures": pictures, "ids": ids}

    dataset = datasets.load_from_disk(str(folder / ARROW)).with_transform(transform)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[skipped:].tolist()
    ahead = {"num_workers": workers, "prefetch_factor": AHEAD} if workers else {}
    loader = DataLoader(dataset, batch_size=None, sampler=BatchSampler(order, BATCH, drop_last=True), **ahead)
    for rows in loader:
        yield rows["pictures"], rows["ids"]


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # workers are forked
    datasets.disable_progress_bars()
    convert(Path(sys.argv[1]))
    main(batches_of, *sys.argv[1:])
