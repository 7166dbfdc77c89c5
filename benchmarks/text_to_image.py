"""Painting: sparse attention beside full, ours beside a plain loop and beside `generate` of transformers.

    python -m benchmarks.text_to_image [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--corpus FOLDER]

A model of the quickstart's size, float32, as many threads as there are cores. `sparse_...` hold the default window
against full attention: a step of training and the painting of 64 x 64 codes, 16 pictures with guidance at once (timed
at every 61st code, since a step takes as long as what it sees is large), memory of the caches, and held-out bits of a
code of 32 x 32 after as many steps of training, on real pictures: the bundled ones, or those of a corpus.
`guided16_...` are 16 pictures of 16 x 16 codes with guidance 3. `parallel_decode_speedup` is one picture of 32 x 32
codes by the model that the bits were measured of, guessed ahead, beside a code a step; the pictures are the same.
`--smoke` is a little of all.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.code_model import bits, trained
from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.paint import PROMPT, VOCABULARY, engine, model, read, write
from benchmarks.picture_codes import SIDE, Pictures, encoded, pictures
from benchmarks.rows import Row, row
from benchmarks.runners import named, paired, say, started
from m6.data.packing import pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.generate.prefill import Prefill
from m6.generate.sampling import Sampling
from m6.model.config import CodeAttentionConfig
from m6.model.sparse import FULL, grid
from m6.model.transformer import Transformer
from m6.train.pretrain import batch_loss

WINDOW = CodeAttentionConfig(pattern="window")
SPEED = ("sparse_decode_speedup", "sparse_train_speedup", "sparse_cache_memory")
LEARNT = ("sparse_bits_ratio", "parallel_decode_speedup")
GUIDED = {"guided16_vs_naive": "ours_naive", "guided16_vs_hf": "hf"}
KEYS = (*SPEED, *LEARNT, *GUIDED)
EVERY = 61  # codes from one that is timed to the next: of all columns by turns
AHEAD = (4, 8, 16)
FLAGS: Flags = {
    "--corpus": {"type": Path, "metavar": "FOLDER", "help": "pictures to learn from: a corpus (the bundled ones)"},
    "--steps": {"type": int, "default": 200, "metavar": "N", "help": "of training, for the bits (200)"},
}


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key and an unfit corpus."""
    keys, runs = chosen(given.only, KEYS), 1 if given.smoke else given.runs
    torch.set_num_threads(_cores())
    torch.set_flush_denormal(True)
    rows = [_SPEED[key](runs, given.smoke) for key in keys if key in SPEED]
    learnt = [key for key in keys if key in LEARNT]
    if learnt:
        rows += _learnt(learnt, given, runs)
    for key in keys:
        if key in GUIDED:
            rows.append(_guided(key, runs, given.smoke))
    return rows


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _by_turns(runs: int, *works: Callable[[], float]) -> list[list[float]]:
    """Figures of each, every second time in the opposite order."""
    found: list[list[float]] = [[] for _ in works]
    for number in range(runs):
        for index in list(range(len(works)))[:: -1 if number % 2 else 1]:
            found[index].append(works[index]())
    return found


def _decoding(runs: int, smoke: bool) -> Row:
    side, count = (16, 2) if smoke else (64, 16)
    made = {codes.pattern: model(codes, smoke) for codes in (WINDOW, FULL)}

    def rate(pattern: str) -> float:
        return 1 / _painting_seconds(made[pattern], side, 2 * count)

    ours, peer = _by_turns(runs, lambda: rate("window"), lambda: rate("full"))
    note = f"{count} pictures of {side} x {side} codes with guidance, timed at every {EVERY}st code"
    return _row(
        "sparse_decode_speedup", [count * own for own in ours], "pictures/s", [count * one for one in peer], note
    )


@torch.inference_mode()
def _painting_seconds(made: Transformer, side: int, rows: int) -> float:
    """Of all codes of a grid for so many rows, from those of some."""
    places, sparse = grid(side, side), made.config.code_attention.pattern != "full"
    state = Prefill(
        engine(made), [(Text(tuple(range(300, 300 + PROMPT))),)] * rows, len(places), places if sparse else ()
    )
    for cache in state.caches:
        cache.keys.copy_(torch.randn(cache.keys.shape))
        cache.values.copy_(torch.randn(cache.values.shape))
    tokens = torch.full((rows,), VOCABULARY.text_size)
    begun, seconds, timed = state.caches[0].length, 0.0, range(0, len(places), EVERY)
    for number in timed:
        for again in (False, True):  # the first time warms up
            for cache in state.caches:
                cache.length = begun + number
            start = time.perf_counter()
            state.step(tokens, state.order, *places[number])
            seconds += (time.perf_counter() - start) * again
    return seconds * len(places) / len(timed)


def _training(runs: int, smoke: bool) -> Row:
    side = 16 if smoke else 64
    codes = np.random.default_rng(0).integers(0, VOCABULARY.num_codes, (side, side))
    sample = Sample("", (), (Branch("text_to_image", (Text(tuple(range(300, 300 + PROMPT))),), Codes(codes)),))
    batch = pack([sample], VOCABULARY, 8, 0)
    made = {each.pattern: model(each, smoke).train() for each in (WINDOW, FULL)}

    def rate(pattern: str) -> float:
        start = time.perf_counter()
        batch_loss(made[pattern], batch)[0].backward()
        return side**2 / (time.perf_counter() - start)

    works = [lambda: rate("window"), lambda: rate("full")]
    _by_turns(1, *works)  # plans of tiles are made once
    ours, peer = _by_turns(runs, *works)
    return _row(
        "sparse_train_speedup", ours, "codes/s", peer, f"forward and backward of a picture of {side} x {side} codes"
    )


