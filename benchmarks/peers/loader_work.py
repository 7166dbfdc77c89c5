"""What the peers' loaders have in common: a picture decoded, texts encoded by our tokenizer, a batch of both.

Only torch, Pillow, tokenizers, numpy and the standard library are imported here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from serve import serve
from tokenizers import Tokenizer
from torch import Tensor

BATCH = 64
AHEAD = 4  # batches that a worker prepares, as ours
SHUFFLED = 1000  # samples in the buffer of a loader that has no random access

Batch = tuple[Tensor, Tensor]
"""Pictures [B, S, S, 3] uint8, ids [B, T] int64, filled up with 0."""
Batches = Generator[Batch, None, None]


def pixels_of(encoded: bytes) -> np.ndarray:
    """[S, S, 3] uint8."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def collated(tokenizer: Tokenizer, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> Batch:
    """Texts are encoded a batch at once."""
    encoded = [one.ids for one in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    ids = np.zeros((len(encoded), max(map(len, encoded))), np.int64)
    for row, found in zip(ids, encoded, strict=True):
        row[: len(found)] = found
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(ids)


def main(batches: Callable[[Path, int, int], Batches], folder: str, what: str, workers: str, samples: str) -> None:
    """Serve an epoch, or the first batch from the middle of one on. `batches` opens the data of a folder anew, and is
    told the number of workers and how many samples to leave out."""

    def epoch() -> int:
        return sum(len(pictures) for pictures, _ in batches(Path(folder), int(workers), 0))

    def resume() -> int:
        taken = batches(Path(folder), int(workers), int(samples) // 2)
        pictures, _ = next(taken)
        taken.close()  # ends the workers
        return len(pictures)

    torch.set_num_threads(1)
    serve(epoch if what == "epoch" else resume)
