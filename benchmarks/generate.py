"""Captions, ours beside `generate` of transformers: python -m benchmarks.generate [--smoke] [--json FILE]

    python -m benchmarks.generate [--run RUN] [--captions N] [--only KEY ...] [--runs N]

Both caption the same real pictures, held-out ones first, with the weights of RUN (runs/quickstart), in float32 and with
as many threads as there are cores. `beam5_vs_hf` is beam search with 5 beams, `greedy_vs_hf` takes the likeliest token.
Figures are captions by seconds of the clock, pictures read and all; a ratio is taken within a pair of runs. How many of
the captions are the same is told beside. See `benchmarks.peers.transformers_generate` for the peer. `--smoke` captions
a few pictures with weights drawn by chance, unless a run is named; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.captions import write
from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.mixed import write_corpus
from benchmarks.rows import Row, row
from benchmarks.runners import Run, named, paired, say, started
from m6.config import UserError
from m6.corpus.document import Document, from_row
from m6.data.config import DataConfig
from m6.data.images import decode_image
from m6.generate.engine import Engine
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.shards import Shards

KEYS = {"beam5_vs_hf": 5, "greedy_vs_hf": 1}
"""With how many beams."""
CAPTIONS, SMOKE = 1_000, 8
DEFAULT_RUN = Path("runs/quickstart")
PEER = "transformers"
FLAGS: Flags = {
    "--run": {"type": Path, "metavar": "RUN", "help": f"a pretrained run ({DEFAULT_RUN})"},
    "--captions": {"type": int, "default": CAPTIONS, "metavar": "N", "help": f"how many pictures ({CAPTIONS})"},
}


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key, and where there is no run."""
    keys = chosen(given.only, KEYS)
    if given.captions < 1:
        raise UserError(f"benchmarks: --captions {given.captions} is too small, it takes 1 at least")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.smoke and given.run is None:
            engine, corpus = _untrained(folder), folder / "corpus"
        else:
            run = given.run or DEFAULT_RUN
            if not (run / "pretrain" / "done.json").exists():
                raise UserError(f"benchmarks: {run} is no pretrained run; make it with: m6 quickstart")
            engine, corpus = Engine.load(run), run / "corpus"
        pictures = _pictures(corpus, SMOKE if given.smoke else given.captions)
        write(folder / "asked.pt", engine, [engine.picture(pixels) for pixels in pictures])
        rows = [_row(key, folder, len(pictures), 1 if given.smoke else given.runs) for key in keys]
    for one in rows:
        one["command"] += f" --run {given.run}" if given.run else ""
    return rows


def _untrained(folder: Path) -> Engine:
    """A small model, and a corpus of bundled pictures beside it."""
    vocabulary = write_corpus(folder, smoke=True)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(num_layers=2, hidden_size=64, ffn_size=256), vocabulary.size)
    no_tokenizer: Any = None
    return Engine(model, vocabulary, no_tokenizer, None, DataConfig(image_input="pixels"), 64)


def _pictures(corpus: Path, count: int) -> list[Any]:
    """Pixels [S, S, 3] of the first documents with a picture and a text, held-out ones first."""
    shards = Shards(corpus)
    found: dict[str, list[Document]] = {"heldout": [], "train": []}
    for place in range(len(shards)):
        document = from_row(shards[place])
        if document["images"] and document["text"] and document["split"] in found:
            found[document["split"]].append(document)
    pictured = [document for split in found.values() for document in split][:count]
    if len(pictured) < count:
        raise UserError(f"benchmarks: {corpus} has {len(pictured)} pictures; ask for as many with --captions")
    return [decode_image(document["images"][0]["bytes"]) for document in pictured]


def _row(key: str, folder: Path, count: int, runs: int) -> Row:
    given = [str(folder / "asked.pt"), str(KEYS[key])]
    told = {who: folder / f"{key}.{who}.pt" for who in ("ours", "hf")}
    commands = {"ours": [sys.executable, "-m", "benchmarks.captions", *given, str(told["ours"])]}
    if find_spec("transformers"):
        commands["hf"] = [sys.executable, "-m", "benchmarks.peers.transformers_generate", *given, str(told["hf"])]
    else:
        say("transformers is missing: pip install 'open-m6[vision]'")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    with contextlib.ExitStack() as stack:
        threads = {"OMP_NUM_THREADS": str(cores)}
        found = paired(started(stack, commands, threads), runs)
        said = [f"{count:,} captions, {cores} threads"]
        if "hf" in found:
            ours, theirs = (torch.load(told[who]) for who in ("ours", "hf"))
            same = sum(own == other for own, other in zip(ours["captions"], theirs["captions"], strict=True))
            said.append(f"{same:,} the same; the peer's best: {theirs['at_once']} at once")
    rates = {who: [_rate(one) for one in each] for who, each in found.items()}
    return row(
        key, rates["ours"], "captions/s", peer=rates.get("hf", ()), peer_name=named(PEER, here=True),
        note=", ".join(said), module="generate",
    )  # fmt: skip


def _rate(run: Run) -> float:
    return run.kept / run.wall


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("generate", __doc__, measure, {**ONLY, **RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
