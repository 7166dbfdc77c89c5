"""Real pictures as grids of 32 x 32 codes, to train on: those of a corpus, or the bundled ones.

An image tokenizer is trained for that in a few minutes: finite scalar quantisation, one code for 2 x 2 pixels of the
bundled pictures of 64, for 4 x 4 of a corpus of 128.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from m6.config import UserError
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.data.images import decode_image
from m6.data.pictures import picture_rows, to_tensor
from m6.shards import Shards
from m6.vqgan.config import VQGANConfig
from m6.vqgan.figures import psnr
from m6.vqgan.model import VQGAN

SIDE = 32  # codes
Pictures = dict[str, np.ndarray]
"""By split, "train" and "heldout": pixels [N, S, S, 3] uint8, or codes [N, 32, 32] int64."""


def pictures(corpus: Path | None, most: int) -> Pictures:
    """At most so many training pictures and a sixteenth as many held-out ones, by chance. UserError for a corpus whose
    pictures are no power of two times 32 pixels wide."""
    found: dict[str, list[np.ndarray]] = {"train": [], "heldout": []}
    rng = np.random.default_rng(0)
    limits = {"train": most, "heldout": max(most // 16, 4)}
    if corpus is None:
        encoded, rows = emoji_pictures(), emoji_rows()
        for index in rng.permutation(len(rows)):
            _add(found, limits, rows[index]["split"], encoded[rows[index]["file"]])
    else:
        shards = Shards(corpus)
        splits = [split for _, split in picture_rows(shards)]
        for index in rng.permutation(len(splits)):
            split = splits[index]
            if split in found and len(found[split]) < limits[split]:
                _add(found, limits, split, shards[int(index)]["images"][0]["bytes"])
    pixels = {split: np.stack(each) for split, each in found.items() if each}
    side = pixels["train"].shape[1] // SIDE if "train" in pixels else 0
    if len(pixels) < 2 or side < 2 or side.bit_count() != 1 or pixels["train"].shape[1] % SIDE:
        raise UserError(f"benchmarks: {corpus} needs training and held-out pictures of 64, 128 or 256 pixels a side")
    return pixels


def _add(found: dict[str, list[np.ndarray]], limits: dict[str, int], split: str, encoded: bytes) -> None:
    if split in found and len(found[split]) < limits[split]:
        with Image.open(io.BytesIO(encoded)) as opened:
            shape = (opened.height, opened.width)
        others = next((each[0].shape[:2] for each in found.values() if each), shape)
        if shape == others:
            found[split].append(decode_image(encoded))


def encoded(pixels: Pictures, steps: int, batch: int = 16) -> tuple[Pictures, VQGAN, float]:
    """Codes of all, the image tokenizer, and its PSNR on held-out pictures, dB."""
    halvings = int(np.log2(pixels["train"].shape[1] // SIDE))
    torch.manual_seed(0)
    model = VQGAN(VQGANConfig(channels=(32, 64, 128)[-halvings:] if halvings < 3 else (32, 64, 128)))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    rng = np.random.default_rng(0)
    for step in range(steps):
        images = to_tensor(pixels["train"][rng.integers(0, len(pixels["train"]), batch)])
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 20, 1.05 - step / steps)
        restored, *_ = model(images)
        loss = (restored - images).square().mean() + 0.1 * (restored - images).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.eval()
    codes = {
        split: np.concatenate([model.encode(to_tensor(each[at : at + 64])).numpy() for at in range(0, len(each), 64)])
        for split, each in pixels.items()
    }
    held = to_tensor(pixels["heldout"])
    restored = torch.cat(
        [model.decode(torch.from_numpy(part)) for part in np.array_split(codes["heldout"], 8) if len(part)]
    )
    return codes, model, float(psnr(held, restored).mean())
