"""The benchmark of the image tokenizer: ours beside the VQModel of diffusers of as many parameters, one thread each.

    python -m benchmarks.vqgan [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--seconds S]

Both take pictures of 128 x 128 pixels to 16 x 16 codes of 1,024 (f8). `encode_vs_diffusers` and `decode_vs_diffusers`
are pictures a second, from pixels to codes and from codes to pixels, in float32, by turns. Seconds are those of user
CPU of one thread, on an idle machine those of the clock. `psnr_vs_diffusers` trains each from the start for as many of
these seconds, one after the other, on the same pictures (the bundled emoji) with the same losses of pixels, batches and
optimizer, and divides what they reach on held-out ones, in dB. `--smoke` is one run on a few pictures, whose figures
mean nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.rows import Row, row
from benchmarks.runners import NO_NETWORK, ONE_THREAD, ROOT, named, or_left_out, paired, peer_python, say, started
from m6.config import UserError
from m6.corpus.config import EmojiConfig
from m6.corpus.sources import reader
from m6.data.images import decode_image
from m6.run import ends_with_parent

SIDE = 128
PEER = "diffusers"
UNITS = {"encode_vs_diffusers": "pictures/s", "decode_vs_diffusers": "pictures/s", "psnr_vs_diffusers": "dB"}
HELD_OUT = 8  # every so many pictures
SECONDS: Flags = {
    "--seconds": {"type": float, "default": 300.0, "metavar": "S", "help": "of each training, of CPU (300)"}
}


def run(only: Sequence[str] = (), *, runs: int = 5, smoke: bool = False, seconds: float = 300.0) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key."""
    if seconds <= 0:
        raise UserError(f"benchmarks: --seconds {seconds} is too short, it has to be above 0")
    keys = chosen(only, UNITS)
    python = peer_python(PEER)
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name) / "pictures.npz"
        write_pictures(pictures, 24 if smoke else 0)
        programs = {"ours": [sys.executable, "-m", "benchmarks.vqgan_model", str(pictures)]}
        if python:
            programs["peer"] = [str(python), str(ROOT / "benchmarks/peers/diffusers_vqgan.py"), str(pictures)]
        rows = []
        for key in keys:
            say(f"measuring {key}")
            if key == "psnr_vs_diffusers":
                rows.append(_quality(key, programs, 1.0 if smoke else seconds))
            else:
                rows.append(_speed(key, programs, 1 if smoke else runs))
    return rows


def write_pictures(path: Path, most: int) -> None:
    """Writes the bundled emoji, all if `most` is 0, as arrays `train` and `heldout`, [N, 128, 128, 3] uint8."""
    config = EmojiConfig(most=most) if most else EmojiConfig()
    kind = reader(config.kind)
    found = []
    for part in kind.parts("emoji", config):
        for document in kind.read(part, config, 0):
            if isinstance(document, dict):
                small = Image.fromarray(decode_image(document["images"][0]["bytes"]))
                found.append(np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
    pictures = np.stack(found)
    held = np.arange(len(pictures)) % HELD_OUT == 0
    np.savez(path, train=pictures[~held], heldout=pictures[held])


def _speed(key: str, programs: dict[str, list[str]], runs: int) -> Row:
    """Pictures a second, of programs that are warm, by turns."""
    what = key.split("_")[0]
    with contextlib.ExitStack() as stack:
        found = paired(started(stack, {who: [*words, what] for who, words in programs.items()}), runs)
    rates = {who: [one.kept / one.user for one in runs_of] for who, runs_of in found.items()}
    return _row(key, rates["ours"], rates.get("peer", ()), "float32, one thread, by user CPU")


def _quality(key: str, programs: dict[str, list[str]], seconds: float) -> Row:
    """PSNR after a training of so many seconds, one after the other."""
    told = {}
    for who, words in programs.items():
        with or_left_out(who, words):
            told[who] = _trained([*words, "train", str(seconds)])
    said = ", ".join(
        f"{who} {int(each['parameters']):,} parameters, {int(each['steps'])} steps" for who, each in told.items()
    )
    peer = [told["peer"]["psnr"]] if "peer" in told else []
    return _row(key, [told["ours"]["psnr"]], peer, f"{seconds:.0f} s of CPU each; {said}")


def _trained(words: list[str]) -> dict[str, float]:
    environment = {**os.environ, **ONE_THREAD, **NO_NETWORK}
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=environment, preexec_fn=ends_with_parent()
    )
    if done.returncode:
        raise UserError(f"benchmarks: {' '.join(words[:3])} ended: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _row(key: str, ours: Sequence[float], peer: Sequence[float], note: str) -> Row:
    said = note if peer else f"{note}; not available"
    return row(key, ours, UNITS[key], peer=peer, peer_name=f"{named(PEER)}, VQModel", note=said, module="vqgan")


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command(
        "vqgan",
        __doc__,
        lambda given: run(given.only, runs=given.runs, smoke=given.smoke, seconds=given.seconds),
        {**ONLY, **RUNS, **SECONDS},
        words,
    )


if __name__ == "__main__":
    sys.exit(main())