def _memory(runs: int, smoke: bool) -> Row:
    side = 16 if smoke else 64
    bytes_of = []
    for codes in (WINDOW, FULL):
        places = grid(side, side)
        prefix = (Text(tuple(range(300, 300 + PROMPT))),)
        state = Prefill(engine(model(codes, smoke)), [prefix], len(places), places if codes.pattern != "full" else ())
        bytes_of.append(sum(cache.keys.nbytes + cache.values.nbytes for cache in state.caches) / 2**20)
    note = f"a cost: MiB of keys and values, one picture of {side} x {side} codes and {PROMPT} tokens of text"
    return _row("sparse_cache_memory", bytes_of[:1], "MiB", bytes_of[1:], note, [bytes_of[0] / bytes_of[1]])


_SPEED = {"sparse_decode_speedup": _decoding, "sparse_train_speedup": _training, "sparse_cache_memory": _memory}


def _learnt(keys: Sequence[str], given: argparse.Namespace, runs: int) -> list[Row]:
    steps, most = (4, 64) if given.smoke else (given.steps, 3_000)
    pixels = pictures(given.corpus, most)
    say(f"learning codes of {len(pixels['train']):,} pictures")
    codes, _, quality = encoded(pixels, 4 if given.smoke else 120)
    made = {each.pattern: trained(codes["train"], each, steps, given.smoke) for each in (WINDOW, FULL)}
    rows = []
    if "sparse_bits_ratio" in keys:
        found = {name: bits(each, codes["heldout"]) for name, each in made.items()}
        note = (
            f"a cost: bits of a held-out code, {len(codes['heldout'])} pictures of {SIDE} x {SIDE} codes of "
            f"{pixels['train'].shape[1]} pixels, after {steps} steps; the image tokenizer has {quality:.1f} dB"
        )
        ratio = found["window"] / found["full"]
        rows.append(_row("sparse_bits_ratio", [found["window"]], "bits", [found["full"]], note, [ratio]))
    if "parallel_decode_speedup" in keys:
        rows.append(_parallel(made["full"], codes, runs, given.smoke))
    return rows


def _parallel(made: Transformer, codes: Pictures, runs: int, smoke: bool) -> Row:
    """The best of some numbers of guesses."""
    painter, side = engine(made), 8 if smoke else SIDE
    sampling = Sampling(temperature=1.0, top_k=100, seed=3)

    def painted(ahead: int) -> np.ndarray:
        return painter.paint([()], side, side, sampling, ahead=ahead)

    def rate(ahead: int) -> float:
        start = time.perf_counter()
        painted(ahead)
        return 1 / (time.perf_counter() - start)

    tried = AHEAD[:1] if smoke else AHEAD
    same = [float((painted(ahead) == painted(1)).mean()) for ahead in tried]
    found = _by_turns(runs, lambda: rate(1), *(lambda ahead=ahead: rate(ahead) for ahead in tried))  # type: ignore[misc]
    best = max(range(len(tried)), key=lambda index: float(np.median(found[index + 1])))
    note = f"{tried[best]} guessed a step, best of {tried}; {100 * min(same):.1f} % of the codes are the same"
    return _row("parallel_decode_speedup", found[best + 1], "pictures/s", found[0], note)


def _guided(key: str, runs: int, smoke: bool) -> Row:
    side, count = (4, 2) if smoke else (16, 16)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        path = Path(name) / "asked.pt"
        write(path, model(smoke=smoke), count, side, guidance=3.0)
        assert read(path).side == side
        commands = {"ours": [sys.executable, "-m", "benchmarks.paint", str(path), "cached"]}
        if key == "guided16_vs_naive":
            commands["ours_naive"] = [sys.executable, "-m", "benchmarks.paint", str(path), "naive"]
        elif find_spec("transformers"):
            commands["hf"] = [sys.executable, "-m", "benchmarks.peers.transformers_paint", str(path)]
        else:
            say("transformers is missing: pip install 'open-m6[vision]'")
        threads = {"OMP_NUM_THREADS": str(_cores())}
        found = paired(started(stack, commands, threads), runs)
    rates = {who: [one.kept / one.wall for one in each] for who, each in found.items()}
    peer = "a plain loop" if key == "guided16_vs_naive" else named("transformers", here=True)
    note = f"{count} pictures of {side} x {side} codes, guidance 3"
    return _row(key, rates["ours"], "pictures/s", rates.get(GUIDED[key], ()), note, peer=peer)


def _row(
    key: str,
    ours: Sequence[float],
    unit: str,
    other: Sequence[float],
    note: str,
    ratios: Sequence[float] = (),
    peer: str = "",
) -> Row:
    name = peer or ("open-m6, a code a step" if key == "parallel_decode_speedup" else "open-m6, full attention")
    note = f"{note}; {_cores()} threads"
    return row(key, ours, unit, peer=other, peer_name=name, ratios=ratios, note=note, module="text_to_image")


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("text_to_image", __doc__, measure, {**ONLY, **RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
