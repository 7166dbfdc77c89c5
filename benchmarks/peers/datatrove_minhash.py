"""datatrove's MinHash, its four stages, over the lines of a JSON lines file: PYTHON datatrove_minhash.py TEXTS RESULT

Its nearest settings: 5-grams of single characters (its own tokenizer for Chinese makes words and is slower), its text
normalisation, 16 buckets of 4 hashes, one process. It does not compare candidates, and counts traditional and
simplified characters as different.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer


class Characters(WordTokenizer):
    """Each character is a word."""

    def word_tokenize(self, text: str) -> list[str]:
        """The characters."""
        return list(text.replace(" ", ""))

    def sent_tokenize(self, text: str) -> list[str]:
        """Not asked for."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Not asked for."""
        return [(0, len(text))]


def main(texts: Path, result: Path) -> None:
    """Writes the processor seconds from reading to the kept texts, and the ids of these."""
    config = MinhashConfig(n_grams=5, num_buckets=16, hashes_per_bucket=4)
    work = result.parent
    reader = JsonlReader(str(texts.parent), glob_pattern=texts.name)
    stages = [
        [reader, MinhashDedupSignature(str(work / "signatures"), config=config, language=Characters())],
        [MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)],
        [MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)],
        [
            JsonlReader(str(texts.parent), glob_pattern=texts.name),
            MinhashDedupFilter(str(work / "remove")),
            JsonlWriter(str(work / "kept"), output_filename="${rank}.jsonl", compression=None),
        ],
    ]
    started = sum(os.times()[:4])
    for number, stage in enumerate(stages):
        tasks = config.num_buckets if number == 1 else 1
        LocalPipelineExecutor(stage, tasks=tasks, workers=1, logging_dir=str(work / f"logs-{number}")).run()
    seconds = sum(os.times()[:4]) - started
    lines = (work / "kept" / "00000.jsonl").read_text(encoding="utf-8").splitlines()
    result.write_text(json.dumps({"seconds": seconds, "kept": [json.loads(line)["id"] for line in lines]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
