"""Repeated paragraphs: long lines that stand in many Documents, such as notices and menus, stay in the first alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m6.corpus.config import CorpusConfig
from m6.corpus.dedup.exact import many_paragraphs
from m6.corpus.dedup.grouping import FOLDER, search
from m6.corpus.dedup.keys import line_hash

PARAGRAPHS = pa.schema([("paragraph", pa.uint64()), ("position", pa.uint64())])


def find_paragraphs(parts: Sequence[Path], config: CorpusConfig, dropped: pa.Table) -> pa.Table:
    """The paragraphs that stand in more Documents than the config allows, with the position of the first Document,
    which keeps it; sorted by paragraph. Documents that are `dropped` (`find_duplicates`) do not count."""
    if not parts:
        return PARAGRAPHS.empty_table()
    without = dropped["position"].to_numpy()
    found = search(many_paragraphs(config.duplicates.paragraph_documents), parts, config.engine, without)
    shutil.rmtree(parts[0].parent / FOLDER)
    return pa.table(list(found[:, np.argsort(found[0])]), PARAGRAPHS)


class Paragraphs:
    """The paragraphs that stand in many Documents, and which one keeps each."""

    def __init__(self, table: pa.Table) -> None:
        self._hashes = table["paragraph"].to_numpy()
        self._keepers = table["position"].to_numpy()

    def kept_elsewhere(self, line: str, position: int) -> bool:
        """Whether another Document than the one at `position` keeps this paragraph."""
        wanted = np.uint64(line_hash(line))
        place = int(np.searchsorted(self._hashes, wanted))
        return place < len(self._hashes) and self._hashes[place] == wanted and int(self._keepers[place]) != position


def read_paragraphs(path: Path) -> Paragraphs:
    """What `find_paragraphs` gave, from the Parquet file it was written to."""
    return Paragraphs(pq.read_table(path))
