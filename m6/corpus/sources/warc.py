"""Common Crawl: WARC files (pages as they were fetched) and WET files (their text), gzipped or not.

In: response records of HTML with status 200, resource records of HTML, conversion records of plain text. Out: a
Document a page, with its address and date as attributes; its group is the registered host, so that no site stands on
both sides of the split. A file is a part. Where records begin can only be told by reading from the beginning (a page
may hold a WARC file), and crawls come as thousands of files.
"""

from __future__ import annotations

import ipaddress
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from m6.corpus.config import WarcConfig
from m6.corpus.document import Document, Image, make_document
from m6.corpus.drop import Drop, safely
from m6.corpus.extract.webpage import passage, read_html
from m6.corpus.read.encodings import decode, require_known
from m6.corpus.read.files import READ_ERRORS, find, open_file, size, why_unreadable
from m6.corpus.read.warc_records import Record, records
from m6.corpus.sources import Part, split_by_hash

ENDINGS = (".warc", ".wet")
LARGEST_PAGE = 16 * 2**20  # bytes, unpacked

_HTML = ("text/html", "application/xhtml+xml")
_LOOKS_LIKE_HTML = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)", re.IGNORECASE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w:.-]{2,20})""", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,7})[^\r\n]{0,100}\r?\n")
# Names under which countries register: example.com.cn, example.gov.cn, example.bj.cn, example.co.jp
_SECOND_LEVEL_NAMES = (
    "ac co com edu gob gov go idv ltd me mil name ne net nom or org plc sch"
    " ah bj cq fj gd gs gx gz ha hb he hi hk hl hn jl js jx ln mo nm nx qh sc sd sh sn sx tj tw xj xz yn zj"
)
_SECOND_LEVEL = frozenset(_SECOND_LEVEL_NAMES.split())


class _RefusedError(Exception):
    """Why a record is dropped, and what decided."""


class Page(NamedTuple):
    """What a record says before its page is read."""

    data: bytes
    declared: str | None  # charset of the HTTP header


def parts(name: str, config: WarcConfig) -> list[Part]:
    """A part a file. UserError if there is none."""
    field = f"corpus.sources.{name}"
    require_known(config.encoding, f"{field}.encoding")
    return [Part(name, 0, size(path), path) for path in find(config.paths, ENDINGS, f"{field}.paths")]


