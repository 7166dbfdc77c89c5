"""Makes the peers' environments: python -m benchmarks.peers.setup [--into FOLDER] [--only PEER ...]

Each is a virtual environment of its own, for they do not agree on the versions of what they need; together they take
about 7 GB. One that is whole is left as it is; one that cannot be made is told, and the others are made all the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runners import DEFAULT_PEERS, PEERS, say
from m6.config import UserError, nearest
from m6.run import ends_with_parent

# What it needs beside these is for image tokenizers of its own; see `benchmarks.peers.dalle`.
DALLE = (
    "--no-deps", "dalle-pytorch==1.6.6", "rotary-embedding-torch==0.2.3", "axial-positional-embedding==0.2.1",
    "einops==0.8.2", "numpy",
)  # fmt: skip
# What our operators of it import: it asks for none of these, and fetches some in the middle of its work.
DATA_JUICER = ("aiohttp", "emoji", "ftfy", "msgpack", "ray", "selectolax")
# What decodes pictures and encodes texts, at our versions: the same work takes as long on all sides.
READING = ("pillow==13.0.0", "tokenizers==0.23.3")
# Each list is a call of pip. torch comes first and alone: of this very version there is a build for the processor
# alone, and a range would bring gigabytes of CUDA packages along.
PACKAGES = {
    "dalle-pytorch": (("torch==2.13.0",), DALLE),
    "data-juicer": (("torch==2.13.0",), ("py-data-juicer==1.6.1", *DATA_JUICER)),
    "datatrove": (("datatrove[io,processing]==0.10.1", "lxml_html_clean"),),
    "diffusers": (("torch==2.13.0",), ("diffusers==0.42.1", "transformers==5.23.0")),
    "hf-datasets": (("torch==2.13.0",), ("datasets==5.2.0", *READING)),
    "img2dataset": (("img2dataset==1.47.0",),),
    "transformers": (("torch==2.13.0",), ("transformers==5.23.0",)),
    "webdataset": (("torch==2.13.0",), ("webdataset==1.0.2", *READING)),
    "x-transformers": (("torch==2.13.0",), ("x-transformers==2.31.10",)),
}
SETTINGS = {
    "dalle-pytorch": "as published, of our layers and widths, tied weights; the best of three learning rates; with its "
    "cache also without guidance, where it forgets it by itself",
    "data-juicer": "operators nearest to our rules, the same thresholds, one thread, in memory",
    "datatrove": "filters nearest to our rules, the same thresholds, one thread, in memory; a character is a word, "
    "which is faster than its own Chinese tokenizer",
    "diffusers": "VQModel of as many parameters and codes; pixels, batches and optimizer as ours",
    "hf-datasets": "an Arrow file mapped into memory, whole batches out of a sampler, as many workers as ours; "
    "pictures decoded by the transform, which is faster than by itself",
    "img2dataset": "one process of it on local files, its own resizing, our rules for size and aspect, Parquet",
    "transformers": "Starcoder2, or Mixtral with its eager experts, of our size; SDPA attention, fused AdamW; padded "
    "rows, and our packed ones under a 4-D mask",
    "webdataset": "tar files dealt out to as many workers as ours, shuffled in a buffer; resuming reads what it leaves "
    "out without decoding it",
    "x-transformers": "its layers at our size: flash attention, rotary positions, no biases; our packed rows and mask, "
    "logits only where a label is, fused AdamW",
}
"""How each is run, at its best that we found; the files beside this one say it in full."""
READY = ".ready"


def make(name: str, folder: Path) -> None:
    """The environment of a peer, unless it is there. UserError if pip fails, with its last line."""
    place = folder / name
    stamp = place / READY
    wanted = "\n".join(package for packages in PACKAGES[name] for package in packages)
    if stamp.is_file() and stamp.read_text() == wanted:
        say(f"{name} is there: {place}")
        return
    say(f"making {place}")
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    for packages in PACKAGES[name]:
        command = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, preexec_fn=ends_with_parent())
        if done.returncode:
            shutil.rmtree(place)  # half of one would be taken for a whole one
            raise UserError(f"benchmarks: {name}: pip failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    stamp.write_text(wanted)


def main(words: Sequence[str] | None = None) -> int:
    """Make what is asked for; see the top of this file."""
    parser = argparse.ArgumentParser("python -m benchmarks.peers.setup", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path(os.environ.get(PEERS, DEFAULT_PEERS)), metavar="FOLDER")
    parser.add_argument("--only", nargs="+", default=tuple(PACKAGES), metavar="PEER", help=", ".join(PACKAGES))
    given = parser.parse_args(words)
    for name in given.only:
        if name not in PACKAGES:
            print(f"benchmarks: no peer {name!r}{nearest(name, PACKAGES)}", file=sys.stderr)
            return 2
    return 2 if make_all(given.only, given.into) else 0


def make_all(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Make these, and say which could not be made and why; a line on stderr for each of them."""
    broken = {}
    for name in names:
        try:
            make(name, folder)
        except UserError as error:
            broken[name] = str(error).removeprefix("benchmarks: ")
            say(broken[name])
    return broken


if __name__ == "__main__":
    sys.exit(main())
