"""Trains the image tokenizer on the pictures of the corpus, then writes the codes of every picture, row for row."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from m6.config import UserError
from m6.data.images import codes_schema, decode_image
from m6.data.loader import batches
from m6.data.mixture import shuffled
from m6.data.unusable import Skipped, UnusableError, first_usable, usable
from m6.run import Run, progress, read_metrics
from m6.shards import Shards, write_shards
from m6.train.config import VQGANStage
from m6.train.hardware import prepare_cpu
from m6.train.loop import Task, train
from m6.train.window import Figures
from m6.vqgan.model import VQGAN

ENCODE_BATCH = 64
L1_WEIGHT = 0.1  # beside the squared error: keeps edges crisp at no cost in PSNR


def to_tensor(pixels: np.ndarray) -> Tensor:
    """[B, S, S, 3] uint8 -> [B, 3, S, S] float32 in -1 to 1, channels last in memory, which convolutions like."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: Tensor) -> np.ndarray:
    """[B, 3, S, S] in -1 to 1 -> [B, S, S, 3] uint8."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio [B] in dB of pictures [B, 3, S, S] in -1 to 1; identical pictures count as 100 dB."""
    error = ((images - others) ** 2).mean(dim=(1, 2, 3)) / 4.0
    return -10.0 * torch.log10(error.clamp_min(1e-10))


class PictureBatch(NamedTuple):
    """Training pictures of a step."""

    ids: tuple[str, ...]
    pixels: np.ndarray  # [B, S, S, 3] uint8
    skipped: tuple[Skipped, ...]


class Pictures(Dataset[PictureBatch]):
    """Step number -> its training pictures, in equal parts from every source; one that cannot be used gives its place
    to the next of its source."""

    def __init__(self, corpus: Path, batch_size: int, seed: int) -> None:
        self._shards = Shards(corpus)
        self._batch_size = batch_size
        self._seed = seed
        rows: dict[str, list[int]] = {}
        for row, (source, split) in enumerate(picture_rows(self._shards)):
            if split == "train":
                rows.setdefault(source, []).append(row)
        if not rows:
            raise UserError(f"{corpus}: no training pictures here, and the image tokenizer needs some; add a source")
        self._rows = list(rows.values())

    def __getitem__(self, step: int) -> PictureBatch:
        ids, pixels, skipped = [], [], list[Skipped]()
        for place in range(self._batch_size):
            read, bad = first_usable(partial(self._read, step, place))
            skipped += bad
            if read is not None:
                ids.append(read[0])
                pixels.append(read[1])
        if not pixels:
            raise UserError(f"none of the pictures of step {step} can be read; {skipped[-1].key}: {skipped[-1].reason}")
        return PictureBatch(tuple(ids), np.stack(pixels), tuple(skipped))

    def _read(self, step: int, place: int, attempt: int) -> tuple[str, np.ndarray]:
        rows = self._rows[place % len(self._rows)]
        index = (step * self._batch_size + place) // len(self._rows)
        epoch, at = divmod(index, len(rows))
        row = rows[shuffled((at + attempt) % len(rows), len(rows), hash((self._seed, epoch)))]
        return read_picture(self._shards, row)


def read_picture(shards: Shards, row: int) -> tuple[str, np.ndarray]:
    """Id and pixels [S, S, 3] of the picture in a row. UnusableError if it cannot be read."""
    with usable(f"row {row} of the corpus"):
        record = shards[row]
    with usable(f"{record['source']}/{record['id']}"):
        return record["id"], decode_image(record["images"][0]["bytes"])


def picture_rows(shards: Shards) -> Iterator[tuple[str, str]]:
    """Source and split of every row; a row without a picture gives ('', '')."""
    table = shards.columns(["source", "split", "images.list.element.width"])
    counts = table.column("images").combine_chunks().value_lengths().to_pylist()
    columns = zip(table.column("source").to_pylist(), table.column("split").to_pylist(), counts, strict=True)
    for source, split, count in columns:
        yield (source, split) if count else ("", "")


