"""How fast pictures are brought to the training size, beside img2dataset.

    python -m benchmarks.images --photos DIR [--peers DIR] [--json FILE] [--smoke]

Each run gives the same JPEG files to both: read the file, decode, rules, bring to a square of 256 pixels on white,
encode as JPEG of quality 90, write Parquet. img2dataset has our rules for size and aspect; ours also ask whether a
picture is of one colour, and hash it for near duplicates. Every program is one process that has done the whole work
once before the clock counts; seconds are those of user CPU, which other programs on the machine change least.

Photographs: the folder `--photos` or `M6_PHOTOS` (runs/photos), which `benchmarks/photos.py` fills from open packages.
Without it pictures are put together from the bundled ones; they have more fine detail than a photograph, which slows
decoding for both. The peer: `img2dataset` in the folder `--peers` or `M6_PEERS` (python -m benchmarks.peers.setup).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.command import RUNS, command
from benchmarks.peers.serve import serve
from benchmarks.rows import Row, row
from benchmarks.runners import PEERS, named, paired, peer_python, say, started
from m6.config import UserError
from m6.corpus.config import ImageFormat, ImageRules
from m6.corpus.images.prepare import Picture, prepare
from m6.corpus.starter import emoji_pictures

KEYS = ("images_vs_img2dataset",)
PEER = "img2dataset"
PHOTOS = "M6_PHOTOS"
DEFAULT_PHOTOS = "runs/photos"
SIZE = 256
FORM = ImageFormat(encoding="jpeg", quality=90)
SMOKE = 24  # pictures
PUT_TOGETHER = 200  # pictures
ROWS = 100  # in a row group, as img2dataset has it
SCHEMA = pa.schema(
    [("url", pa.string()), ("jpg", pa.binary()), ("original_width", pa.int32()), ("original_height", pa.int32())]
)


def measure(runs: int = 5, smoke: bool = False) -> list[Row]:
    """The row of the key; without the peer's environment it has no ratio. UserError for a folder without pictures."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths, kind = photographs(folder, smoke)
        listed = folder / "list.txt"
        listed.write_text("\n".join(str(path.absolute()) for path in paths), encoding="utf-8")
        commands = {"ours": [sys.executable, "-m", "benchmarks.images", "--serve"]}
        if python := peer_python(PEER):
            commands[PEER] = [str(python), str(Path(__file__).parent / "peers" / "img2dataset_images.py")]
        for name, words in commands.items():
            (folder / name).mkdir()
            words += [str(listed), str(folder / name)]
        found = paired(started(stack, commands), runs)
    clock = (f"{name} {len(paths) / statistics.median(run.wall for run in some):.1f}" for name, some in found.items())
    say(f"images/s by the clock: {', '.join(clock)}")
    rates = {name: [len(paths) / run.user for run in some] for name, some in found.items()}
    kept = ", ".join(f"{name} {some[0].kept}" for name, some in found.items())
    note = f"{len(paths)} {kind}, user CPU; kept: {kept}"
    theirs, name = rates.get(PEER, ()), named(PEER)
    return [row(KEYS[0], rates["ours"], "images/s per core", peer=theirs, peer_name=name, note=note)]


def photographs(folder: Path, smoke: bool) -> tuple[list[Path], str]:
    """The JPEG files to measure on, and what they are. UserError if the folder that is named has none."""
    named = os.environ.get(PHOTOS)
    paths = sorted(Path(named or DEFAULT_PHOTOS).glob("*.jpg"))
    if not paths and named:
        raise UserError(f"benchmarks: {PHOTOS}: no *.jpg in {named}; make some with: python -m benchmarks.photos")
    if paths:
        return paths[:: max(1, len(paths) // SMOKE) if smoke else 1], "photographs"
    say(f"no photographs in {DEFAULT_PHOTOS}; pictures are put together from the bundled ones")
    return put_together(folder, SMOKE if smoke else PUT_TOGETHER), "pictures put together from bundled ones"


def put_together(folder: Path, number: int) -> list[Path]:
    """JPEG files of many bundled pictures on a gradient, in sizes of the web; the same for the same `number`."""
    chance = random.Random(0)
    names = sorted(emoji_pictures())
    for count in range(number):
        width, height = chance.choice(((640, 480), (800, 600), (1_000, 750), (1_280, 720), (1_600, 900)))
        image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
        for name in chance.sample(names, 60):
            emoji = Image.open(io.BytesIO(emoji_pictures()[name])).convert("RGBA")
            emoji = emoji.resize((chance.randint(40, 200),) * 2)
            image.paste(emoji, (chance.randrange(width), chance.randrange(height)), emoji)
        image.save(folder / f"{count:05d}.jpg", quality=85)
    return sorted(folder.glob("*.jpg"))


def prepare_all(paths: Sequence[str], out: Path) -> int:
    """Prepare these files and write them as Parquet; how many were kept."""
    kept = 0
    rules = ImageRules()
    with pq.ParquetWriter(out / "00000.parquet", SCHEMA) as writer:
        for start in range(0, len(paths), ROWS):
            some = paths[start : start + ROWS]
            prepared = [(path, prepare(Path(path).read_bytes(), rules, SIZE, FORM)) for path in some]
            rows = [(path, found.data, *found.found) for path, found in prepared if isinstance(found, Picture)]
            columns = zip(*rows, strict=True) if rows else [[]] * len(SCHEMA)
            writer.write_table(pa.table([list(column) for column in columns], SCHEMA))
            kept += len(rows)
    return kept


FLAGS = {
    "--photos": {"metavar": "DIR", "help": f"folder of JPEG files ({PHOTOS})"},
    "--peers": {"metavar": "DIR", "help": f"folder of the peers' environments ({PEERS})"},
    **RUNS,
}


def main() -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    if sys.argv[1:2] == ["--serve"]:  # the program that is measured; its list of files, and a folder
        paths, out = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines(), Path(sys.argv[3])
        serve(lambda: prepare_all(paths, out))
        return 0
    return command("images", __doc__, _measure, FLAGS)


def _measure(given: argparse.Namespace) -> list[Row]:
    os.environ.update({name: value for name, value in ((PHOTOS, given.photos), (PEERS, given.peers)) if value})
    return measure(1 if given.smoke else given.runs, given.smoke)


if __name__ == "__main__":
    sys.exit(main())
