"""A finished corpus: the shards of an earlier build, its Documents as they are, with their splits and groups.

In: a folder of shards of Documents. Out: the Documents, put to the rules of this recipe. They take the name of this
source, which shards and reports count by; the name of the source that they first came from is kept as the attribute
`source`, and what they say of their licence stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.corpus.config import DocumentsConfig
from m6.corpus.document import SCHEMA, Document, content_id, from_row
from m6.corpus.drop import Drop
from m6.corpus.read.columns import row_groups, rows
from m6.corpus.read.files import READ_ERRORS
from m6.corpus.sources import Part
from m6.shards import Shards


def parts(name: str, config: DocumentsConfig) -> list[Part]:
    """A part a shard. UserError if the folder has no whole corpus."""
    if not config.path:
        raise UserError(f"corpus.sources.{name}.path: no folder given; name one that `m6 corpus` has built")
    shards = Shards(config.path)
    missing = [column for column in SCHEMA.names if column not in shards.manifest["columns"]]
    if missing:
        raise UserError(f"corpus.sources.{name}.path: {config.path} is no corpus, its shards have no {missing[0]!r}")
    return [Part(name, 0, shard.rows, shard.file) for shard in shards.files]


def read(part: Part, config: DocumentsConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of a shard."""
    path = str(Path(config.path) / part.of)
    try:
        for number, row in rows(path, 0, len(row_groups(path)), SCHEMA.names):
            yield (
                Drop(row, f"{path}, row {number + 1}")
                if isinstance(row, str)
                else _renamed(from_row(row), part, config)
            )
    except READ_ERRORS as error:
        yield Drop("unreadable file", path, " ".join(str(error).split())[:200])


def _renamed(document: Document, part: Part, config: DocumentsConfig) -> Document:
    """The Document as one of this source."""
    known = {"licence": config.licence} if config.licence else {}
    attributes = {**known, "source": document["source"], **document["attributes"]}
    pictures = [image["bytes"] for image in document["images"]]
    identity = content_id(part.source, document["title"], document["text"], pictures)
    return Document(**{**document, "id": identity, "source": part.source, "attributes": attributes})
