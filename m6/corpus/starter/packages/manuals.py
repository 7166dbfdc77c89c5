"""Manuals and help: manual pages and HTML pages, a Document each.

Their translations are never finished: sentences that are still in English are left out.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from m6.corpus.drop import Drop
from m6.corpus.extract.webpage import main_text
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import LARGEST_MEMBER, Archive, PackageError
from m6.corpus.starter.packages.groff import plain
from m6.corpus.starter.packages.wrapped import close_up

SENTENCE = 5  # words of a line in English from which it is a sentence and no term or code

_CHINESE = re.compile("[\u4e00-\u9fff]")
_ABOUT_TRANSLATION = re.compile(r"^\W*(中文版.*|跋|.*翻译计划.*|.*手册页计划.*|译者.*)\W*$")
_PAGE_NAME = re.compile(r".*/(.+)\.(\w+)\.gz")
_WORD = re.compile(r"(?<!\S)[A-Za-z][a-z']*[,.;:]?(?!\S)")
_POINTER = re.compile(r"要访问此命令\W*|相关主题|示例文件\W*")  # they stand before links


def manpages(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """A manual page; the title is its name and section, `cp(1)`."""
    packed = archive.read(name)
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        source = unpacker.decompress(packed, LARGEST_MEMBER).decode("utf-8", "replace")
    except zlib.error as error:
        raise PackageError(f"{name}: {error}") from None
    if source.startswith(".so "):
        yield Drop("link to another page", name, source[:80])
        return
    page = _PAGE_NAME.fullmatch(name)
    title = f"{page[1]}({page[2]})" if page else name
    lines = _translated(_without_colophon(close_up(plain(source)).split("\n")))
    if lines:
        yield Entry("\n".join(lines), title, title)
    else:
        yield Drop("not translated", name, title)


def pages(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """The main content of an HTML page, as far as it is translated."""
    title, text = main_text(archive.read(name))
    lines = [line for line in _translated(text.split("\n")) if not _POINTER.fullmatch(line)] if text else []
    if lines and _CHINESE.search(title):
        yield Entry("\n".join(lines), title, f"{name.rpartition('/')[2]} {title}")
    else:
        yield Drop("not translated" if text else "no main content", name, title)


def _translated(lines: list[str]) -> list[str]:
    """The lines without sentences in English; none if there are more of these than lines in Chinese."""
    english = [not _CHINESE.search(line) and len(_WORD.findall(line)) >= SENTENCE for line in lines]
    chinese = sum(bool(_CHINESE.search(line)) for line in lines)
    return [line for line, out in zip(lines, english, strict=True) if not out] if chinese >= sum(english) else []


def _without_colophon(lines: list[str]) -> list[str]:
    """The lines up to the sections that speak of the translation alone."""
    return lines[: next((number for number, line in enumerate(lines) if _ABOUT_TRANSLATION.match(line)), None)]
