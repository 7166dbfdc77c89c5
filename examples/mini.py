"""The pictures of the page on mini: python examples/mini.py RUN docs

`images/mini-paintings.png`: held-out combinations of the corpus of the run, the first of each kind in the order of the
evaluation, painted by mini, the likeliest code each time; right or wrong, nothing picked by hand. And
`images/mini-curve.svg`, the loss on held-out rows over the updates of the run. Prints the prompts.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.curve import curve_svg
from m6.generate.engine import Engine
from m6.generate.paintings import sheet
from m6.generate.text_to_image import paint_pictures
from m6.run import read_metrics
from m6.shipped import DEFAULT, SHIPPED
from m6.train.config import EvaluateStage
from m6.train.evaluate.material import Evaluation

ROWS = {"pair": 8, "count": 4, "colour": 4}
"""What is new in a scene, and how many are shown."""
ENLARGED, FIGURE = 2, "heldout/loss"


def main(run: Path, docs: Path) -> None:
    """Both."""
    folder = docs / "images"
    folder.mkdir(parents=True, exist_ok=True)
    known = Evaluation(run, EvaluateStage(), seed=0)
    prompts = [
        document["text"]
        for kind, count in ROWS.items()
        for document in known.some("scenes", "heldout", unseen=kind)[:count]
    ]
    pixels = paint_pictures(Engine.load(SHIPPED[DEFAULT]), prompts)
    large = pixels.repeat(ENLARGED, 1).repeat(ENLARGED, 2).astype(np.uint8)
    sheet([Image.fromarray(one) for one in large]).save(folder / "mini-paintings.png", optimize=True)
    rows = read_metrics(run / "pretrain" / "metrics.jsonl")
    (folder / "mini-curve.svg").write_text(curve_svg({"mini": [rows]}, FIGURE), encoding="utf-8")
    print("\n".join(prompts))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
