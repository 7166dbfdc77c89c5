"""Thresholds of the text rules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from m6.config import Config


class TextRules(Config):
    """Thresholds of the text rules, in characters and in shares from 0 to 1.

    Rules about shares of characters are asked of texts of at least 20: in a caption of six two digits mean nothing.
    """

    rules: tuple[str, ...] = (
        "no_text",
        "broken_characters",
        "sensitive",
        "advertising",
        "boilerplate",
        "short_title",
        "short_text",
        "long_text",
        "other_language",
        "too_many_digits",
        "not_chinese",
        "too_many_ellipses",
        "too_many_bullets",
        "too_many_symbols",
        "too_many_marks",
        "menu",
        "repetition",
        "repeated_ngrams",
        "not_fluent",
    )
    """Rules of `m6/corpus/text/rules.py` by name, in the order in which they are asked."""
    shortest_title: int = 5
    """Characters; an empty title is no title and passes."""
    shortest_text: int = 15
    """Characters."""
    longest_text: int = 100_000
    """Characters."""
    smallest_chinese_share: float = Field(0.3, ge=0, le=1)
    """Share of Chinese characters among all letters and digits."""
    largest_foreign_share: float = Field(0.2, ge=0, le=1)
    """Share of kana, or of hangul, among them and Chinese characters, from which a text may be Japanese or Korean."""
    largest_mark_share: float = Field(0.45, ge=0, le=1)
    """Share of all marks, punctuation and symbols, among the characters that are no spaces."""
    largest_symbol_share: float = Field(0.2, ge=0, le=1)
    """Share of symbols (★ ■ = # emoji), punctuation aside, among the characters that are no spaces."""
    largest_digit_share: float = Field(0.5, ge=0, le=1)
    """Share of digits among all letters and digits."""
    largest_ellipsis_share: float = Field(0.3, ge=0, le=1)
    """Share of lines that end in an ellipsis, for texts of at least four lines."""
    largest_bullet_share: float = Field(0.9, ge=0, le=1)
    """Share of lines that begin with a bullet, for texts of at least four lines."""
    largest_repeated_share: float = Field(0.5, ge=0, le=1)
    """Share of the text that its most frequent line may take, for texts of at least four lines."""
    largest_ngram_share: float = Field(0.5, ge=0, le=1)
    """Share of the letters that the most frequent run of four may take, if it stands there at least five times."""
    largest_duplicate_share: float = Field(0.45, ge=0, le=1)
    """Share of the letters that stand in runs of eight which stood before in the same text."""
    cut_boilerplate: bool = True
    """Cut lines and sentences of boilerplate and advertising off; without it the rules for them are not asked."""
    largest_boilerplate_share: float = Field(0.4, ge=0, le=1)
    """Share of the text that may be boilerplate or advertising; a text with more is dropped as a whole."""
    sensitive_words: tuple[str, ...] = ()
    """Your own lists of sensitive words, used beside the small one that is bundled: UTF-8 files, one word a line."""
    most_sensitive_words: int = Field(2, ge=0)
    """Different sensitive words that a text may hold."""
    most_sensitive_hits: int = Field(4, ge=0)
    """Times that sensitive words may stand in a text, all together."""
    personal_data: Literal["mask", "drop", "keep"] = "mask"
    """What is done about mobile and resident ID numbers, bank cards and e-mail addresses: each is replaced by a mark
    (‹电话›), or the text that holds one is dropped, or they stay."""
    largest_perplexity: float = Field(0, ge=0)
    """Perplexity under `fluency_model` up to which a text counts as fluent; 0 does not ask."""
    fluency_model: str = ""
    """The language model that perplexity is measured by; empty is the bundled one."""
    to_simplified: bool = False
    """Write traditional characters in simplified script."""
