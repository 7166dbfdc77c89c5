"""Dumps of MediaWiki: the articles of pages-articles.xml, also .bz2 (multistream or not) and other compressions.

In: the export format, of which a page is `<page>` to `</page>`. Out: a Document a page, its wikitext as plain text,
with address, revision and licence as attributes. Pages are cut out of the file as bytes, and their fields out of the
pages: in this format no text holds a "<". So a damaged page is a Drop and not the end, no document type can make
entities explode, and a part of a file can be read on its own. A page belongs to the part in which it begins; a plain
file is cut at any byte, a .bz2 file where its streams begin.
"""

from __future__ import annotations

import bz2
import html
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from m6.corpus.config import MediaWikiConfig
from m6.corpus.document import Document, make_document
from m6.corpus.drop import Drop, safely
from m6.corpus.extract.wikitext import plain_text
from m6.corpus.read.encodings import decode, require_known
from m6.corpus.read.files import READ_ERRORS, compression, find, open_file, open_text_bytes, size
from m6.corpus.sources import Part, cut, split_by_hash

ENDINGS = (".xml",)
PART_SIZE = {"": 128 * 2**20, ".bz2": 32 * 2**20}  # bytes of the file; other compressions are one part
LONGEST_PAGE = 16 * 2**20  # bytes of XML

_CHUNK = 2**20
_FREE_BYTES = 64 * 2**20  # that a bzip2 stream may unpack to before the ratio counts
_LARGEST_RATIO = 200  # of unpacked to packed bytes
_BEGIN, _END = b"<page>", b"</page>"
_STREAM = re.compile(rb"BZh[1-9]1AY&SY")
_STREAM_LENGTH = 10
_BASE = re.compile(rb"<base>([^<>]{1,1000})</base>")
_REDIRECT = re.compile(r"\s*#\s*(?:redirect|重定向)", re.IGNORECASE)
_TEXT = re.compile(r"<text\b[^<>]*?(?:/>|>([^<]*)</text>)")


class Chunk(NamedTuple):
    """Some bytes of XML, and whether a page that begins in them belongs to the part."""

    data: bytes
    mine: bool


def parts(name: str, config: MediaWikiConfig) -> list[Part]:
    """Ranges of bytes. UserError if a file is missing."""
    field = f"corpus.sources.{name}"
    require_known(config.encoding, f"{field}.encoding")
    paths = find(config.paths, ENDINGS, f"{field}.paths")
    sizes = [(path, size(path)) for path in paths]
    return [
        part
        for path, length in sizes
        for part in cut(name, length, PART_SIZE.get(compression(path), length), path) or [Part(name, 0, 0, path)]
    ]


