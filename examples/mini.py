"""The pictures of the page on mini: python examples/mini.py RUN docs

`images/mini-paintings.png`: held-out combinations, numbers and hues of the corpus of a run, the first of each kind in
its order, painted by mini, the likeliest code each time; right or wrong, nothing picked by hand. And
`images/mini-curve.svg`, the loss on held-out rows over mini's updates. Prints the prompts.
"""

import sys
from pathlib import Path

from PIL import Image

from benchmarks.curve import curve_svg
from m6.corpus.document import from_row
from m6.generate.engine import Engine
from m6.generate.paintings import sheet
from m6.generate.text_to_image import paint_pictures
from m6.run import read_metrics
from m6.shards import Shards
from m6.shipped import DEFAULT, SHIPPED

ROWS = {"pair": 8, "count": 4, "colour": 4}
"""What is new in a scene, and how many are shown."""
ENLARGED, FIGURE = 2, "heldout/loss"


def heldout(run: Path, kind: str) -> list[str]:
    """What held-out scenes of the corpus of a run show, of which that is new."""
    shards = Shards(run / "corpus")
    scenes = [row for row in map(from_row, map(shards.__getitem__, range(len(shards)))) if row["source"] == "scenes"]
    return [row["text"] for row in scenes if row["split"] == "heldout" and row["attributes"]["unseen"] == kind]


def main(run: Path, docs: Path) -> None:
    """Both."""
    folder = docs / "images"
    folder.mkdir(parents=True, exist_ok=True)
    prompts = [text for kind, count in ROWS.items() for text in heldout(run, kind)[:count]]
    pixels = paint_pictures(Engine.load(SHIPPED[DEFAULT]), prompts)
    large = pixels.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    sheet([Image.fromarray(one) for one in large]).save(folder / "mini-paintings.png", optimize=True)
    rows = read_metrics(SHIPPED[DEFAULT] / "pretrain" / "metrics.jsonl")
    (folder / "mini-curve.svg").write_text(curve_svg({"mini": [rows]}, FIGURE), encoding="utf-8")
    print("\n".join(prompts))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
