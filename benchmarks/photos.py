"""Photographs for `benchmarks.images`, cut and encoded as they stand on web pages, from open packages.

    pip download --no-deps scikit-image scikit-learn matplotlib gradio
    apt-get download plasma-workspace-wallpapers && dpkg -x plasma-workspace-wallpapers_*.deb wallpapers
    python -m benchmarks.photos --packages DIR --out DIR

In: a folder with these wheels and the unpacked wallpapers. Out: JPEG files, their longer side 400 to 1,600 pixels, in
the usual shapes and qualities, a quarter of them progressive; the same for the same packages.
"""

from __future__ import annotations

import argparse
import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.Image import Resampling

SIDES = (400, 500, 600, 640, 750, 800, 800, 1_000, 1_024, 1_200, 1_280, 1_600)  # longer side, pixels
SHAPES = (1, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16)  # width over height
QUALITIES = (75, 80, 85, 85, 90, 95)
ENDINGS = (".jpg", ".jpeg", ".png")
CROPS = 8  # of one picture


def originals(packages: Path) -> Iterator[Image.Image]:
    """The pictures of at least 300 pixels in the packages, RGB."""
    found: dict[str, bytes] = {}
    for wheel in sorted(packages.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(ENDINGS)]
            found |= {f"{wheel.name}/{name}": archive.read(name) for name in names}
    for path in sorted(packages.rglob("*")):
        if path.suffix.lower() in ENDINGS and "dark" not in str(path):
            found[str(path.relative_to(packages))] = path.read_bytes()
    for name in sorted(found):
        image = Image.open(io.BytesIO(found[name]))
        if min(image.size) >= 300 and image.mode in ("RGB", "RGBA", "L") and "test" not in name:
            yield image.convert("RGB")


def crop(image: Image.Image, chance: random.Random) -> tuple[Image.Image, dict[str, Any]]:
    """A piece of a picture at a size of the web, and how to encode it."""
    longer, shape = chance.choice(SIDES), chance.choice(SHAPES)
    width, height = (longer, round(longer / shape)) if shape >= 1 else (round(longer * shape), longer)
    scale = min(image.width / width, image.height / height) * chance.uniform(0.6, 1)
    left = chance.randint(0, image.width - int(width * scale))
    upper = chance.randint(0, image.height - int(height * scale))
    box = (left, upper, left + int(width * scale), upper + int(height * scale))
    piece = image.resize((width, height), Resampling.LANCZOS, box, reducing_gap=3)
    options = {
        "quality": chance.choice(QUALITIES),
        "subsampling": chance.choice((2, 2, 2, 0)),
        "progressive": chance.random() < 0.25,
        "optimize": True,
    }
    return piece, options


def main() -> None:
    """Write the photographs; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chance, number = random.Random(7), 0
    for image in originals(given.packages):
        for _ in range(CROPS):
            piece, options = crop(image, chance)
            piece.save(given.out / f"{number:05d}.jpg", **options)
            number += 1
    print(f"{number} photographs in {given.out}")


if __name__ == "__main__":
    main()