def read(part: Part, config: MediaWikiConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of the pages that begin in the part; redirects and pages of other namespaces are Drops."""
    some = False
    try:
        base = _base(part.of)
        for page in _pages(_chunks(part), part.of):
            some = True
            yield page if isinstance(page, Drop) else safely(_place(page, part), _document, page, part, config, base)
        if not some and part.start == 0 and part.stop >= size(part.of):
            yield Drop("no records", part.of)
    except READ_ERRORS as error:
        yield Drop("truncated file" if isinstance(error, EOFError) else "unreadable file", part.of, str(error))


def _base(path: str) -> str:
    """The address of the wiki's pages without their titles; "" if the dump does not say."""
    try:
        with open_text_bytes(path) as file:
            found = _BASE.search(file.read(2**16))
    except READ_ERRORS:
        return ""
    return html.unescape(found[1].decode(errors="replace")).rpartition("/")[0] + "/" if found else ""


def _chunks(part: Part) -> Iterator[Chunk | Drop]:
    kind = compression(part.of)
    if kind and kind not in PART_SIZE:
        with open_text_bytes(part.of) as unpacked:
            while data := unpacked.read(_CHUNK):
                yield Chunk(data, True)
        return
    with open_file(part.of) as file:
        if kind:
            yield from _streams(file, part)
            return
        file.seek(part.start)
        left = part.stop - part.start
        while data := file.read(_CHUNK):
            yield Chunk(data[:left], True)
            yield Chunk(data[left:], False)
            left = max(0, left - len(data))


def _streams(file: BinaryIO, part: Part) -> Iterator[Chunk | Drop]:
    """The bzip2 streams from the beginning of the part on, unpacked; those that begin in it are its own."""
    at = _next_stream(file, part.start)
    while at is not None:
        file.seek(at)
        stream = bz2.BZ2Decompressor()
        packed = unpacked = 0
        try:
            while not stream.eof:
                data = file.read(_CHUNK // 4) if stream.needs_input else b""
                if stream.needs_input and not data:
                    raise EOFError("truncated bzip2")
                packed += len(data)
                data = stream.decompress(data, _CHUNK)
                unpacked += len(data)
                if unpacked > max(_FREE_BYTES, _LARGEST_RATIO * packed):
                    raise OSError("zip bomb")
                yield Chunk(data, at < part.stop)
            following = file.tell() - len(stream.unused_data)
        except (EOFError, OSError) as error:
            reason = str(error) if str(error) in ("truncated bzip2", "zip bomb") else "damaged bzip2"
            yield Drop(reason, f"{part.of}, byte {at}")
            following = at + 1
        at = _next_stream(file, following)


def _next_stream(file: BinaryIO, start: int) -> int | None:
    """The first byte from `start` on at which a bzip2 stream begins."""
    file.seek(start)
    at, data = start, b""
    while chunk := file.read(_CHUNK):
        data += chunk
        if found := _STREAM.search(data):
            return at + found.start()
        at += max(0, len(data) - _STREAM_LENGTH + 1)
        data = data[-_STREAM_LENGTH + 1 :]
    return None


def _pages(chunks: Iterator[Chunk | Drop], path: str) -> Iterator[bytes | Drop]:
    """What stands from `<page>` to `</page>`, if the former is the part's own."""
    buffer = b""
    mine = 0  # bytes of the buffer, from its beginning on, that are the part's own
    inside, long, searched = False, False, 0
    for chunk in chunks:
        if isinstance(chunk, Drop):
            yield chunk
            if inside:
                yield Drop("truncated page", f"{path}, page {_name(buffer)}")
            buffer, mine, inside, long, searched = b"", 0, False, False, 0
            continue
        buffer += chunk.data
        mine = len(buffer) if chunk.mine else mine
        while True:
            if not inside:
                begin = buffer.find(_BEGIN)
                dropped = max(0, len(buffer) - len(_BEGIN) + 1) if begin < 0 else begin
                buffer, mine = buffer[dropped:], mine - dropped
                if mine <= 0 and not chunk.mine:
                    return
                if begin < 0:
                    break
                inside, long, searched = True, False, 0
            end = buffer.find(_END, searched)
            if end < 0:
                searched = max(0, len(buffer) - len(_END) + 1)
                if len(buffer) > LONGEST_PAGE:
                    long = True
                    buffer, mine, searched = buffer[:1000] + buffer[searched:], 0, 1000
                break
            following = buffer.find(_BEGIN, len(_BEGIN), end)
            if following >= 0:
                yield Drop("truncated page", f"{path}, page {_name(buffer)}")
                buffer, mine, inside = buffer[following:], mine - following, False
                continue
            end += len(_END)
            page, buffer, mine, inside = buffer[:end], buffer[end:], mine - end, False
            yield Drop("long page", f"{path}, page {_name(page)}") if long else page
    if inside:
        yield Drop("truncated page", f"{path}, page {_name(buffer)}")


def _name(page: bytes) -> str:
    return _field("title", page[:1000].decode(errors="replace"))


def _field(name: str, xml: str) -> str:
    """The text of the first element of that name, "" without one."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return html.unescape(found[1]).strip() if found else ""


def _place(page: bytes, part: Part) -> str:
    return f"{part.of}, page {_name(page)}"


def _document(data: bytes, part: Part, config: MediaWikiConfig, base: str) -> Document | Drop:
    where = _place(data, part)
    page = decode(data, config.encoding)
    if page is None:
        return Drop("wrong encoding", where, data[:80].decode(errors="replace"))
    head, _, revision = page.rpartition("<revision>")  # the last one, if there are several
    title, namespace, text = _field("title", head), _field("ns", head) or "0", _TEXT.search(revision)
    if not title or not text:
        return Drop("damaged page", where, page[:80])
    if not namespace.isascii() or not namespace.isdigit() or int(namespace) not in config.namespaces:
        return Drop("other namespace", where, namespace)
    source = html.unescape(text[1] or "")
    if "<redirect " in head or _REDIRECT.match(source):
        return Drop("redirect", where, source[:80])
    if _field("model", revision) not in ("", "wikitext"):
        return Drop("not wikitext", where, _field("model", revision))
    plain = plain_text(source)
    if not plain:
        return Drop("no main content", where, source[:80])
    url = base + quote(title.replace(" ", "_"), safe="/:()!,*;@") if base else ""
    attributes = {"url": url, "revision": _field("id", revision), "licence": config.licence}
    return make_document(
        part.source,
        plain,
        title=title,
        split=split_by_hash(title, config.heldout_share),
        attributes={name: value for name, value in attributes.items() if value},
        where=where,
    )
