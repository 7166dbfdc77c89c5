"""The benchmark of the corpus: this project beside data-juicer, datatrove and img2dataset, in one run on one machine.

    python -m benchmarks.corpus [--smoke] [--json FILE] [--only KEY ...] [--runs N]

Prints a table; writes a list of rows (`rows.py`). Peers are run in environments of their own, in the folder that
M6_PEERS names (python -m benchmarks.peers.setup makes them); of one that is missing a line says so, and its rows have
no ratio. Texts come out of packages, in the folder that M6_BENCH_DATA names. `--smoke` is one run on a few bundled
texts: it shows that all works, and its figures mean nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from benchmarks.command import ONLY, RUNS, chosen, command
from benchmarks.rows import Row
from benchmarks.runners import ONE_THREAD, say

PARTS = {
    "clean": ("clean_vs_data_juicer", "clean_vs_datatrove", "clean_text_vs_data_juicer", "clean_text_vs_datatrove"),
    "minhash": (
        "minhash_mb_per_s_per_core",
        "minhash_vs_data_juicer",
        "minhash_vs_datatrove",
        "minhash_recall",
        "minhash_precision",
    ),
    "perplexity": ("perplexity_mb_per_s_per_core", "perplexity_at_once_mb_per_s_per_core"),
    "images": ("images_vs_img2dataset",),
    "memory": ("memory_at_10x",),
}
"""The files that measure, and their keys."""


def run(only: Sequence[str] = (), *, runs: int = 5, smoke: bool = False) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key, and for texts that cannot be had."""
    wanted = chosen(only, (key for keys in PARTS.values() for key in keys))
    rows: list[Row] = []
    for name, keys in PARTS.items():
        if set(keys) & set(wanted):
            say(f"measuring {', '.join(keys)}")
            measured = importlib.import_module(f"benchmarks.{name}").measure(1 if smoke else runs, smoke)
            rows += [row for row in measured if row["key"] in wanted]
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    os.environ.update(ONE_THREAD)
    return command(
        "corpus", __doc__, lambda given: run(given.only, runs=given.runs, smoke=given.smoke), {**ONLY, **RUNS}, words
    )


if __name__ == "__main__":
    sys.exit(main())
