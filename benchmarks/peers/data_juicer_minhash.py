"""data-juicer's MinHash over the lines of a JSON lines file: PYTHON data_juicer_minhash.py TEXTS RESULT

Its nearest settings: character 5-grams of the letters, lower case, 16 bands of 4 hashes, one process. It does not
compare candidates, and counts traditional and simplified characters as different.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from data_juicer.core.data import NestedDataset
from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator


def main(texts: Path, result: Path) -> None:
    """Writes the processor seconds from reading to the kept texts, and the ids of these."""
    deduplicator = DocumentMinhashDeduplicator(
        tokenization="character",
        window_size=5,
        ignore_pattern=r"[\W_]+",
        num_permutations=64,
        jaccard_threshold=0.8,
        num_bands=16,
        num_rows_per_band=4,
    )
    started = sum(os.times()[:4])
    dataset = NestedDataset.from_json(str(texts), cache_dir=str(result.parent / "cache"))
    hashed = dataset.map(deduplicator.compute_hash, num_proc=1, load_from_cache_file=False)
    kept, _ = deduplicator.process(hashed)
    kept.to_json(str(result.parent / "kept.jsonl"))
    seconds = sum(os.times()[:4]) - started
    result.write_text(json.dumps({"seconds": seconds, "kept": list(kept["id"])}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
