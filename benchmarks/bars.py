"""Bars: what a figure has to reach, by key, and whether it does.

In: rows. A bar is held against the ratio, or against our own figure of what has no peer. Those of the loader,
the server and the GPU stand in the notes of their rows ("bar 4", "a cost, bar at most 3").
"""

from __future__ import annotations

import re
from typing import NamedTuple

from benchmarks.rows import Row


class Bar(NamedTuple):
    """At least this, or of a cost at most this."""

    value: float
    at_most: bool = False


BARS = {
    "clean_vs_data_juicer": Bar(3),
    "clean_vs_datatrove": Bar(3),
    "minhash_mb_per_s_per_core": Bar(1),
    "minhash_vs_data_juicer": Bar(3),
    "minhash_vs_datatrove": Bar(3),
    "minhash_recall": Bar(0.95),
    "minhash_precision": Bar(0.98),
    "perplexity_mb_per_s_per_core": Bar(2),
    "images_vs_img2dataset": Bar(1.5),
    "memory_at_10x": Bar(1.3, at_most=True),
    "mixed_vs_hf_padded": Bar(1.5),
    "mixed_vs_hf_packed": Bar(1.2),
    "packed_vs_padded": Bar(4),
    "moe_vs_dense": Bar(0.8),
    "moe_vs_hf_eager": Bar(2),
    "memory_vs_hf": Bar(0.8, at_most=True),
    "encode_vs_diffusers": Bar(1.2),
    "decode_vs_diffusers": Bar(1.2),
    "psnr_vs_diffusers": Bar(1),
    "beam5_vs_hf": Bar(3),
    "wrapped_overhead": Bar(1.03, at_most=True),
    "async_save_blocked": Bar(0.05, at_most=True),
    "dry_run_100b_seconds": Bar(600, at_most=True),
    "dry_run_100b_gib": Bar(16, at_most=True),
    "dry_run_volume_error": Bar(0.02, at_most=True),
    "plan_memory_error": Bar(0.1, at_most=True),
    "sparse_decode_speedup": Bar(3),
    "sparse_train_speedup": Bar(2),
    "sparse_cache_memory": Bar(0.3, at_most=True),
    "sparse_bits_ratio": Bar(1.02, at_most=True),
    "parallel_decode_speedup": Bar(2),
    "guided16_vs_naive": Bar(5),
    "guided16_vs_hf": Bar(2),
}
NOTED = re.compile(r"\bbar (?:at (?:most|least) )?(\d+(?:\.\d+)?)")


def bar(row: Row) -> Bar | None:
    """That of a row, from the list above or its note."""
    noted = NOTED.search(row["note"])
    return BARS.get(row["key"]) or (Bar(float(noted[1]), "a cost" in row["note"]) if noted else None)


def is_cost(row: Row) -> bool:
    """Whether less is better."""
    known = bar(row)
    return known.at_most if known else "a cost" in row["note"]


def missed(row: Row) -> bool:
    """Whether a row has a bar and does not reach it. What is not measured, for want of a peer too, misses none."""
    known, found = bar(row), row["ratio"]
    if found is None and not row["peer_name"]:
        found = row["ours"]
    if known is None or found is None:
        return False
    return found > known.value if known.at_most else found < known.value
