"""How fast perplexity is measured: one text after the other, as the rule `not_fluent` asks, and many at once.

In: plain texts, the embedded model. MB of text by seconds of user CPU of this process, which has one thread.
"""

from __future__ import annotations

from benchmarks import texts
from benchmarks.peers.serve import timed
from benchmarks.rows import Row, row
from m6.corpus.text import fluency

KEYS = ("perplexity_mb_per_s_per_core", "perplexity_at_once_mb_per_s_per_core")


def measure(runs: int = 5, smoke: bool = False) -> list[Row]:
    """The rows of both keys."""
    some = texts.plain(smoke)
    size = sum(len(text.encode()) for text in some) / 1e6
    work = {
        KEYS[0]: lambda: sum(fluency.perplexity(text) > 0 for text in some),
        KEYS[1]: lambda: len(fluency.perplexities(some)),
    }
    for one in work.values():
        one()  # the model is loaded
    rates: dict[str, list[float]] = {key: [] for key in work}
    for _ in range(runs):
        for key, one in work.items():
            rates[key].append(size / max(timed(one)["user"], 1e-9))
    return [row(key, found, "MB/s per core", note=f"{size:.1f} MB, user CPU") for key, found in rates.items()]
