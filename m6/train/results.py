"""results.json: every figure of a run in one flat file, for programs to read."""

from __future__ import annotations

import json
from typing import Any

from m6.run import Run, peak_rss_gib, read_done, write_atomic

STAGES = ("corpus", "tokenizer", "vqgan", "pretrain", "evaluate")


def write_results(run: Run) -> dict[str, Any]:
    """Gathers the figures of all stages and the scores, writes `results.json`, and returns them."""
    results: dict[str, Any] = {}
    done = {name: read_done(run.folder, name) or {} for name in STAGES}
    seconds = {name: figures["seconds"] for name, figures in done.items() if "seconds" in figures}
    memory = {name: figures["peak_rss_gib"] for name, figures in done.items() if "peak_rss_gib" in figures}
    results["seconds.total"] = round(sum(seconds.values()), 1)
    results |= {f"seconds.{name}": round(value, 1) for name, value in seconds.items()}
    results["peak_rss_gib"] = max(memory.values(), default=peak_rss_gib())
    results |= {f"peak_rss_gib.{name}": value for name, value in memory.items()}
    results |= {f"resumed.{name}": figures["resumed"] for name, figures in done.items() if figures.get("resumed")}
    results |= {f"corpus.{name}": done["corpus"].get(name) for name in ("pairs", "texts")}
    results |= {f"vq.{name}": done["vqgan"].get(name) for name in ("psnr_heldout", "psnr_train", "codebook_used")}
    figures = ("parameters", "vocabulary", "tokens", "tokens_per_second", "precision")
    results |= {name: done["pretrain"].get(name) for name in figures}
    scores = run.folder / "evaluate" / "scores.json"
    if scores.exists():
        results |= json.loads(scores.read_text(encoding="utf-8"))
    write_atomic(run.folder / "results.json", json.dumps(results, indent=1) + "\n")
    return results
