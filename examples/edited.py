"""The edited painting of the page on painting: python examples/edited.py RUN docs

`images/edited.png`: a scene painted, its right half painted anew, then its left half, by a run of the recipe
`paint_more`; the likeliest code each time, the commands those of the page.
"""

import tempfile
from pathlib import Path

import command
import numpy as np
from PIL import Image

from m6.generate.paintings import paint

BEFORE, RIGHT, LEFT = "左边是企鹅，右边是西瓜", "左边是企鹅，右边是甜甜圈", "左边是熊猫，右边是甜甜圈"
GAP, ENLARGED, GREY = 4, 2, 220


def main(run: Path, docs: Path) -> None:
    """All three, side by side."""
    with tempfile.TemporaryDirectory() as name:
        first, second, third = (Path(name) / f"{number}.png" for number in range(3))
        paint(run, first, BEFORE, guidance=1.5)
        side = Image.open(first).width
        paint(run, second, RIGHT, guidance=1.5, image=first, region=(side // 2, 0, side // 2, side))
        paint(run, third, LEFT, guidance=1.5, image=second, region=(0, 0, side // 2, side))
        painted = [np.asarray(Image.open(path)) for path in (first, second, third)]
    between = np.full((side, GAP, 3), GREY, np.uint8)
    whole = Image.fromarray(np.concatenate([painted[0], between, painted[1], between, painted[2]], 1))
    large = whole.resize((whole.width * ENLARGED, whole.height * ENLARGED), Image.Resampling.LANCZOS)
    folder = docs / "images"
    folder.mkdir(parents=True, exist_ok=True)
    large.save(folder / "edited.png", optimize=True)


if __name__ == "__main__":
    command.run(main, __doc__, 2)
