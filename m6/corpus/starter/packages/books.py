"""Books: the novel 三国演义, a Document a chapter."""

from __future__ import annotations

import json
from collections.abc import Iterator

from m6.corpus.drop import Drop
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import Archive, PackageError


def sanguo(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """The chapters: the heading is the title, each paragraph a line."""
    try:
        chapters = json.loads(archive.read(name))
    except ValueError as error:
        raise PackageError(f"{name}: {error}") from None
    for number, chapter in enumerate(chapters, start=1):
        lines = [line.strip() for line in str(chapter).splitlines() if line.strip()]
        if len(lines) < 2:
            yield Drop("no text", f"{name}, chapter {number}", str(chapter)[:80])
            continue
        title = " ".join(lines[0].split())
        yield Entry("\n".join(lines[1:]), title, title, attributes=(("book", "三国演义"),))
