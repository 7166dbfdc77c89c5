"""One part of a source, cleaned: read, put to the rules, its pictures fetched and brought to the training size.

    source -> Document -> text rules -> pictures fetched, if they are given by URL -> picture rules -> kept

In: a `Part` and the config of its source. Out: three files of the part's number n

    n.parquet        the Documents that stay, in the order of reading
    n.keys.parquet   for each of them what its duplicates are found by (`m6/corpus/dedup`)
    n.json           how many were read and why others were left out; written last: the part is done

Documents go through one after the other and are written in batches, so memory does not grow with the part. What is
dropped by its text costs no picture.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from m6.config import UserError
from m6.corpus import pairs
from m6.corpus.config import CorpusConfig, SourceConfig
from m6.corpus.dedup import KEYS, against, keys_of
from m6.corpus.document import SCHEMA, Document, Image, content_id
from m6.corpus.drop import Drop, safely
from m6.corpus.fetch.pictures import fetch_images
from m6.corpus.images.prepare import Picture, prepare
from m6.corpus.report import Tally
from m6.corpus.sources import Part, reader
from m6.corpus.text import rules as text
from m6.corpus.text import safety
from m6.run import write_atomic
from m6.shards import open_table

BATCH = 256  # Documents in a row group
SAMPLE_CHARACTERS = 80

Scorer = Callable[[list[tuple[bytes, str]]], list[float]]
"""How well each picture and its text match."""
Kept = tuple[Document, int | None]
"""A Document that stays, and the difference hash of its first picture."""


class PartFiles(NamedTuple):
    """The files of a part."""

    documents: Path
    keys: Path
    counts: Path


def rules_exist(config: CorpusConfig) -> None:
    """UserError for the first rule, list of words or evaluation file of a recipe that is not there."""
    for name, source in config.sources.items():
        checkpoint = source.pairs.match_checkpoint
        if checkpoint and not (Path(checkpoint) / "config.json").is_file():
            raise UserError(f"corpus.sources.{name}.pairs.match_checkpoint: {checkpoint!r} is no run folder")
        text.rules_exist(source.text.rules)
        pairs.rules_exist(source.pairs.rules)
        safety.sensitive_words("", source.text.sensitive_words)
    against(config.duplicates)


def part_files(folder: Path, number: int) -> PartFiles:
    """The files of the part with this number."""
    return PartFiles(*(folder / f"{number:06d}.{ending}" for ending in ("parquet", "keys.parquet", "json")))


def clean_part(
    part: Part,
    files: PartFiles,
    ledger: Path,
    config: CorpusConfig,
    seed: int,
    scorer: Callable[[str], Scorer] | None = None,
) -> None:
    """Read and clean one part, and write its files; `ledger` keeps what is fetched from the web."""
    cleaner = Cleaner(part.source, config, scorer)
    texts = cleaner.texts(cleaner.read(part, seed))
    fetched = fetch_images(texts, ledger, config.fetch, cleaner.rules.images.most_bytes)
    with open_table(files.documents, SCHEMA) as rows, open_table(files.keys, KEYS) as keys:
        while batch := list(itertools.islice(fetched, BATCH)):
            if kept := cleaner.pictures(batch):
                rows.write_table(pa.Table.from_pylist([to_row(document) for document, _ in kept], SCHEMA))
                keys.write_table(cleaner.keys(kept))
    write_atomic(files.counts, cleaner.tally.dumps())


class Cleaner:
    """Cleans the Documents of one source and counts what it does in `tally`, in seconds of a core."""

    def __init__(self, source: str, config: CorpusConfig, scorer: Callable[[str], Scorer] | None = None) -> None:
        self.source = source
        self.config = config
        self.rules: SourceConfig = config.sources[source]
        self.tally = Tally()
        self._against = against(config.duplicates)
        checkpoint = self.rules.pairs.match_checkpoint
        self._score = scorer(checkpoint) if scorer and checkpoint else None

    def read(self, part: Part, seed: int) -> Iterator[Document | Drop]:
        """What the source gives, counted."""
        items = iter(reader(self.rules.kind).read(part, self.rules, seed))
        while True:
            started = time.process_time()
            item = next(items, None)
            if item is None:
                return
            size = 0 if isinstance(item, Drop) else text_size(item) + picture_size(item)
            self.tally.time("read", time.process_time() - started, size, 1)
            self.tally.read(self.source, size)
            yield item

    def texts(self, items: Iterable[Document | Drop]) -> Iterator[Document | Drop]:
        """Documents with their texts cleaned, or the reasons why they are dropped."""
        for item in items:
            if isinstance(item, Drop):
                yield item
                continue
            started = time.process_time()
            result = safely(_where(item), self._text, item)
            self.tally.time("text", time.process_time() - started, text_size(item), 1)
            yield result

    def pictures(self, fetched: Iterable[tuple[Document | Drop, dict[int, str]]]) -> list[Kept]:
        """Those that stay, with their pictures as they go into the corpus; all others are counted. Beside each
        Document come the reasons why some of its pictures could not be had, by their index."""
        kept = []
        for item, not_fetched in fetched:
            result = item if isinstance(item, Drop) else safely(_where(item), self._pictures, item, not_fetched)
            if isinstance(result, Drop):
                self.tally.drop(self.source, result)
            else:
                kept.append(result)
        return self._matching(kept) if self._score else kept

    def keys(self, kept: list[Kept]) -> pa.Table:
        """What the duplicates of these Documents are found by."""
        started = time.process_time()
        table = keys_of(kept, self.rules, self.config.duplicates)
        size = sum(text_size(document) for document, _ in kept)
        self.tally.time("keys", time.process_time() - started, size, len(kept))
        return table

    def _text(self, document: Document) -> Document | Drop:
        result = text.clean(document, self.rules.text)
        if isinstance(result, str):
            return _drop(result, document)
        if result["images"] and (reason := pairs.check(result, self.rules.pairs)):
            return _drop(reason, result)
        if self._against and (found := self._against.hit(f"{result['title']}\n{result['text']}")):
            return Drop("contaminated", _where(result), found[:SAMPLE_CHARACTERS])
        if self.rules.licence:
            result["attributes"] = {"licence": self.rules.licence, **result["attributes"]}
        return result

    def _pictures(self, document: Document, not_fetched: dict[int, str]) -> Kept | Drop:
        started = time.process_time()
        found = [self._picture(image, not_fetched.get(index)) for index, image in enumerate(document["images"])]
        if found:
            self.tally.time("images", time.process_time() - started, picture_size(document), len(found))
        refused = [picture for picture in found if isinstance(picture, str)]
        if refused and len(refused) == len(found) and self.rules.needs_image:
            return _picture_drop(refused[0], document, 1)
        for number, reason in enumerate(found, start=1):
            if isinstance(reason, str):
                self.tally.image_dropped(self.source, _picture_drop(reason, document, number))
        images, hashes = [], []
        for picture, image in zip(found, document["images"], strict=True):
            if isinstance(picture, Picture):
                images.append(Image(**{**image, "bytes": picture.data, "width": picture.size, "height": picture.size}))
                hashes.append(picture.hash)
        identity = content_id(
            document["source"], document["title"], document["text"], [image["bytes"] for image in images]
        )
        return Document(**{**document, "id": identity, "images": images}), hashes[0] if hashes else None

    def _picture(self, image: Image, not_fetched: str | None) -> Picture | str:
        if reason := not_fetched or image.get("missing"):
            return reason
        picture = prepare(image["bytes"], self.rules.images, self.config.image_size, self.config.image_format)
        if isinstance(picture, Picture):
            self.tally.found_image(self.source, *picture.found)
        return picture

    def _matching(self, kept: list[Kept]) -> list[Kept]:
        """Those whose text says what their first picture shows, by a trained model."""
        assert self._score is not None
        asked = [(document["images"][0]["bytes"], document["text"]) for document, _ in kept if document["images"]]
        scores = iter(self._score(asked))
        stay = []
        for document, picture in kept:
            score = next(scores) if document["images"] else self.rules.pairs.smallest_match
            if score < self.rules.pairs.smallest_match:
                self.tally.drop(self.source, _drop("text and picture do not match", document))
            else:
                stay.append((document, picture))
        return stay


def text_size(document: Document) -> int:
    """Bytes of the text, as UTF-8."""
    return len(document["text"].encode("utf-8", "surrogatepass"))


def picture_size(document: Document) -> int:
    """Bytes of the pictures."""
    return sum(len(image["bytes"]) for image in document["images"])


def to_row(document: Document) -> dict[str, Any]:
    """A Document as Arrow takes it: a map is a list of pairs."""
    return {**document, "attributes": list(document["attributes"].items())}


def _where(document: Document) -> str:
    return document.get("where") or document["title"] or document["group"] or document["id"]


def _picture_drop(reason: str, document: Document, number: int) -> Drop:
    """`number` of the picture counts from 1; one that is alone needs none."""
    image = document["images"][number - 1]
    where = _where(document) if len(document["images"]) == 1 else f"{_where(document)}, picture {number}"
    return Drop(reason, where, image.get("url") or document["text"][:SAMPLE_CHARACTERS])


def _drop(reason: str, document: Document) -> Drop:
    return Drop(reason, _where(document), document["text"][:SAMPLE_CHARACTERS])
