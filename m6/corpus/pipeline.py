"""The corpus, from sources to shards: read, clean, drop duplicates, write, report.

    part of a source -> Documents -> normalise, rules, resize -> one Parquet file      (worker processes, any order)
    all of these files -> ids of duplicates                                            (Daft)
    the same files in order, less the duplicates -> shards -> report

In: a `CorpusConfig`. Out: a folder of shards of Documents (`m6/corpus/document.py`), `report.md`, `report.html` and
`report.json`. A part is done when its file is there; files appear whole. So a build that is killed anywhere goes on
where it was, and ends in the same bytes as an unbroken one: nothing depends on which worker did what, or when.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from m6.corpus import text
from m6.corpus.config import CorpusConfig, SourceConfig
from m6.corpus.dedup import KEYS, Duplicate, blocks, find_duplicates
from m6.corpus.document import SCHEMA, Document, Image, content_id
from m6.corpus.drop import Drop
from m6.corpus.engine import each
from m6.corpus.images import Picture, prepare
from m6.corpus.report import REPORT, Tally, write_report
from m6.corpus.sources import Part, source
from m6.run import progress
from m6.shards import Shards, is_whole, write_shards, write_table

PART_SCHEMA = pa.schema([*SCHEMA, *KEYS])
TALLY = b"m6.tally"  # key of a part's counts, in the metadata of its file
SAMPLE_CHARACTERS = 80


def build(config: CorpusConfig, folder: Path, seed: int) -> dict[str, Any]:
    """The corpus in `folder`. Goes on where a killed call was; a finished corpus of the same config is left as it is.

    Returns `pairs` (Documents with pictures), `texts` (without), `read`, `kept`, and `drops` (by reason).
    Raises UserError for unknown sources, categories and rules, and for missing files.
    """
    recipe = _fingerprint(config, seed)
    if not _is_done(folder, recipe):
        parts = [part for name in config.sources for part in source(name).parts(config)]
        text.rules_exist(rule for name in config.sources for rule in getattr(config, name).text.rules)
        work = folder / f".parts-{recipe}"
        work.mkdir(parents=True, exist_ok=True)
        files = [work / f"{number:06d}-{part.source}.parquet" for number, part in enumerate(parts)]
        _clean_parts(parts, files, config, seed)
        duplicates = find_duplicates(files, config.duplicates) if files else {}
        tally = Tally()
        write_shards(folder, _unique(files, duplicates, tally), SCHEMA, config.rows_per_shard, {"recipe": recipe})
        write_report(folder, tally)
        for leftover in folder.glob(".parts-*"):
            shutil.rmtree(leftover, ignore_errors=True)
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return {name: report[name] for name in ("pairs", "texts", "read", "kept", "drops")}


def _fingerprint(config: CorpusConfig, seed: int) -> str:
    return hashlib.sha256(f"{seed} {config.model_dump_json()}".encode()).hexdigest()[:16]


def _is_done(folder: Path, recipe: str) -> bool:
    """The report is written last."""
    return is_whole(folder) and (folder / REPORT).is_file() and Shards(folder).about.get("recipe") == recipe


def _clean_parts(parts: list[Part], files: list[Path], config: CorpusConfig, seed: int) -> None:
    missing = [number for number, file in enumerate(files) if not file.exists()]
    work = partial(_clean_numbered, parts=parts, files=files, config=config, seed=seed)
    with progress(len(parts), "corpus", start=len(parts) - len(missing)) as bar:
        for _ in each(work, missing):
            bar.advance()


def _clean_numbered(number: int, parts: list[Part], files: list[Path], config: CorpusConfig, seed: int) -> None:
    clean_part(parts[number], files[number], config, seed)


def clean_part(part: Part, file: Path, config: CorpusConfig, seed: int) -> None:
    """Read and clean one part, and write its Documents with their keys and its counts to `file`."""
    rules: SourceConfig = getattr(config, part.source)
    tally = Tally()
    rows = []
    for item in source(part.source).read(config, part, seed):
        tally.read[part.source] += 1
        result = item if isinstance(item, Drop) else clean(item, rules, config)
        if isinstance(result, Drop):
            tally.drop(part.source, result)
        else:
            rows.append(result)
    table = pa.Table.from_pylist(rows, PART_SCHEMA)
    write_table(file, table.replace_schema_metadata({TALLY: tally.dumps()}))


def clean(document: Document, rules: SourceConfig, config: CorpusConfig) -> dict[str, Any] | Drop:
    """A row of a part's file: the Document with its text normalised and its pictures at the training size, and its
    keys for finding duplicates. Or why it is dropped."""
    where = document["title"] or document["group"] or document["id"]
    document = Document(
        **{**document, "title": text.normalise(document["title"]), "text": text.normalise(document["text"])}
    )
    reason = text.check(document, rules.text)
    if reason:
        return Drop(reason, where, document["text"][:SAMPLE_CHARACTERS])
    pictures = []
    for image in document["images"]:
        picture = prepare(image["bytes"], rules.images, config.image_size)
        if not isinstance(picture, Picture):
            return Drop(picture, where, document["text"][:SAMPLE_CHARACTERS])
        pictures.append(picture)
    return {**_finished(document, pictures), **_keys(document, pictures, rules, config)}


def _finished(document: Document, pictures: list[Picture]) -> Document:
    images = [
        Image(bytes=picture.png, width=picture.size, height=picture.size, offset=image["offset"])
        for picture, image in zip(pictures, document["images"], strict=True)
    ]
    identity = content_id(document["source"], document["title"], document["text"], [image["bytes"] for image in images])
    return Document(**{**document, "id": identity, "images": images})


def _keys(document: Document, pictures: list[Picture], rules: SourceConfig, config: CorpusConfig) -> dict[str, Any]:
    """Near duplicates are told by their text among Documents without pictures, else by their first picture: one
    caption may stand under many pictures."""
    near_image = pictures[0].hash if pictures and rules.near_images else None
    return {
        "content": content_id("", document["title"], document["text"], [picture.png for picture in pictures]),
        "letters": text.letters(document["text"]) if rules.near_texts and not pictures else None,
        "picture": near_image,
        "blocks": None if near_image is None else blocks(near_image, config.duplicates.image_distance),
    }


def _unique(files: list[Path], duplicates: dict[str, Duplicate], tally: Tally) -> Iterator[pa.Table]:
    """The Documents of all parts in order, less the duplicates; counts what goes by."""
    seen: set[str] = set()
    for file in files:
        table = pq.read_table(file)
        tally.add(Tally.loads(table.schema.metadata[TALLY]))
        keep = []
        for row in table.select(["id", "source", "title", "group", "text"]).to_pylist():
            again = Duplicate("exact duplicate", row["id"]) if row["id"] in seen else None
            same = again or duplicates.get(row["id"])
            seen.add(row["id"])
            keep.append(same is None)
            if same:
                sample = f"{row['text'][:SAMPLE_CHARACTERS]} (kept: {same.kept})"
                tally.drop(row["source"], Drop(same.reason, row["title"] or row["group"], sample))
        kept = table.filter(pa.array(keep, pa.bool_()))
        tally.keep(kept)
        yield kept.select(SCHEMA.names).replace_schema_metadata(None)
