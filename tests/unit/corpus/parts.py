"""Cleaned Documents written as the pipeline writes them: parts, and beside each its keys."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from m6.corpus.config import CorpusConfig, FolderConfig, PoemsConfig
from m6.corpus.dedup import KEYS, grouping, keys_of
from m6.corpus.document import SCHEMA, Document, make_document
from m6.shards import open_table

Row = tuple[Document, int | None]
"""A Document and the difference hash of its first picture."""


def documents(texts: list[str]) -> list[Row]:
    """Documents without pictures, each with a title of its own."""
    return [(make_document("poems", text, title=f"其{number}"), None) for number, text in enumerate(texts)]


def write(
    folder: Path,
    rows: list[Row],
    parts: int = 1,
    rules: PoemsConfig | FolderConfig | None = None,
    config: CorpusConfig | None = None,
    batch: int = 50,
) -> list[Path]:
    """The rows in order, in parts of unequal length with `batch` rows in a row group."""
    folder.mkdir(exist_ok=True)
    edges = [round(len(rows) * (number / parts) ** 1.5) for number in range(parts + 1)]
    paths = []
    for number, (first, last) in enumerate(pairwise(edges)):
        paths.append(folder / f"{number:06d}.parquet")
        with open_table(paths[-1], SCHEMA) as writer, open_table(grouping.keys_file(paths[-1]), KEYS) as keys:
            for start in range(first, last, batch):
                some = rows[start : min(start + batch, last)]
                values = [{**document, "attributes": list(document["attributes"].items())} for document, _ in some]
                writer.write_table(pa.Table.from_pylist(values, SCHEMA))
                keys.write_table(keys_of(some, rules or PoemsConfig(), (config or CorpusConfig()).duplicates))
    return paths
