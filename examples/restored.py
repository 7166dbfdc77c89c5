"""The same held-out pictures through several image tokenizers: python examples/restored.py sheet.png RUN [RUN ...]

The first row of the sheet shows some pictures of the first run's corpus as they are, each further row what the image
tokenizer of one run restores of them. Prints of more such pictures how near that is (PSNR, dB, on the mean) and how
sharp: the mean square of the Laplacian of their grey values, as a share of that of the pictures (median).
"""

from pathlib import Path

import command
import numpy as np
import torch
from PIL import Image

from m6.corpus.document import from_row
from m6.data.images import decode_image
from m6.model.weights import load_weights, newest
from m6.shards import Shards
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

SHOWN, MEASURED, ENLARGED = 8, 200, 2


def pictures(run: Path, count: int) -> np.ndarray:
    """Held-out pictures [N, S, S, 3] uint8, spread over all of them."""
    shards = Shards(run / "corpus")
    rows = [row for row in map(from_row, map(shards.__getitem__, range(len(shards)))) if row["images"]]
    heldout = [row for row in rows if row["split"] == "heldout"]
    chosen = heldout[:: max(1, len(heldout) // count)][:count]
    return np.stack([decode_image(row["images"][0]["bytes"]) for row in chosen])


@torch.inference_mode()
def restored(run: Path, pixels: np.ndarray) -> np.ndarray:
    """The same pictures, written as codes and read again."""
    model = VQGAN(VQGANConfig.read(run / "config.json", section="vqgan.model")).eval()
    load_weights(newest(run / "vqgan", "vqgan"), model)
    images = model.decode(model.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1))
    shown: np.ndarray = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return shown


def edges(pixels: np.ndarray) -> np.ndarray:
    """Mean square of the Laplacian of pictures [N, S, S, 3]: [N]."""
    grey = pixels.astype(float).mean(-1)
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    squares: np.ndarray = ((4 * grey[:, 1:-1, 1:-1] - around) ** 2).mean((1, 2))
    return squares


def main(sheet: Path, *runs: Path) -> None:
    """Write the sheet."""
    originals, measured = pictures(runs[0], SHOWN), pictures(runs[0], MEASURED)
    rows = [originals]
    for run in runs:
        rows.append(restored(run, originals))
        found = restored(run, measured)
        error = ((found.astype(float) - measured) ** 2).mean((1, 2, 3))
        sharp = np.median(edges(found) / edges(measured))
        print(f"{run}: {(10 * np.log10(255**2 / error)).mean():.1f} dB, {sharp:.3f} of the edges")
    whole = np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)
    Image.fromarray(whole).resize((whole.shape[1] * ENLARGED, whole.shape[0] * ENLARGED), 0).save(sheet)


if __name__ == "__main__":
    command.run(main, __doc__, 2)
