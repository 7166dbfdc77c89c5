"""What `m6 generate paint` does: candidates for one prompt, ranked by the model itself, as PNG files that say how they
were made.

The score of a candidate is that of `rank`: how much likelier the picture makes the prompt, nats a token. It needs a
model that has learnt to caption pictures.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from m6.config import UserError
from m6.data.objectives import PAINTING
from m6.generate.editing import Edited
from m6.generate.engine import BATCH, Engine
from m6.generate.painting import Watch
from m6.generate.rank import fits
from m6.generate.sampling import Sampling
from m6.generate.text_to_image import GUIDANCE, Grid, paint_codes, unfinished
from m6.recipes.recipe import Recipe
from m6.run import check_writable, progress, write_atomic
from m6.shipped import told

MOST = 256  # candidates: more are several commands
GAP = 4  # pixels between pictures of a sheet


@dataclass(frozen=True)
class Wanted:
    """How a prompt is painted. UserError for a value that makes no sense."""

    prompt: str
    n: int = 1
    """Candidates; number i draws from the seed + i."""
    best: int = 0
    """How many of them are kept, the ones that fit the prompt best; 0 keeps all, in order of their seeds."""
    size: str = ""
    """Pixels, as 256 or, width x height, 384x256; that of the pictures the run was trained on if empty."""
    coarse: str = ""
    """Paint a picture of that size first, and the other over it; straight away if empty."""
    guidance: float = GUIDANCE
    image: Path | None = None
    """A picture that is edited."""
    region: tuple[int, int, int, int] | None = None
    """What of it is painted anew: left, upper, width, height, in pixels of the painting."""
    mask: Path | None = None
    """The same as a picture: what is white."""
    ahead: int = 1
    """Codes that are guessed at in one step; what is painted is the same."""
    show_every: int = 0
    """Rows of codes after which the file progress.png is written anew; 0 writes none."""

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise UserError("prompt: the text is empty; say what is to be painted")
        if not 1 <= self.n <= MOST:
            raise UserError(f"n {self.n}: it has to be from 1 to {MOST} candidates, such as 16")
        if not 0 <= self.best <= self.n:
            raise UserError(f"best {self.best}: it has to be from 1 to n, here {self.n}")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise UserError(f"guidance {self.guidance}: it has to be 0 or above, such as 1 (none) or 3")
        if self.ahead < 1:
            raise UserError(f"ahead {self.ahead}: it has to be 1 (a code a step) or above, such as 8")
        if self.show_every < 0:
            raise UserError(f"show_every {self.show_every}: it has to be 0 (never) or above, such as 4 rows")
        if (self.image is None) != (self.region is None and self.mask is None):
            raise UserError("image, region, mask: to edit a picture give --image, and --region or --mask")
        if self.region is not None and self.mask is not None:
            raise UserError("region, mask: give one of them")
        if self.image is not None and self.coarse:
            raise UserError("coarse: a picture that is edited is painted at once; leave it out")

    @property
    def edited(self) -> dict[str, str]:
        """What a PNG tells of the picture that is edited: names of files, and the region."""
        told = {"image": self.image and self.image.name, "mask": self.mask and self.mask.name}
        told["region"] = self.region and ",".join(map(str, self.region))
        return {name: value for name, value in told.items() if value}

    @property
    def objective(self) -> str:
        """The one that the run has to have learnt."""
        return "inpainting" if self.image is not None else "coarse_to_fine" if self.coarse else "text_to_image"


def paint(folder: Path, output: Path, prompt: str, **given: Any) -> list[str]:
    """Paints into a PNG file, or into a folder with a sheet of all candidates; lines that say what was written.
    `given`: fields of `Wanted` and of `Sampling`, and `int8` of `Engine.load`. UserError for whatever is wrong, before
    anything is painted."""
    int8 = given.pop("int8", False)
    drawn = {name: given.pop(name) for name in ("seed", "temperature", "top_k", "top_p") if name in given}
    wanted = Wanted(prompt, **given)
    sampling = Sampling(**{"temperature": 1.0 if wanted.n > 1 else 0.0, **drawn})
    if wanted.n > 1 and not sampling.temperature:
        raise UserError(f"temperature 0 with n {wanted.n}: all candidates would be the same; take 1, or one candidate")
    alone = output.suffix.lower() == ".png"
    _check_output(output, alone, wanted)
    check_learnt(folder, wanted)
    engine = Engine.load(folder, int8=int8)
    _warn_of_size(engine, wanted)
    candidates = paint_candidates(engine, wanted, sampling, None if alone else output / "progress.png")
    about = {"prompt": prompt, "guidance": f"{wanted.guidance:g}", "temperature": f"{sampling.temperature:g}"}
    about |= wanted.edited
    if alone:
        save_png(candidates[0].image, output, about | candidates[0].about)
        return [f"{output}: {prompt}"]
    output.mkdir(exist_ok=True)
    lines = []
    for number, one in enumerate(candidates[: wanted.best or wanted.n], start=1):
        path = output / f"{number:02}.png"
        save_png(one.image, path, about | one.about)
        lines.append(f"{path}: {', '.join(f'{name} {value}' for name, value in one.about.items() if name != 'size')}")
    scores = " ".join(one.about.get("score", "-") for one in candidates)
    seeds = " ".join(one.about["seed"] for one in candidates)
    save_png(sheet([one.image for one in candidates]), output / "sheet.png", about | {"seed": seeds, "score": scores})
    return [*lines, f"{output / 'sheet.png'}: all {wanted.n}, {'best first' if wanted.best else 'by seed'}"]


def check_learnt(folder: Path, wanted: Wanted) -> None:
    """UserError unless the run of a folder has learnt what is wanted of it."""
    learnt = Recipe.read(folder / "config.json").learnt
    if wanted.objective not in learnt:
        never = " and never saw image codes" if not learnt & set(PAINTING) else ""
        raise UserError(
            f"{told(folder)}: this run has not learnt {wanted.objective}{never};"
            f" it has learnt {', '.join(sorted(learnt))}"
        )
    if wanted.best and "captioning" not in learnt:
        raise UserError(f"{told(folder)}: --best needs a run that has learnt captioning; leave it out")


@dataclass(frozen=True)
class Candidate:
    """A picture, and what is told about it beside what all candidates share."""

    image: Image.Image
    about: dict[str, str]


def paint_candidates(engine: Engine, wanted: Wanted, sampling: Sampling, shown: Path | None = None) -> list[Candidate]:
    """All candidates, the best ones first if some are chosen. `shown`: where pictures are written while they are
    painted."""
    side = f"{engine.picture_size}"
    grid = Grid.of(wanted.size or side, engine)
    coarse = Grid.of(wanted.coarse, engine) if wanted.coarse else None
    edited = Edited.of(engine, grid, wanted.image, wanted.region, wanted.mask) if wanted.image else None
    prompts = [wanted.prompt] * wanted.n
    count = wanted.n * (int(edited.edit.region.sum()) if edited else grid.height * grid.width)
    with progress(count, "paint", quiet=count < BATCH) as bar:
        codes = paint_codes(
            engine, prompts, grid, sampling, wanted.guidance, coarse=coarse, edit=edited.edit if edited else None,
            ahead=wanted.ahead, watch=_watch(engine, bar, wanted, grid, shown),
        )  # fmt: skip
    pixels = np.concatenate([engine.decode_codes(codes[at : at + 16]) for at in range(0, len(codes), 16)])
    pixels = edited.kept(pixels) if edited else pixels
    about = [
        {"seed": str(sampling.seed + index), "size": f"{pixels.shape[2]}x{pixels.shape[1]}"}
        for index in range(wanted.n)
    ]
    order = list(range(wanted.n))
    if wanted.best:
        found = scores(engine, pixels, wanted.prompt)
        about = [{**one, "score": f"{score:.4f}"} for one, score in zip(about, found, strict=True)]
        order.sort(key=lambda index: (-found[index], index))
    return [Candidate(Image.fromarray(pixels[index]), about[index]) for index in order]


def scores(engine: Engine, pixels: np.ndarray, prompt: str) -> np.ndarray:
    """How well each picture [B, S, S', 3] fits a prompt, nats a token: [B]. They are looked at in the size that the
    model was trained on."""
    shape = (engine.picture_size, engine.picture_size)
    looked = [np.asarray(Image.fromarray(one).resize(shape, Image.Resampling.BOX)) for one in pixels]
    return fits(engine, [(engine.picture(one),) for one in looked], [engine.text(prompt)], per_token=True)[:, 0]


def best_of(engine: Engine, prompts: Sequence[str], rounds: np.ndarray) -> np.ndarray:
    """Of candidates [C, B, S, S', 3] the one of each prompt that fits it best: [B, S, S', 3]."""
    if len(rounds) == 1:
        return np.asarray(rounds[0])
    best = [int(scores(engine, rounds[:, place], prompt).argmax()) for place, prompt in enumerate(prompts)]
    return np.asarray(rounds[best, np.arange(len(prompts))])


def _watch(engine: Engine, bar: Any, wanted: Wanted, grid: Grid, shown: Path | None) -> Watch:
    """Moves the bar on, and writes what is painted so far."""
    done = 0

    def watch(grids: np.ndarray, painted: int) -> None:
        nonlocal done
        each = wanted.show_every * grid.width * wanted.n
        if each and shown is not None and painted // each > done // each:
            shown.parent.mkdir(exist_ok=True)
            save_png(sheet([Image.fromarray(one) for one in unfinished(engine, grids)]), shown, {})
        bar.advance(painted - done)
        done = painted

    return watch


def sheet(images: list[Image.Image]) -> Image.Image:
    """All pictures on one, in rows, about as many rows as columns."""
    columns = math.ceil(math.sqrt(len(images)))
    width, height = (side + GAP for side in images[0].size)
    whole = Image.new("RGB", (columns * width - GAP, -(-len(images) // columns) * height - GAP), "white")
    for index, image in enumerate(images):
        whole.paste(image, (index % columns * width, index // columns * height))
    return whole


def save_png(image: Image.Image, path: Path, about: Mapping[str, str]) -> None:
    """Write a picture as PNG, atomically, with what is told about it as international texts (iTXt)."""
    info = PngInfo()
    for name, text in about.items():
        info.add_itxt(name, text)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    write_atomic(path, buffer.getvalue())


def _warn_of_size(engine: Engine, wanted: Wanted) -> None:
    """Says on stderr that a size is none that the model has seen. One that is told sizes has seen several."""
    side = engine.codes_side
    if not engine.data.tell_size and Grid.of(wanted.size or f"{engine.picture_size}", engine) != (side, side):
        seen = engine.picture_size
        line = f"this run has seen pictures of {seen}x{seen} pixels alone; another size may come out as nothing"
        print(f"m6: --size {wanted.size}: {line}", file=sys.stderr, flush=True)


def _check_output(output: Path, alone: bool, wanted: Wanted) -> None:
    if output.suffix and not alone and not output.exists():
        raise UserError(
            f"{output}: pictures are written as PNG; give --output a name that ends in .png, or that of a folder,"
            " without an ending"
        )
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output}: no folder {output.parent}, make it first")
    if alone and (wanted.best or wanted.n) > 1:
        raise UserError(f"{output}: one file, and {wanted.best or wanted.n} pictures to write; name a folder")
    if alone and wanted.show_every:
        raise UserError(f"show_every: progress.png is written into a folder; name one, not {output}")
    if output.is_dir() if alone else output.exists() and not output.is_dir():
        raise UserError(f"{output}: it is {'a folder' if alone else 'a file'}; name another")
    check_writable(output if output.is_dir() else output.absolute().parent, "--output")
