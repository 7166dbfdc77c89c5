"""From cleaned parts and the list of duplicates to shards, in two steps that workers do part by part, shard by shard.

    n.parquet, duplicates -> n.kept.parquet: the rows that stay, and the texts from which repeated paragraphs are cut
    n.kept.parquet, n.parquet -> shard-s.parquet: rows s * rows_per_shard and on, whichever parts they lie in

Shards have one number of rows each and Documents one order, however the work was cut: so the same corpus has the same
bytes on one worker and on a thousand.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from m6.corpus.clean import SAMPLE_CHARACTERS, part_files, to_row
from m6.corpus.config import CorpusConfig
from m6.corpus.dedup import Paragraphs, read_paragraphs
from m6.corpus.document import SCHEMA, content_id, from_row
from m6.corpus.drop import Drop
from m6.corpus.report import Tally
from m6.run import write_atomic
from m6.shards import ShardFile, write_shard, write_table

KEPT = pa.schema(
    [
        ("row", pa.uint32()),  # in the part
        ("text", pa.string()),  # what is left of the text after repeated paragraphs were cut, or null: all of it
        ("offsets", pa.list_(pa.int32())),  # of the pictures in that text
    ]
)


def kept_file(folder: Path, number: int) -> Path:
    """Which rows of a part stay."""
    return folder / f"{number:06d}.kept.parquet"


def choose_rows(number: int, folder: Path, duplicates: Path, paragraphs: Path, config: CorpusConfig) -> None:
    """Write which rows of a part stay, and count the others by reason in `n.kept.json`."""
    tally = Tally()
    started = time.process_time()
    reasons = _duplicates_of(number, duplicates)
    repeated = read_paragraphs(paragraphs) if paragraphs.exists() else None
    kept: list[dict[str, Any]] = []
    for row, document in enumerate(_texts(part_files(folder, number)[0])):
        left = None
        reason = reasons.get(row)
        if reason is None and repeated is not None:
            left = without_paragraphs(document, repeated, number << 32 | row, config.duplicates.paragraph_length)
            if left is not None and len(left[0]) < config.sources[document["source"]].text.shortest_text:
                reason = "repeated paragraphs"
        if reason is None:
            text, offsets = left or (None, None)
            kept.append({"row": row, "text": text, "offsets": offsets})
        else:
            where = document["title"] or document["group"]
            tally.drop(document["source"], Drop(reason, where, document["text"][:SAMPLE_CHARACTERS]))
    write_table(kept_file(folder, number), pa.Table.from_pylist(kept, KEPT))
    tally.time("write", time.process_time() - started, 0, 0)
    write_atomic(_counts(kept_file(folder, number)), tally.dumps())


def _duplicates_of(number: int, duplicates: Path) -> dict[int, str]:
    """The reason by row, of the rows of one part that are dropped."""
    position = pc.field("position")
    within = (position >= pa.scalar(number << 32, pa.uint64())) & (position < pa.scalar(number + 1 << 32, pa.uint64()))
    table = pq.read_table(duplicates, columns=["position", "reason"], filters=within)
    rows = table["position"].to_numpy() & np.uint64(0xFFFFFFFF)
    return dict(zip(rows.tolist(), table["reason"].to_pylist(), strict=True))


def _texts(documents: Path) -> Iterator[dict[str, Any]]:
    """The rows of a part without the bytes of their pictures."""
    columns = ["source", "title", "group", "text", "images.list.element.offset"]
    with pq.ParquetFile(documents) as file:
        for batch in file.iter_batches(columns=columns):
            yield from batch.to_pylist()


def without_paragraphs(
    document: dict[str, Any], repeated: Paragraphs, position: int, shortest: int
) -> tuple[str, list[int]] | None:
    """The text of a Document and the offsets of its pictures, less the paragraphs that many Documents have and another
    one keeps; None if there is nothing to cut."""
    lines = document["text"].split("\n")
    stay = [not repeated.kept_elsewhere(line, position) if len(line) >= shortest else True for line in lines]
    if all(stay):
        return None
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    moved = [0, *accumulate(len(line) + 1 if keep else 0 for line, keep in zip(lines, stay, strict=True))]
    text = "\n".join(line for line, keep in zip(lines, stay, strict=True) if keep)
    offsets = []
    for image in document["images"] or []:
        line = int(np.searchsorted(starts, image["offset"], "right")) - 1
        within = image["offset"] - starts[line] if line < len(stay) and stay[line] else 0
        offsets.append(min(moved[min(line, len(lines))] + within, len(text)))
    return text, offsets


def shard_ranges(folder: Path, parts: int, rows_per_shard: int) -> list[list[tuple[int, int, int]]]:
    """For each shard, the pieces it is made of: (part, first, last) in the list of rows that stay of the part."""
    shards: list[list[tuple[int, int, int]]] = [[]]
    room = rows_per_shard
    for number in range(parts):
        first, count = 0, pq.read_metadata(kept_file(folder, number)).num_rows
        while first < count:
            if not room:
                shards.append([])
                room = rows_per_shard
            last = min(count, first + room)
            shards[-1].append((number, first, last))
            room -= last - first
            first = last
    return shards


def write_numbered_shard(number: int, pieces: list[tuple[int, int, int]], work: Path, folder: Path) -> None:
    """Write a shard, and its line of the manifest and its counts in the work folder."""
    started = time.process_time()
    table = pa.concat_tables([_piece(work, *piece) for piece in pieces] or [SCHEMA.empty_table()])
    shard = write_shard(folder, number, table)
    tally = Tally()
    tally.keep(table)
    tally.time("write", time.process_time() - started, shard.bytes, shard.rows)
    done = {"shard": shard._asdict(), "tally": json.loads(tally.dumps())}
    write_atomic(work / f"shard-{number:05d}.json", json.dumps(done, ensure_ascii=False))


def read_shard(number: int, work: Path) -> tuple[ShardFile, Tally]:
    """What `write_numbered_shard` left in the work folder."""
    done = json.loads((work / f"shard-{number:05d}.json").read_text(encoding="utf-8"))
    return ShardFile(**done["shard"]), Tally.loads(json.dumps(done["tally"]))


def _piece(work: Path, number: int, first: int, last: int) -> pa.Table:
    """Some of the rows of a part that stay; only the row groups that hold them are read."""
    kept = pq.read_table(kept_file(work, number)).slice(first, last - first)
    rows = kept["row"].to_numpy()
    tables = []
    with pq.ParquetFile(part_files(work, number)[0]) as file:
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)] - start
            if len(wanted):
                tables.append(file.read_row_group(group).take(pa.array(wanted, pa.int64())))
            start = stop
    table = pa.concat_tables(tables).cast(SCHEMA)
    return _edited(table, kept) if kept["text"].null_count < len(kept) else table


def _edited(table: pa.Table, kept: pa.Table) -> pa.Table:
    """The rows with the texts that were cut, under the ids that these texts give them."""
    rows = [from_row(row) for row in table.to_pylist()]
    for document, text, offsets in zip(rows, kept["text"].to_pylist(), kept["offsets"].to_pylist(), strict=True):
        if text is not None:
            document["text"] = text
            for image, offset in zip(document["images"], offsets, strict=True):
                image["offset"] = offset
            pictures = [image["bytes"] for image in document["images"]]
            document["id"] = content_id(document["source"], document["title"], text, pictures)
    return pa.Table.from_pylist([to_row(document) for document in rows], SCHEMA)


def _counts(path: Path) -> Path:
    return path.with_suffix(".json")
