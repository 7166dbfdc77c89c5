"""Saved HTML pages with their pictures: passages with the pictures in their places.

In: HTML files as browsers save them (`page.html` with a folder `page_files`), or with pictures under relative paths.
Out: a Document a page, interleaved. Pictures are read from the folder that the recipe names, and from nowhere else:
neither `..` nor links lead out of it. Pictures within the page (data: addresses) are decoded, those on the web are kept
as addresses. What cannot be had stays as a picture without bytes, for the rules to count; decoration is left out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from m6.corpus.config import PagesConfig
from m6.corpus.document import Document, Image, make_document
from m6.corpus.drop import Drop, safely
from m6.corpus.extract.webpage import LONGEST_SAVED_PAGE, passage, read_html
from m6.corpus.read.encodings import require_known
from m6.corpus.read.files import find, folder_of, is_url, picture_bytes
from m6.corpus.read.picture_values import pictures_of
from m6.corpus.sources import Part, cut, split_by_hash

ENDINGS = (".html", ".htm", ".xhtml", ".shtml")
PAGES_PER_PART = 200
MOST_PARTS = 128  # each lists the folders once

_WEB = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_SCHEME = re.compile(r"(?!data:)[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # file:, blob:, chrome-extension:
_SAVED_FROM = re.compile(r"<!-- saved from url=\(\d+\)(https?://[^\s<>]{1,2000}) -->")
_FRAMES = re.compile(r"[^/]+[._]files/")


def parts(name: str, config: PagesConfig) -> list[Part]:
    """Ranges of pages. UserError if there is none."""
    field = f"corpus.sources.{name}"
    require_known(config.encoding, f"{field}.encoding")
    count = len(_pages(config, f"{field}.paths"))
    return cut(name, count, max(PAGES_PER_PART, -(-count // MOST_PARTS)))


def read(part: Part, config: PagesConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of some pages."""
    for root, name in _pages(config, f"corpus.sources.{part.source}.paths")[part.start : part.stop]:
        yield safely(name, _document, root, name, part, config)


def _pages(config: PagesConfig, field: str) -> list[tuple[str, str]]:
    """The pages, each as the folder that holds all that it may show, and its name in there."""
    pages = (_within(config.paths, path) for path in find(config.paths, ENDINGS, field))
    return [(root, name) for root, name in pages if not _FRAMES.search(name)]  # frames are saved beside the pictures


def _within(paths: tuple[str, ...], path: str) -> tuple[str, str]:
    folders = [folder for folder in paths if is_url(folder) or Path(folder).is_dir()]
    for folder in (*folders, folder_of(path)):
        address, _, options = folder.partition("?") if is_url(folder) else (folder, "", "")
        inside = path[: -len(options) - 1] if options and path.endswith(options) else path
        beginning = "" if address == "." else f"{address.rstrip('/')}/"
        if inside.startswith(beginning):
            return folder, inside[len(beginning) :]
    return folder_of(path), posixpath.basename(path)


def _document(root: str, name: str, part: Part, config: PagesConfig) -> Document | Drop:
    where = posixpath.join(root, name)
    data = picture_bytes(root, name, LONGEST_SAVED_PAGE)
    if isinstance(data, str):
        reasons = {"large image file": "long page", "image outside the folder": "page outside the folder"}
        return Drop(reasons.get(data, "unreadable file"), where)
    html = read_html(data, encoding=config.encoding, longest=LONGEST_SAVED_PAGE)
    if html is None:
        return Drop("wrong encoding", where, data[:60].decode(errors="replace"))
    title, text, found = passage(html, saved=True)
    if not text:
        return Drop("no main content", where, title)
    images = [_image(root, name, offset, address, config.images.most_bytes) for offset, address, _ in found]
    saved_from = _SAVED_FROM.search(html, 0, 4096)
    attributes = {"url": saved_from[1] if saved_from else "", "licence": config.licence}
    return make_document(
        part.source,
        text,
        title=title,
        group=name,
        split=split_by_hash(name, config.heldout_share),
        images=images,
        attributes={key: value for key, value in attributes.items() if value},
        where=where,
    )


def _image(root: str, page: str, offset: int, address: str, most_bytes: int) -> Image:
    """A picture with its bytes, or with its address on the web, or with neither if it cannot be had."""
    image = Image(bytes=b"", width=0, height=0, offset=offset)
    if _WEB.match(address):
        image["url"] = f"https:{address}" if address.startswith("//") else address
    elif not _SCHEME.match(address):
        [found] = pictures_of(address, partial(_beside, root, page, most_bytes), most_bytes)
        if isinstance(found, str):
            image["missing"] = found
        else:
            image["bytes"] = found.data
    return image


def _beside(root: str, page: str, most_bytes: int, address: str) -> bytes | str:
    """The picture under an address that is relative to the page, or to the root if it begins with a slash."""
    name = unquote(re.split("[?#]", address, maxsplit=1)[0]).replace("\\", "/")
    folder = "" if name.startswith("/") else posixpath.dirname(page)
    return picture_bytes(root, posixpath.join(folder, name.lstrip("/")), most_bytes)
