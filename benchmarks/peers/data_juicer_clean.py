"""data-juicer's operators that are nearest to the rules of this project: PYTHON data_juicer_clean.py TEXTS html|plain

They are called on batches of 1,000 texts in memory, without the arrow files that its executor writes between them.
Left out for want of a model that cannot be fetched: language_id_score_filter, perplexity_filter. Words are what stands
between spaces, as they are without its sentencepiece model.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
from data_juicer.ops.filter.flagged_words_filter import FlaggedWordFilter
from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
from data_juicer.ops.filter.text_length_filter import TextLengthFilter
from data_juicer.ops.filter.word_repetition_filter import WordRepetitionFilter
from data_juicer.ops.mapper.clean_html_mapper import CleanHtmlMapper
from data_juicer.ops.mapper.fix_unicode_mapper import FixUnicodeMapper
from data_juicer.ops.mapper.pii_redaction_mapper import PiiRedactionMapper
from data_juicer.ops.mapper.remove_repeat_sentences_mapper import RemoveRepeatSentencesMapper
from data_juicer.ops.mapper.whitespace_normalization_mapper import WhitespaceNormalizationMapper
from data_juicer.utils.constant import Fields
from serve import read_texts, serve

BATCH = 1_000  # its own default
NO_OTHER_DATA = {f"mask_{name}": False for name in ("paths", "secrets", "ids", "channel_ids", "platform_open_ids")}


def operators(html: bool, sensitive: list[str]) -> list[Any]:
    """In the order of its own recipes: mappers first."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "flagged_words.json").write_text(json.dumps({"zh": sensitive}), encoding="utf-8")
        flagged = FlaggedWordFilter(lang="zh", flagged_words_dir=folder, use_words_aug=True)
    return [
        *([CleanHtmlMapper()] if html else []),
        FixUnicodeMapper(),
        RemoveRepeatSentencesMapper(min_repeat_sentence_length=8),
        PiiRedactionMapper(redact_keys=["text"], **NO_OTHER_DATA),
        WhitespaceNormalizationMapper(),
        TextLengthFilter(min_len=15, max_len=100_000),
        AverageLineLengthFilter(min_len=1),
        AlphanumericFilter(min_ratio=0.25),
        SpecialCharactersFilter(max_ratio=0.45),
        CharacterRepetitionFilter(rep_len=8, max_ratio=0.45),
        WordRepetitionFilter(lang="zh", rep_len=4, max_ratio=0.5),
        flagged,
    ]


def clean(texts: list[str], steps: list[Any]) -> int:
    """How many texts are kept."""
    kept = 0
    for start in range(0, len(texts), BATCH):
        samples: dict[str, list[Any]] = {"text": texts[start : start + BATCH]}
        for step in steps:
            if not hasattr(step, "compute_stats_batched"):
                samples = step.process_batched(samples)
                continue
            samples.setdefault(Fields.stats, [{} for _ in samples["text"]])
            samples = step.compute_stats_batched(samples)
            keep = list(step.process_batched(samples))
            samples = {
                name: [value for value, stays in zip(values, keep, strict=True) if stays]
                for name, values in samples.items()
            }
        kept += len(samples["text"])
    return kept


if __name__ == "__main__":
    steps = operators(sys.argv[2] == "html", json.loads(os.environ["SENSITIVE"]))
    texts = read_texts(sys.argv[1])
    serve(lambda: clean(texts, steps))