def read(part: Part, config: WarcConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of a file, and Drops for pages that are none; records of other types are passed over."""
    some = False
    try:
        with open_file(part.of) as file:
            for record in records(file, part.of):
                some = True
                where = "" if isinstance(record, Drop) else f"{part.of}, byte {record.at}"
                result = record if isinstance(record, Drop) else safely(where, _document, record, where, part, config)
                if result is not None:
                    yield result
    except READ_ERRORS as error:
        yield Drop(why_unreadable(error), part.of, str(error))
    else:
        if not some:
            yield Drop("no records", part.of)


def _document(record: Record, where: str, part: Part, config: WarcConfig) -> Document | Drop | None:
    url = record.header.get("warc-target-uri", "").strip("<>")
    kind = record.header.get("warc-type", "").lower()
    try:
        if kind == "conversion":
            title, text, images = "", _plain_text(record.content, config.encoding), list[Image]()
        elif kind in ("response", "resource"):
            title, text, images = _page(record, kind, url, config)
        else:
            return None
    except _RefusedError as error:
        return Drop(str(error.args[0]), where, f"{error.args[1]} {url}".strip())
    if not text:
        return Drop("no main content", where, f"{title} {url}".strip())
    group = registered_host(url)
    attributes = {"url": url, "date": record.header.get("warc-date", ""), "licence": config.licence}
    return make_document(
        part.source,
        text,
        title=title,
        group=group,
        split=split_by_hash(group, config.heldout_share),
        images=images,
        attributes={name: value for name, value in attributes.items() if value},
        where=where,
    )


def _plain_text(content: bytes, encoding: str) -> str:
    text = decode(content, encoding)
    if text is None:
        raise _RefusedError("wrong encoding", "")
    return "\n".join(line for line in map(str.strip, text.replace("\0", "").splitlines()) if line)


def _page(record: Record, kind: str, url: str, config: WarcConfig) -> tuple[str, str, list[Image]]:
    if kind == "resource":
        type_, _, rest = record.header.get("content-type", "").partition(";")
        if type_.strip().lower() not in _HTML:
            raise _RefusedError("not HTML", type_)
        charset = _CHARSET.search(rest)
        page = Page(record.content, charset and charset[1])
    else:
        page = _response(record.content)
    html = read_html(page.data, page.declared, config.encoding)
    if html is None:
        raise _RefusedError("wrong encoding", page.declared or "")
    title, text, pictures = passage(html, url)
    if not config.with_images:
        return title, text, []
    web = [(offset, address) for offset, address, _ in pictures if address.startswith(("http://", "https://"))]
    return title, text, [Image(bytes=b"", width=0, height=0, offset=offset, url=address) for offset, address in web]


def _response(content: bytes) -> Page:
    """The page in an HTTP response. Raises what refuses it."""
    end = _HEADER_END.search(content)
    status = _STATUS.match(content)
    if end is None or status is None:
        raise _RefusedError("no HTTP header", content[:40].decode(errors="replace"))
    if status[1] != b"200":
        raise _RefusedError("HTTP status is not 200", status[1].decode())
    header = {}
    for line in content[: end.start()].decode("latin-1").splitlines()[1:]:
        name, _, value = line.partition(":")
        header[name.strip().lower()] = value.strip()
    body = content[end.end() :]
    if "chunked" in header.get("transfer-encoding", "").lower():
        body = _without_chunks(body)
    for encoding in reversed(header.get("content-encoding", "").lower().split(",")):
        body = _unpack(body, encoding.strip())
    type_, _, rest = header.get("content-type", "").partition(";")
    if type_.strip().lower() not in _HTML and (type_ or not _LOOKS_LIKE_HTML.match(body)):
        raise _RefusedError("not HTML", type_)
    charset = _CHARSET.search(rest)
    return Page(body, charset and charset[1])


def _without_chunks(body: bytes) -> bytes:
    """The body without the sizes between its chunks; as it is if it has none: some crawlers take them out."""
    parts, at = [], 0
    while size := _CHUNK_SIZE.match(body, at):
        count = int(size[1], 16)
        if not count:
            break
        parts.append(body[size.end() : size.end() + count])
        at = size.end() + count
    return b"".join(parts) or body


def _unpack(body: bytes, encoding: str) -> bytes:
    """The body unpacked; as it is if it is not packed, whatever its header says: some crawlers unpack it."""
    try:
        if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
            return _inflate(body, 31)
        if encoding == "deflate" and body:
            return _inflate(body, 15 if body[0] & 15 == 8 else -15)
    except zlib.error:
        raise _RefusedError("damaged content encoding", encoding) from None
    if encoding == "br" and not _LOOKS_LIKE_HTML.match(body):
        return _unpack_brotli(body)
    return body


def _inflate(body: bytes, window: int) -> bytes:
    stream = zlib.decompressobj(window)
    data = stream.decompress(body, LARGEST_PAGE)
    if stream.unconsumed_tail:
        raise _RefusedError("zip bomb", f"more than {LARGEST_PAGE} bytes")
    return data


def _unpack_brotli(body: bytes) -> bytes:
    try:
        import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise _RefusedError('brotli is not installed: pip install "open-m6[web]"', "br") from None
    stream, parts, count = brotli.Decompressor(), [], 0
    try:
        for start in range(0, len(body), 2**12):
            parts.append(stream.process(body[start : start + 2**12]))
            count += len(parts[-1])
            if count > LARGEST_PAGE:
                raise _RefusedError("zip bomb", f"more than {LARGEST_PAGE} bytes")
    except brotli.error:
        raise _RefusedError("damaged content encoding", "br") from None
    return b"".join(parts)


def registered_host(url: str) -> str:
    """The name under which a site is registered: news.example.com.cn is example.com.cn; an IP address is itself."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
        ipaddress.ip_address(host)
        return host
    except ValueError:
        pass
    try:
        labels = (urlsplit(url).hostname or "").rstrip(".").lower().split(".")
    except ValueError:  # "http://[" is no address
        return ""
    country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if country else labels[-2:])
