"""The large pictures of the page on painting: python examples/large.py RUN docs

`images/large.png`, one picture of 1024 x 1024 pixels, and `images/large-sheet.png`, six at a third of that: things of
the corpus of a run of the recipe `large`, evenly out of those it was trained on, from their names alone, the likeliest
code each time, right or wrong, nothing picked by hand but which of the six is shown whole. Prints the names.
"""

from pathlib import Path

import command
from PIL import Image

from m6.corpus.document import from_row
from m6.generate.engine import Engine
from m6.generate.paintings import sheet
from m6.generate.text_to_image import Grid, paint_codes
from m6.shards import Shards

COUNT, SHOWN, SMALL = 6, 4, 341


def names(run: Path) -> list[str]:
    """Of things that it was trained to paint."""
    shards = Shards(run / "corpus")
    rows = [from_row(shards[index]) for index in range(len(shards))]
    known = [row["title"] for row in rows if row["split"] == "train"]
    return known[:: len(known) // COUNT][:COUNT]


def main(run: Path, docs: Path) -> None:
    """Both."""
    engine, prompts = Engine.load(run), names(run)
    codes = paint_codes(engine, prompts, Grid.of("1024", engine), coarse=Grid.of("256", engine))
    painted = [Image.fromarray(engine.decode_codes(one[None])[0]) for one in codes]
    folder = docs / "images"
    folder.mkdir(parents=True, exist_ok=True)
    painted[SHOWN].save(folder / "large.png", optimize=True)
    small = [image.resize((SMALL, SMALL), Image.Resampling.LANCZOS) for image in painted]
    sheet(small).save(folder / "large-sheet.png", optimize=True)
    print("、".join(prompts))


if __name__ == "__main__":
    command.run(main, __doc__, 2)
