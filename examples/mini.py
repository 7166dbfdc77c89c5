"""The pictures of the page on mini: python examples/mini.py RUN docs

Painted by mini, the likeliest code each time, right or wrong, nothing picked by hand: `images/mini-paintings.png`,
held-out combinations, numbers and hues of the corpus of a run, the first of each kind in its order;
`images/mini-names.png`, things from their names alone, evenly out of those it was trained on. And
`images/mini-curve.svg`, the loss of paintings over its trainings, one after the other. Prints the prompts.
"""

from pathlib import Path
from typing import Any

import command
from PIL import Image

from benchmarks.curve import curve_svg
from m6.corpus.document import Document, from_row
from m6.generate.engine import Engine
from m6.generate.paintings import sheet
from m6.generate.text_to_image import paint_pictures
from m6.recipes import quickstart
from m6.run import read_metrics
from m6.shards import Shards
from m6.shipped import DEFAULT, SHIPPED

ROWS = {"pair": 8, "count": 4, "colour": 4}
"""What is new in a scene, and how many are shown."""
NAMES, ENLARGED, FIGURE = 24, 2, "loss/text_to_image"
BEFORE, LAST = ("mini", "mini_titles"), "mini_more"
"""Recipes of its trainings, in their order."""


def documents(run: Path, source: str) -> list[Document]:
    """All of a source of the corpus of a run."""
    shards = Shards(run / "corpus")
    return [row for row in map(from_row, map(shards.__getitem__, range(len(shards)))) if row["source"] == source]


def names(run: Path) -> list[str]:
    """Of things that it was trained to paint."""
    things = [row for row in documents(run, "emoji") if row["attributes"]["category"] in quickstart.THINGS]
    known = [row["title"] for row in things if row["split"] == "train"]
    return known[:: len(known) // NAMES][:NAMES]


def trainings(shipped: Path) -> dict[str, list[list[dict[str, Any]]]]:
    """The logs of its trainings by their recipes, with updates counted from the beginning of the first."""
    logs = [shipped / "before" / name / "pretrain.jsonl" for name in BEFORE]
    found: dict[str, list[list[dict[str, Any]]]] = {}
    done = 0
    for name, log in zip((*BEFORE, LAST), (*logs, shipped / "pretrain" / "metrics.jsonl"), strict=True):
        rows = [row | {"step": done + row["step"]} for row in read_metrics(log)]
        found[name], done = [rows], rows[-1]["step"]
    return found


def main(run: Path, docs: Path) -> None:
    """All three."""
    scenes = [row for row in documents(run, "scenes") if row["split"] == "heldout"]
    new = [
        text
        for kind, count in ROWS.items()
        for text in [row["text"] for row in scenes if row["attributes"]["unseen"] == kind][:count]
    ]
    folder = docs / "images"
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine.load(SHIPPED[DEFAULT])
    for name, prompts in {"paintings": new, "names": names(run)}.items():
        large = paint_pictures(engine, prompts).repeat(ENLARGED, 1).repeat(ENLARGED, 2)
        sheet([Image.fromarray(one) for one in large]).save(folder / f"mini-{name}.png", optimize=True)
        print("、".join(prompts))
    (folder / "mini-curve.svg").write_text(curve_svg(trainings(SHIPPED[DEFAULT]), FIGURE), encoding="utf-8")


if __name__ == "__main__":
    command.run(main, __doc__, 2)
