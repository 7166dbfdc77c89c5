"""The loader of webdataset under measurement: PYTHON webdataset_loader.py FOLDER epoch|resume WORKERS SAMPLES

FOLDER is one of `benchmarks.loader_data`. Tar files are shuffled and dealt out to the workers, samples shuffled in a
buffer; what is left out on resuming is read and thrown away, before it is decoded: there is no other way into a tar.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import webdataset as wds
from loader_work import AHEAD, BATCH, SHUFFLED, Batch, Batches, collated, main, pixels_of
from tokenizers import Tokenizer


def batches_of(folder: Path, workers: int, skipped: int) -> Batches:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    urls = sorted(str(path) for path in (folder / "webdataset").glob("*.tar"))

    def batch(samples: list[dict[str, Any]]) -> Batch:
        pictures = [pixels_of(sample["png"]) for sample in samples]
        return collated(tokenizer, pictures, [sample["txt"].decode() for sample in samples])

    dataset = wds.WebDataset(urls, shardshuffle=len(urls), detshuffle=True, seed=0, empty_check=False)
    dataset = dataset.shuffle(SHUFFLED).slice(skipped // max(1, workers), sys.maxsize)
    dataset = dataset.batched(BATCH, collation_fn=batch, partial=False)
    ahead = {"num_workers": workers, "prefetch_factor": AHEAD} if workers else {}
    yield from wds.WebLoader(dataset, batch_size=None, **ahead)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # workers are forked
    main(batches_of, *sys.argv[1:])
