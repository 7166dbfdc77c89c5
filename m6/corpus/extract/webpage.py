"""Web pages: from HTML to the text that the page is about, and to the passage with its pictures in their places.

In: a page as bytes or as text. Out: title, text with a paragraph on each line, pictures by the character before which
they stand. A page is read in one pass over its tags (`markup.py`), without a tree: the time grows with its length
alone, whatever is nested in it or left open, and nothing in a page raises. Elements whose names say that they are no
content are passed over; what is left becomes lines, and a line is kept or not by its links, its words and its place.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin

from m6.corpus.extract.markup import Line, Page, attribute, read_page
from m6.corpus.extract.page_chrome import is_chrome_line, is_decoration, is_sentence
from m6.corpus.read.encodings import canonical, decode, is_known

LONGEST_PAGE = 4 * 2**20  # bytes; what follows is not read
LONGEST_SAVED_PAGE = 32 * 2**20  # bytes or characters, of a page that holds its pictures

Picture = tuple[int, str, str]
"""The character before which a picture stands, its address, its alternative text."""

_LATE_SOURCES = ("data-original", "data-src", "data-lazy-src", "zoomfile")  # where `src` is a placeholder at first
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]{2,20})""", re.IGNORECASE)
_SITE = re.compile(r"\s*[_|｜]\s*|\s+[-–—]+\s+|\s*[-–—]+\s*(?=[^-–—]*(?:网|店|论坛|百科|博客|社区|平台|频道|之家)$)")
_ADVERTISED = re.compile(r"[【\[][^】\]]{2,20}[】\]]$")  # 【价格 图片 评价】
_SHORT = 10  # characters; lines as short, without marks of sentences, need a text around them
_LONG = 30  # characters; a line as long may speak in links


def read_html(
    html: bytes, declared: str | None = None, encoding: str = "auto", longest: int = LONGEST_PAGE
) -> str | None:
    """The page as text, at most its first `longest` bytes; None if no encoding fits.

    `encoding` is the user's word. With "auto", `declared`, the charset of the HTTP header, comes before the page's own
    meta tag, and both behind UTF-8. One character in a thousand may be broken, since pages are cut in transit: U+FFFD
    stands for it.
    """
    if len(html) > longest:
        html = html[: html.rfind(b">", 0, longest) + 1 or longest]  # not within a character
    if encoding != "auto":
        return decode(html, encoding)
    own = _META_CHARSET.search(html, 0, 4096)
    names = [name for name in (declared, own and own[1].decode()) if name and is_known(name)]
    text = decode(html, "auto", names[0] if names else None)
    if text is not None:
        return text
    for name in (*names, "utf-8"):
        text = html.decode(canonical(name), "replace")
        if text.count("\ufffd") <= 1 + len(text) // 1000:
            return text
    return None


def main_text(html: bytes | str, declared: str | None = None) -> tuple[str, str]:
    """Title and main content of a page, paragraphs on lines of their own; two empty texts if there is none."""
    title, text, _ = _extract(html, declared)
    return title, text


def passage(
    html: bytes | str, base: str = "", declared: str | None = None, saved: bool = False
) -> tuple[str, str, list[Picture]]:
    """Title, text, and the pictures in it, their addresses made whole by `base`; without those that are decoration.

    Of the addresses that a tag may have, `saved` takes the one that a browser has made local.
    """
    title, text, found = _extract(html, declared)
    pictures = []
    for offset, attributes in found:
        address = _address(attributes, saved)
        if address:
            pictures.append((offset, _join(base, address), attribute(attributes, "alt")))
    return title, text, pictures


def _extract(html: bytes | str, declared: str | None) -> tuple[str, str, list[tuple[int, str]]]:
    source = html[:LONGEST_SAVED_PAGE] if isinstance(html, str) else read_html(html, declared)
    if not source:
        return "", "", []
    page = read_page(source)
    title = _title(page)
    kept = _kept(page.lines, title)
    if page.passed_over > 3 * sum(len(line.text) for line in kept):  # the names in this template mislead
        page = read_page(source, skip_chrome=False)
        kept = _kept(page.lines, title) or kept
    return title, *_join_lines(kept)


def _title(page: Page) -> str:
    """What the page calls its topic: its heading or og:title, else its title without the site's name."""
    named = page.og_title or page.title
    if page.heading and (not named or page.heading in named or page.heading.split("\n")[0] in named):
        return page.heading
    pieces = [piece for piece in _SITE.split(named) if piece and piece != page.site]
    return _ADVERTISED.sub("", pieces[0]).strip() if pieces else page.heading


def _kept(lines: list[Line], title: str) -> list[Line]:
    """The lines that are content, in order; the title itself is not among them."""
    begin = next((index for index, line in enumerate(lines) if title and line.text == title), 0)
    if any(_state(line) == "good" for line in lines[:begin]):  # the title stands behind the text as well
        begin = 0
    lines = [line for line in lines[begin:] if not is_chrome_line(line.text)]
    if title and lines and lines[0].text == title:
        del lines[0]
    states = [_state(line) for line in lines]
    good = [index for index in range(len(states)) if states[index] == "good"]
    if not good:
        return []
    first, last = good[0], good[-1]
    while first > 0 and states[first - 1] in ("row", "heading", "picture"):
        first -= 1
    while last + 1 < len(states) and states[last + 1] in ("row", "picture"):
        last += 1
    kept: list[Line] = []
    after = "bad"  # state of the line behind
    for index in range(last, first - 1, -1):
        state = states[index]
        alone = after == "bad" or (index > first and states[index - 1] == "bad")
        if (state == "heading" and after == "bad") or (state == "short" and alone):
            state = "bad"
        if state != "bad":
            kept.append(lines[index])
        after = state
    return kept[::-1]


def _state(line: Line) -> str:
    """What a line looks like by itself: "good", "bad", "short", "heading", "row" or "picture"."""
    text, length = line.text, len(line.text)
    if not text:
        return "picture"
    if 2 * line.linked > length and (length < _LONG or not is_sentence(text)):
        return "bad"
    if line.role:
        return "row" if line.role == "row" else "heading"
    return "good" if length >= 2 * _SHORT or is_sentence(text) else "short"


def _join_lines(lines: list[Line]) -> tuple[str, list[tuple[int, str]]]:
    """The text, and the tags of its pictures by the character before which they stand."""
    pictures: list[tuple[int, str]] = []
    length = 0
    for line in lines:
        pictures.extend((length + offset, attributes) for offset, attributes in line.pictures)
        length += len(line.text) + 1 if line.text else 0
    text = "\n".join(line.text for line in lines if line.text)
    return text, [(min(offset, len(text)), attributes) for offset, attributes in pictures]


def _address(attributes: str, saved: bool) -> str:
    """Where a picture is, as the page has it; "" if it is decoration or nowhere."""
    width, height = (_pixels(attribute(attributes, side)) for side in ("width", "height"))
    names = ("src", *_LATE_SOURCES) if saved else (*_LATE_SOURCES, "src")
    addresses = filter(None, (attribute(attributes, name) for name in names))
    return next((address for address in addresses if not is_decoration(address, width, height)), "")


def _pixels(value: str) -> int | None:
    found = re.match(r"\d{1,6}(?!\d*%)", value)
    return int(found[0]) if found else None


def _join(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:  # "http://[" is no address
        return address
