"""Descriptions of Debian packages in Chinese: what a product is called, and what it does.

The list of apt holds paragraphs of fields; `Description-zh_CN` begins with the short description, and goes on with
lines that are indented: one space for text that is wrapped, two for lists, a full stop alone for an empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from m6.corpus.drop import Drop
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import Archive
from m6.corpus.starter.packages.wrapped import join

_FIELD = re.compile(r"^Description-zh(?:_\w+)?: *(.*(?:\n[ \t].*)*)", re.MULTILINE)
_NAME = re.compile(r"^Package: *(\S+)", re.MULTILINE)


def debian(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """One description a package; the title is the short one."""
    for paragraph in re.split(r"\n{2,}", archive.read(name).decode("utf-8", "replace")):
        product, field = _NAME.search(paragraph), _FIELD.search(paragraph)
        if not product or not field:
            if paragraph.strip():
                yield Drop("no description", f"{name}, {product[1] if product else '?'}", paragraph[:80])
            continue
        title, *lines = field[1].split("\n")
        text = unwrap(lines)
        if not text:
            yield Drop("no long description", f"{name}, {product[1]}", title)
            continue
        yield Entry(text, title.strip(), title.strip(), attributes=(("product", product[1]),))


def unwrap(lines: list[str]) -> str:
    """Indented lines as paragraphs: wrapped lines are joined, those of a list stay on their own."""
    paragraphs: list[str] = []
    goes_on = False
    for line in lines:
        line = line[1:].rstrip()
        if line == ".":
            goes_on = False
            continue
        alone = line.startswith((" ", "\t", "* ", "- ", "• "))
        line = line.strip()
        if goes_on and not alone:
            paragraphs[-1] = join(paragraphs[-1], line)
        elif line:
            paragraphs.append(line)
        goes_on = bool(line)
    return "\n".join(paragraphs)
