"""A corpus of some dozens of real Documents, written without the engine: quick enough for every unit test."""

from pathlib import Path
from typing import cast

import pyarrow as pa

from m6.corpus.config import CorpusConfig, EmojiConfig, PoemsConfig, ScenesConfig
from m6.corpus.document import SCHEMA, Document
from m6.corpus.sources import reader
from m6.shards import write_shards
from m6.tokenizer.config import TokenizerConfig
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.train import train_tokenizer

CONFIG = CorpusConfig(
    sources={
        "emoji": EmojiConfig(most=60, categories=("动物", "水果")),
        "poems": PoemsConfig(most=60),
        "scenes": ScenesConfig(train=60, heldout=12),
    }
)


def documents() -> list[Document]:
    """The Documents of all three sources, in order."""
    found: list[Document] = []
    for name, config in CONFIG.sources.items():
        source = reader(config.kind)
        for part in source.parts(name, config):
            found += [cast(Document, read) for read in source.read(part, config, 0) if isinstance(read, dict)]
    return found


def write_corpus(folder: Path) -> list[Document]:
    """Writes them as shards of 50 rows."""
    rows = documents()
    table = pa.Table.from_pylist([{**row, "attributes": list(row["attributes"].items())} for row in rows], SCHEMA)
    write_shards(folder, [table], SCHEMA, rows_per_shard=50)
    return rows


def tokenizer(rows: list[Document]) -> TextTokenizer:
    """A vocabulary of their characters."""
    texts = [row["title"] + row["text"] for row in rows]
    return TextTokenizer(train_tokenizer(texts, TokenizerConfig(vocab_size=2000, max_piece=1)))
