"""What an image tokenizer is worth: pictures that it has never seen, restored, beside originals; use of its codes.

Figures on held-out pictures: PSNR, SSIM, and, where the stage has features, the FID-style distance between the pictures
as they are and as they are restored. It is named by whose features it is on (`fid_own_features`): no figure of another
network compares with it.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from m6.config import UserError
from m6.data.images import CodeStore
from m6.data.pictures import heldout_rows, picture_rows, read_picture, to_pixels, to_tensor
from m6.data.unusable import UnusableError
from m6.run import write_atomic
from m6.shards import Shards
from m6.train.config import VQGANStage
from m6.train.vqgan_features import Features
from m6.vqgan.figures import frechet_distance, psnr, ssim, use_of_codes
from m6.vqgan.model import VQGAN

BATCH, PIXELS = 64, 2**20
"""Pictures at once, and pixels of all of them: of large pictures one at a time is enough for the memory."""
FEWEST_USED = 0.01
"""Share of the codes below which an image tokenizer has collapsed: all pictures look the same to it."""
SHOWN, COLUMNS = 16, 8
"""Pictures of a grid, and of each of its rows."""


class Quality:
    """Figures of restored pictures, of any number of batches."""

    def __init__(self, features: Features | None) -> None:
        self._features = features
        self._values: dict[str, list[Tensor]] = defaultdict(list)

    @torch.no_grad()
    def add(self, images: Tensor, restored: Tensor) -> None:
        """Images [B, 3, S, S'] in -1 to 1, and the same restored."""
        self._values["psnr"].append(psnr(images, restored).cpu())
        if min(images.shape[2:]) >= 11:
            self._values["ssim"].append(ssim(images, restored).cpu())
        if self._features:
            for name, pictures in (("real", images), ("restored", restored)):
                self._values[name].append(self._features.pooled(pictures).cpu())

    def figures(self) -> dict[str, float]:
        """Means, in dB and as of SSIM, and the FID-style distance of all."""
        found = {name: float(torch.cat(values).mean()) for name in ("psnr", "ssim") if (values := self._values[name])}
        if self._features and sum(map(len, self._values["real"])) > 1:
            sets = (torch.cat(self._values[name]) for name in ("real", "restored"))
            found[f"fid_{self._features.source}_features"] = frechet_distance(*sets)
        return found


def figures_of(model: VQGAN, corpus: Path, codes: Path, features: Features | None) -> dict[str, float]:
    """Figures of a tokenizer and of the codes that it has made of a corpus: quality on held-out pictures, and how
    training pictures use the code book."""
    model.eval()
    shards, store = Shards(corpus), CodeStore(codes)
    kinds = list(picture_rows(shards))
    quality = Quality(features)
    for pixels, grids in _batches(shards, store, heldout_rows(kinds)):
        quality.add(to_tensor(pixels), model.decode(torch.from_numpy(grids)))
    found = {f"{name}_heldout": value for name, value in quality.figures().items()}
    use = use_of_codes(_counts(Shards(codes), [split == "train" for _, split in kinds], model.config.num_codes))
    return {
        "psnr_heldout": float("nan"),
        **found,
        "codebook_used": use.used,
        "codebook_entropy": use.entropy,
        "codebook_perplexity": use.perplexity,
    }


class Grid:
    """A look at a tokenizer while it is trained: figures for a row of metrics, and a picture of pictures."""

    def __init__(self, stage: VQGANStage, corpus: Path, folder: Path, features: Features | None) -> None:
        """UserError if no picture is held out."""
        self._every, self._folder, self._features = stage.grid_every, folder, features
        shards = Shards(corpus)
        rows = heldout_rows(list(picture_rows(shards)))
        rows = [rows[at * len(rows) // stage.grid_pictures] for at in range(min(stage.grid_pictures, len(rows)))]
        pictures = list(_readable(shards, rows))
        if not pictures:
            raise UserError("vqgan.grid_every: no picture of the corpus is held out to look at; 0 turns it off")
        self._images = to_tensor(np.stack(pictures))

    @torch.no_grad()
    def __call__(self, done: int, model: nn.Module) -> dict[str, float]:
        """As `Task.look`."""
        if done % self._every:
            return {}
        assert isinstance(model, VQGAN)
        training, device = model.training, next(model.parameters()).device
        model.eval()
        quality, shown = Quality(self._features), list[Tensor]()
        counts = torch.zeros(model.config.num_codes, dtype=torch.long)
        for images in self._images.to(device).split(_at_once(*self._images.shape[2:])):
            codes = model.encode(images)
            restored = model.decode(codes)
            quality.add(images, restored)
            counts += torch.bincount(codes.flatten().cpu(), minlength=len(counts))
            shown.append(restored[:SHOWN].cpu())
        model.train(training)
        self._folder.mkdir(exist_ok=True)
        picture = grid(to_pixels(self._images[:SHOWN]), to_pixels(torch.cat(shown)[:SHOWN]))
        write_atomic(self._folder / f"step-{done:08d}.png", as_png(picture))
        use = use_of_codes(counts)
        figures = {**quality.figures(), "codes_used": use.used, "codes_entropy": use.entropy}
        return {f"heldout/{name}": value for name, value in figures.items()}


def grid(originals: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Pictures [N, S, S', 3] uint8 in rows, each row of originals above what was restored of them: [H, W, 3]."""
    rows = []
    for start in range(0, len(originals), COLUMNS):
        for pictures in (originals, restored):
            some = pictures[start : start + COLUMNS]
            white = np.full((min(COLUMNS, len(originals)) - len(some), *some.shape[1:]), 255, np.uint8)
            rows.append(np.concatenate([*some, *white], axis=1))
    return np.concatenate(rows)


def as_png(pixels: np.ndarray) -> bytes:
    """A PNG of [H, W, 3] uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def _readable(shards: Shards, rows: Iterable[int]) -> Iterator[np.ndarray]:
    for row in rows:
        try:
            yield read_picture(shards, row)[1]
        except UnusableError:
            continue


def _batches(shards: Shards, store: CodeStore, rows: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures and their codes, those of one size together."""
    sizes: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for row in rows:
        codes = store[row]
        if not codes.size:
            continue
        pixels = next(_readable(shards, [row]))
        waiting = sizes[pixels.shape]
        waiting.append((pixels, codes))
        if len(waiting) == _at_once(*pixels.shape[:2]):
            yield _stacked(sizes.pop(pixels.shape))
    for waiting in sizes.values():
        yield _stacked(waiting)


def _at_once(height: int, width: int) -> int:
    return max(1, min(BATCH, PIXELS // (height * width)))


def _stacked(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    pixels, codes = zip(*pairs, strict=True)
    return np.stack(pixels), np.stack(codes)


def _counts(shards: Shards, chosen: list[bool], num_codes: int) -> Tensor:
    """How often each code occurs in the chosen rows."""
    counts, start = np.zeros(num_codes, np.int64), 0
    for table in shards.tables():
        codes = table.column("codes").combine_chunks()
        lengths = codes.value_lengths().to_numpy(zero_copy_only=False)
        values = codes.flatten().to_numpy()
        wanted = np.repeat(np.asarray(chosen[start : start + len(lengths)], bool), lengths)
        counts += np.bincount(values[wanted], minlength=num_codes)
        start += len(lengths)
    return torch.from_numpy(counts)