def run(run: Run, stage: VQGANStage, seed: int) -> dict[str, Any]:
    """Trains in the run folder's `vqgan`, encodes the corpus, and returns the figures of the stage."""
    prepare_cpu(stage.loop.num_threads)
    pictures = Pictures(run.folder / "corpus", stage.batch_size, seed)
    torch.manual_seed(seed)
    model = VQGAN(stage.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(batch: PictureBatch, _: Tensor | None) -> tuple[Tensor, Figures]:
        images = to_tensor(batch.pixels).to(next(model.parameters()).device)
        restored, _, auxiliary = model(images)
        error = restored - images
        with torch.no_grad():
            quality = psnr(images, restored.clamp(-1, 1)).mean()
        return error.square().mean() + L1_WEIGHT * error.abs().mean() + auxiliary, {"psnr": (quality, 1.0)}

    task = Task(
        model=model,
        loss=loss,
        batches=lambda start, stop, workers: batches(pictures, start, stop, workers),
        counts=lambda batch: {"tokens": len(batch.ids)},
        weight=lambda batch: torch.ones(()),
        describe=lambda batch: batch.ids,
        skipped=lambda batch: batch.skipped,
        num_documents=lambda step: step * stage.batch_size,
        max_skipped=stage.max_skipped,
    )
    folder = run.stage("vqgan")
    train(task, stage.loop, folder, "vqgan", {"config": run.config.model_dump(mode="json")})
    codebook = encode_corpus(model.cpu(), run.folder / "corpus", folder / "codes")
    rows = read_metrics(folder / "metrics.jsonl")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pictures_per_second": round(median(row["tokens_per_second"] for row in rows), 1),
        "psnr_train": rows[-1]["psnr"],
        "psnr_heldout": codebook["psnr"],
        "codebook_used": codebook["used"],
        "codebook_perplexity": codebook["perplexity"],
    }


def encode_corpus(model: VQGAN, corpus: Path, folder: Path) -> dict[str, float]:
    """Codes of every picture of the corpus, as shards beside its rows; returns use of the code book and held-out PSNR.

    A picture that cannot be read gets no codes.

    `used` is the share of codes that training pictures use; `psnr` is the mean over held-out pictures of real sources
    (composed scenes show training pictures, so they do not count), or over all held-out ones if there are no others.
    """
    model.eval()
    schema = codes_schema(model.config.num_codes)
    shards = Shards(corpus)
    kinds = list(picture_rows(shards))
    counts = torch.zeros(model.config.num_codes)
    quality: dict[str, list[float]] = {}
    unusable: list[UnusableError] = []

    def pixels_of(row: int) -> np.ndarray | None:
        try:
            return read_picture(shards, row)[1]
        except UnusableError as error:
            unusable.append(error)
            return None

    def tables() -> Iterator[pa.Table]:
        for start in progress(range(0, len(kinds), ENCODE_BATCH), "encode"):
            rows = range(start, min(start + ENCODE_BATCH, len(kinds)))
            pictures = {row: pixels for row in rows if kinds[row][0] and (pixels := pixels_of(row)) is not None}
            seen = list(pictures)
            grids: dict[int, np.ndarray] = {}
            if seen:
                images = to_tensor(np.stack(list(pictures.values())))
                codes = model.encode(images)
                grids = dict(zip(seen, codes.numpy(), strict=True))
                train_codes = codes[[kinds[row][1] == "train" for row in seen]]
                counts.add_(torch.bincount(train_codes.flatten(), minlength=len(counts)))
                held = [kinds[row][1] == "heldout" for row in seen]
                if any(held):
                    restored = model.decode(codes[held])
                    for row, value in zip(
                        [row for row in seen if kinds[row][1] == "heldout"], psnr(images[held], restored), strict=True
                    ):
                        quality.setdefault(kinds[row][0], []).append(float(value))
            yield pa.Table.from_pylist([_code_row(grids.get(row)) for row in rows], schema=schema)

    write_shards(folder, tables(), schema, rows_per_shard=16_384)
    if unusable:
        print(f"encode: {len(unusable)} pictures cannot be read and have no codes; {unusable[-1]}", file=sys.stderr)
    real = [value for source, values in quality.items() if source != "scenes" for value in values]
    held = real or [value for values in quality.values() for value in values]
    share = counts / counts.sum()
    entropy = -float((share * share.clamp_min(1e-12).log()).sum())
    return {
        "used": float((counts > 0).float().mean()),
        "perplexity": math.exp(entropy),
        "psnr": sum(held) / len(held) if held else float("nan"),
    }


def _code_row(grid: np.ndarray | None) -> dict[str, Any]:
    if grid is None:
        return {"height": 0, "width": 0, "codes": []}
    return {"height": grid.shape[0], "width": grid.shape[1], "codes": grid.flatten().tolist()}
