"""The benchmark of growth: how seconds grow with the size of the work, as exponents; 1 is in proportion, 2 its square.

    python -m benchmarks.growth [--smoke] [--json FILE] [--only KEY ...] [--runs N]

Each key is the slope of a straight line through log seconds by log size, at four sizes or more, of forward and backward
of a model of the quickstart's size over the tokens of a row (`length_exponent` with full attention,
`sparse_length_exponent` with the default window of codes), over the number of experts with one for each token
(`experts_exponent`), over the rows of a batch (`batch_exponent`); of writing over the tokens that are written
(`decode_exponent`); of cleaning texts and of finding near duplicates over documents (`corpus_exponent`,
`dedup_exponent`). Seconds are those of CPU, with one thread; sizes take turns, each run has a slope, the median is the
figure. `points` of a row are the medians, [size, seconds]. All are costs: less is better. `--smoke` is one run at small
sizes, whose figures mean nothing.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from math import isqrt
from pathlib import Path

import numpy as np
import torch

from benchmarks.clean import count_kept
from benchmarks.command import ONLY, RUNS, chosen, command
from benchmarks.minhash import find, planted
from benchmarks.paint import PROMPT, VOCABULARY, engine
from benchmarks.rows import Row, row
from benchmarks.runners import ONE_THREAD, say
from benchmarks.texts import recombined
from m6.corpus.starter import poem_rows
from m6.data.packing import pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.generate.prefill import Prefill
from m6.model.config import CodeAttentionConfig, ExpertsConfig, ModelConfig
from m6.model.transformer import Transformer
from m6.train.pretrain import batch_loss

Work = Callable[[], object]

SIZE = ModelConfig(num_layers=4, hidden_size=192, num_heads=4, ffn_size=768)
SMALL = ModelConfig(num_layers=2, hidden_size=64, num_heads=2, ffn_size=256)
TEXT = 384  # tokens of a row of text
ROWS = 4  # where their number stays


def _model(smoke: bool, **changes: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer((SMALL if smoke else SIZE).model_copy(update=changes), VOCABULARY.size)


def _training(made: Transformer, samples: Sequence[Sample]) -> Work:
    """Forward and backward, each sample in a row of its own."""
    batch = pack(samples, VOCABULARY, 8, 0)

    def work() -> None:
        made.zero_grad(set_to_none=True)
        batch_loss(made, batch)[0].backward()

    return work


def _texts(number: int, smoke: bool) -> list[Sample]:
    rng = np.random.default_rng(0)
    written = rng.integers(300, VOCABULARY.text_size, (number, (TEXT // 4 if smoke else TEXT) - 1))
    return [Sample("", (), (Branch("language_modelling", (), Text(tuple(ids))),)) for ids in written.tolist()]


def _length(pattern: str) -> Callable[[int, bool], Work]:
    def prepared(codes: int, smoke: bool) -> Work:
        side = isqrt(codes)
        grid = np.random.default_rng(0).integers(0, VOCABULARY.num_codes, (side, side))
        branch = Branch("text_to_image", (Text(tuple(range(300, 300 + PROMPT))),), Codes(grid))
        made = _model(smoke, code_attention=CodeAttentionConfig.model_validate({"pattern": pattern}))
        return _training(made, [Sample("", (), (branch,))])

    return prepared


def _experts(number: int, smoke: bool) -> Work:
    return _training(_model(smoke, experts=ExpertsConfig(num_experts=number)), _texts(ROWS, smoke))


def _batch(rows: int, smoke: bool) -> Work:
    return _training(_model(smoke), _texts(rows, smoke))


def _decoding(tokens: int, smoke: bool) -> Work:
    """So many tokens one after the other behind a short prompt, with the cache."""
    writer, prefix = engine(_model(smoke)), (Text(tuple(range(300, 300 + PROMPT))),)

    @torch.inference_mode()
    def work() -> None:
        state = Prefill(writer, [prefix], tokens)
        token = torch.tensor([300])
        for number in range(tokens):
            state.step(token, state.order + number, 0, 0)

    return work


def _recombined(number: int) -> list[str]:
    """So many texts out of sentences of the bundled poems; the first of many are the same as few."""
    poems = ["".join(one["couplets"]) for one in poem_rows()]
    return list(itertools.islice(recombined(poems, sys.maxsize), number))


def _cleaning(documents: int, smoke: bool) -> Work:
    some = _recombined(documents)
    return lambda: count_kept(some, html=False)


def _dedup(documents: int, smoke: bool) -> Work:
    some = planted(_recombined(documents), random.Random(0))

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            find(some, Path(folder))

    return work


CURVES: dict[str, tuple[str, Callable[[int, bool], Work], tuple[int, ...], tuple[int, ...]]] = {
    "length_exponent": ("codes of a row, full attention", _length("full"), (256, 576, 1024, 2304), (16, 36, 64, 100)),
    "sparse_length_exponent": ("codes of a row, window", _length("window"), (256, 576, 1024, 2304), (16, 36, 64, 100)),
    "experts_exponent": ("experts, top-1", _experts, (2, 4, 8, 16, 32), (2, 3, 4, 5)),
    "batch_exponent": (f"rows of {TEXT} tokens", _batch, (1, 2, 4, 8, 16), (1, 2, 3, 4)),
    "decode_exponent": ("tokens written", _decoding, (128, 256, 512, 1024), (4, 8, 12, 16)),
    "corpus_exponent": ("documents cleaned", _cleaning, (500, 1000, 2000, 4000), (10, 20, 30, 40)),
    "dedup_exponent": ("documents, one in ten a near duplicate", _dedup, (1000, 2000, 4000, 8000), (40, 60, 80, 100)),
}
"""By key: what grows, the work of a size, the sizes, and those of `--smoke`."""


def run(only: Sequence[str] = (), *, runs: int = 5, smoke: bool = False) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = []
    for key in chosen(only, CURVES):
        say(f"measuring {key}")
        what, prepared, sizes, few = CURVES[key]
        found = seconds_of({size: prepared(size, smoke) for size in (few if smoke else sizes)}, 1 if smoke else runs)
        slopes = [slope(list(found), list(each)) for each in zip(*found.values(), strict=True)]
        points = [(float(size), statistics.median(some)) for size, some in found.items()]
        said = ", ".join(f"{size:,.0f}: {seconds:.3g}" for size, seconds in points)
        note = f"a cost; {what}, s of CPU, one thread: {said}"
        rows.append(row(key, slopes, "exponent", ratios=slopes, note=note, module="growth", points=points))
    return rows


def seconds_of(works: dict[int, Work], runs: int) -> dict[int, list[float]]:
    """Seconds of CPU of each size, by turns, every second time in the opposite order; each is done once before."""
    found: dict[int, list[float]] = {size: [] for size in works}
    for work in works.values():
        work()
    for number in range(runs):
        for size in list(works)[:: -1 if number % 2 else 1]:
            start = _cpu()
            works[size]()
            found[size].append(_cpu() - start)
    return found


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Of the straight line of least squares through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _cpu() -> float:
    """Seconds of this process and of its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    os.environ.update(ONE_THREAD)
    return command(
        "growth", __doc__, lambda given: run(given.only, runs=given.runs, smoke=given.smoke), {**ONLY, **RUNS}, words
    )


if __name__ == "__main__":
    sys.exit(main())
