"""datatrove's steps that are nearest to the rules of this project: PYTHON datatrove_clean.py TEXTS html|plain

They are chained in memory, in the order of its FineWeb example. Trafilatura is called in this process: the one that
datatrove puts around it, and the copies to and from it, are spared. A word is one character: its own tokenizer for
Chinese makes words and is slower. Left out for want of a model or list that cannot be fetched: LanguageFilter,
C4BadWordsFilter, in whose place RegexFilter looks for the words of this project.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    RegexFilter,
)
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter, SymbolLinesFormatter
from datatrove.utils.word_tokenizers import WordTokenizer
from serve import read_texts, serve


class Characters(WordTokenizer):
    """Each character is a word."""

    def word_tokenize(self, text: str) -> list[str]:
        """The characters that are no white space."""
        return [character for character in text if not character.isspace()]

    def sent_tokenize(self, text: str) -> list[str]:
        """Not asked for."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Not asked for."""
        return [(0, len(text))]


class InProcess(Trafilatura):
    """Trafilatura without a process around it."""

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The Documents whose pages have a main content."""
        for document in data:
            document.text = self.extract(document.text)
            if document.text:
                yield document


def steps(html: bool, sensitive: list[str]) -> list[Any]:
    """Thresholds are those of this project where the rules are the same."""
    characters = Characters()
    return [
        *([InProcess()] if html else []),
        FTFYFormatter(),
        SymbolLinesFormatter(),
        GopherRepetitionFilter(
            dup_line_frac=0.5,
            dup_para_frac=0.5,
            dup_line_char_frac=0.5,
            dup_para_char_frac=0.5,
            top_n_grams=((4, 0.5),),
            dup_n_grams=((8, 0.45),),
            language=characters,
        ),
        GopherQualityFilter(
            min_doc_words=15,
            min_avg_word_length=None,
            max_avg_word_length=None,
            max_non_alpha_words_ratio=0.55,
            min_stop_words=None,
            language=characters,
        ),
        C4QualityFilter(
            filter_no_terminal_punct=False,
            min_num_sentences=-1,
            min_words_per_line=-1,
            filter_curly_bracket=False,
            language=characters,
        ),
        FineWebQualityFilter(line_punct_thr=0, short_line_thr=1, char_duplicates_ratio=0.5, language=characters),
        RegexFilter("|".join(map(re.escape, sensitive))),
        PIIFormatter(remove_ips=False),
    ]


def clean(texts: list[str], chain: list[Any]) -> int:
    """How many texts are kept."""
    data: Any = (Document(text=text, id=str(number)) for number, text in enumerate(texts))
    for step in chain:
        data = step.run(data)
    return sum(1 for _ in data)


def _forget() -> None:
    """Trafilatura remembers paragraphs, and would take those of the run before for duplicates."""
    from trafilatura.meta import reset_caches

    reset_caches()


if __name__ == "__main__":
    html = sys.argv[2] == "html"
    chain = steps(html, json.loads(os.environ["SENSITIVE"]))
    texts = read_texts(sys.argv[1])
    serve(lambda: clean(texts, chain), _forget if html else lambda: None)
