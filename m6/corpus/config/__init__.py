"""What the corpus is built from and by which thresholds. No library but pydantic is imported here.

The rules and, where known, their defaults are those of the paper (M6, section 2.5; recalled, not checked against the
print): topics of at least 5 characters, contents of at least 15, pictures of more than 5,000 pixels. They were made for
web pages; a source whose texts are captions or whose pictures are icons has defaults of its own, which say why.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from m6.config import Config
from m6.corpus.config.duplicates import DuplicatesConfig
from m6.corpus.config.fetch import FetchConfig
from m6.corpus.config.images import ImageFormat, ImageRules
from m6.corpus.config.sources import (
    CAPTIONS,
    AnySource,
    CaptionsConfig,
    CsvConfig,
    DocumentsConfig,
    EmojiConfig,
    FilesConfig,
    FolderConfig,
    JsonLinesConfig,
    MediaWikiConfig,
    PackagesConfig,
    PagesConfig,
    PairRules,
    ParquetConfig,
    PoemsConfig,
    QuestionsConfig,
    RecordsConfig,
    ScenesConfig,
    SceneShares,
    SourceConfig,
    WarcConfig,
    WebDatasetConfig,
)
from m6.corpus.config.text import TextRules

__all__ = [
    "AnySource",
    "CAPTIONS",
    "CaptionsConfig",
    "CorpusConfig",
    "CsvConfig",
    "DocumentsConfig",
    "DuplicatesConfig",
    "EmojiConfig",
    "EngineConfig",
    "FetchConfig",
    "FilesConfig",
    "FolderConfig",
    "ImageFormat",
    "ImageRules",
    "JsonLinesConfig",
    "MediaWikiConfig",
    "PackagesConfig",
    "PagesConfig",
    "PairRules",
    "ParquetConfig",
    "PoemsConfig",
    "QuestionsConfig",
    "RecordsConfig",
    "ScenesConfig",
    "SceneShares",
    "SourceConfig",
    "TextRules",
    "WarcConfig",
    "WebDatasetConfig",
]


class EngineConfig(Config):
    """Where the work is done. The result is the same everywhere."""

    may_change: ClassVar[tuple[str, ...]] = ("runner", "address", "workers")

    runner: Literal["native", "ray"] = "native"
    """This machine, or a Ray cluster (extra `ray`)."""
    address: str = ""
    """Of the Ray cluster; empty: the one of this machine, started if there is none."""
    workers: int = Field(0, ge=0)
    """Parts under way at once; 0 is one a core."""


class CorpusConfig(Config):
    """The corpus: sources, rules, duplicates, shards."""

    sources: dict[str, AnySource] = {"emoji": EmojiConfig(), "poems": PoemsConfig()}
    """Sources by name, in the order in which their Documents stand in the shards; of two duplicates the first stays.
    A list of kinds, ["emoji", "poems"], stands for each with its defaults, named as it is."""
    image_size: int = Field(64, ge=1)
    """Width and height of a picture in the shards, in pixels."""
    image_format: ImageFormat = ImageFormat()
    """How pictures stand in the shards."""
    rows_per_shard: int = Field(4_096, ge=1)
    """Documents in one Parquet file."""
    duplicates: DuplicatesConfig = DuplicatesConfig()
    """When two Documents count as one."""
    fetch: FetchConfig = FetchConfig()
    """Pictures given by URL."""
    engine: EngineConfig = EngineConfig()
    """Where the work is done."""

    @field_validator("sources", mode="before")
    @classmethod
    def _names_alone(cls, sources: Any) -> Any:
        if isinstance(sources, list | tuple):
            return {name: {"kind": name} for name in sources}
        return sources

    @field_validator("sources")
    @classmethod
    def _plain_names(cls, sources: dict[str, AnySource]) -> dict[str, AnySource]:
        for name in sources:
            if not name.isidentifier():
                raise ValueError(f"the name {name!r} of a source has to be letters, digits and _, as in 'baike_2'")
        return sources
