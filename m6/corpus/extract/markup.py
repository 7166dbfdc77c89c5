"""Markup: one pass over the tags of an HTML page that gives its lines and its pictures.

In: the page as text. Out: a `Page`. No tree is built. The page is cut at every "<", what a tag means is looked up by
its letters (most tags of a page are the same few), and a stack of open elements says where an element ends that is no
content. Broken markup costs a wrong line, never more.
"""

from __future__ import annotations

import html as entities
import re
from typing import NamedTuple

from m6.corpus.extract.page_chrome import is_chrome_element

HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
PICTURE = "\0"  # stands for a picture in the text of a line

# Comments, and elements whose content is no markup, to the end of the page if they are not closed. Each branch reads
# every character once, for what follows a loop always fits: no page makes it slow. Loops are not possessive, which
# Python 3.11.2 gets wrong.
_UNREAD = re.compile(
    r"<(?:!--(?:-?>|[^-]*(?:-(?!-!?>)[^-]*)*(?:--!?>|\Z))"
    r"|((?i:script|style|textarea|iframe|noscript|template))\b[^<>]*>?[^<]*(?:<(?!/(?i:\1))[^<]*)*)"
)
_TAG_NAME = re.compile(r"(/?)([a-zA-Z][a-zA-Z0-9:_-]*)")
_ATTRIBUTE = re.compile(r"""([^\s"'=<>/]{1,50}+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_BLOCK_NAMES = (
    "address article aside audio blockquote body button canvas caption center dd details dialog div dl dt fieldset"
    " figcaption figure footer form head header html legend li main menu nav object ol option p pre section select"
    " summary svg table tbody td tfoot th thead tr ul video"
)
_BLOCKS = HEADINGS.union(_BLOCK_NAMES.split())
_CELLS = frozenset(("td", "th"))
_NEVER_CONTENT_NAMES = "aside audio button canvas dialog footer menu nav object select svg video"
_NEVER_CONTENT = frozenset(_NEVER_CONTENT_NAMES.split())
_NEVER_CHROME = frozenset(("html", "head", "body", "main", "article", "h1"))
_ENDED_BY_THE_NEXT = frozenset(("p", "li", "td", "th", "tr", "dt", "dd", "option"))
_DEEPEST_SEARCH = 64  # open elements through which a closing tag looks for its own
_LONGEST_NAMES = 1_000  # characters of a tag in which its class and id are looked for
_MOST_OPEN = 10_000
_MOST_PICTURES = 1_000
_MOST_SAID = 200  # meta tags
_REFERENCE = re.compile(r"\s*\[(?:注?\s*\d{1,3}|[a-z])(?:[-–,，\s]+\d+)*\s*\]?\s*|\]")
_WRAPPED = re.compile("(?<=[⺀-\uffef])[ \t\r]*\n\\s*(?=[⺀-\uffef])")  # a source line ends between Chinese characters

_QUOTED = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')""")
_OPEN_QUOTE = re.compile(r"""=\s*(["'])""")

# What a tag does
_TEXT, _INLINE, _OPEN, _CLOSE, _BREAK, _LINK, _UNLINK, _IMAGE, _SUP, _UNSUP, _META, _TITLE, _UNFINISHED = range(13)
_ACTIONS = {
    "br": (_BREAK, _BREAK),
    "hr": (_BREAK, _BREAK),
    "a": (_LINK, _UNLINK),
    "img": (_IMAGE, _INLINE),
    "sup": (_SUP, _UNSUP),
    "meta": (_META, _INLINE),
    "title": (_TITLE, _INLINE),
} | dict.fromkeys(_BLOCKS, (_OPEN, _CLOSE))


class Line(NamedTuple):
    """One line of a page, its spaces collapsed; a paragraph, a cell's text, or a whole row of a table."""

    text: str
    role: str  # "h1" to "h6"; "row" for several cells; else ""
    linked: int  # characters in links
    pictures: tuple[tuple[int, str], ...]  # the character before which each stands, and the attributes of its tag


class Page(NamedTuple):
    """The lines of a page, and what it says of itself."""

    lines: list[Line]
    title: str  # its <title>
    og_title: str
    site: str  # og:site_name
    heading: str  # its first h1
    passed_over: int  # characters of sentences in elements that were taken for no content


class _Tags(dict[str, tuple[int, str, bool]]):
    """What the letters between < and > mean: action, name of the element, whether it is no content."""

    def __missing__(self, head: str) -> tuple[int, str, bool]:
        quote = _open_quote(head)
        meaning = (_UNFINISHED, quote, False) if quote else _meaning(head)
        if len(self) >= 2**16:
            self.clear()
        if len(head) <= 200:
            self[head] = meaning
        return meaning


_TAGS = _Tags()


def _open_quote(head: str) -> str:
    """The quotation mark of an attribute that has a ">" in its value, so that the tag was cut there; else ""."""
    if head.count('"') % 2 == 0 and head.count("'") % 2 == 0:
        return ""
    found = _OPEN_QUOTE.search(_QUOTED.sub("", head))
    return found[1] if found else ""


def _finish(head: str, text: str, quote: str) -> tuple[str, str]:
    """A tag that was cut within a value, and the text behind it."""
    end = text.find(">", text.find(quote) + 1) if quote in text else -1
    return (f"{head}>{text[:end]}", text[end + 1 :]) if end >= 0 else (head, text)


def _meaning(head: str) -> tuple[int, str, bool]:
    found = _TAG_NAME.match(head)
    if not found:
        return (_INLINE if head.startswith(("!", "?", "/")) else _TEXT), "", False
    name = found[2].lower()
    opening, closing = _ACTIONS.get(name, (_INLINE, _INLINE))
    if found[1]:
        return closing, name, False
    if opening == _LINK and "href" not in head.lower():
        return _INLINE, name, False
    chrome = False
    if opening == _OPEN and name not in _NEVER_CHROME:
        chrome = name in _NEVER_CONTENT or is_chrome_element(head[found.end() : _LONGEST_NAMES])
    return opening, name, chrome


def attribute(attributes: str, name: str) -> str:
    """The value of an attribute by the text of its tag, its character references resolved; "" without it."""
    for found, value in _ATTRIBUTE.findall(attributes):
        if found.lower() == name:
            return entities.unescape(value.strip("\"'")).strip()
    return ""


def read_page(source: str, skip_chrome: bool = True) -> Page:
    """The page; with `skip_chrome` without the elements whose names say that they are no content."""
    reader = _Reader(skip_chrome)
    reader.read(source.replace(PICTURE, "").replace("&nbsp;", " "))
    said = reader.said
    return Page(
        lines=reader.lines,
        title=said.get("title", ""),
        og_title=_collapse(said.get("og:title", "")),
        site=_collapse(said.get("og:site_name", "")),
        heading=next((line.text for line in reader.lines if line.role == "h1" and line.text), ""),
        passed_over=reader.passed_over,
    )


def _collapse(text: str) -> str:
    """Runs of spaces as one; a line end between Chinese characters is none at all."""
    text = text.strip()
    if "\n" in text:
        text = _WRAPPED.sub("", text)
    return " ".join(text.split())


def _place_pictures(text: str, images: list[str]) -> tuple[str, tuple[tuple[int, str], ...]]:
    """The text without the marks of pictures, and where they stood."""
    first, *others = text.split(PICTURE)
    text, placed = first, []
    for piece, image in zip(others, images, strict=True):
        placed.append((len(text), image))
        text += piece.lstrip() if not text or text.endswith(" ") else piece
    text = text.rstrip()
    return text, tuple((min(offset, len(text)), image) for offset, image in placed)


class _Reader:
    """The state of one pass: the line that is being read, and the elements that are open."""

    def __init__(self, skip_chrome: bool) -> None:
        self.skip_chrome = skip_chrome
        self.lines: list[Line] = []
        self.parts: list[str] = []  # texts of the line so far
        self.images: list[str] = []  # of the line so far
        self.linked = self.cells = 0  # of the line so far
        self.in_link = self.in_sup = self.in_pre = False
        self.plain = True  # none of these, nor within a skipped element: text is just taken
        self.role = ""  # of the line so far
        self.open: list[str] = []
        self.skipped = 0  # height of `open` at an element that is no content; 0 outside of one
        self.passed_over = 0
        self.num_pictures = 0
        self.said: dict[str, str] = {}  # what the page says of itself

    def read(self, source: str) -> None:
        """All tags of a page, each with the text behind it."""
        pieces = iter(_UNREAD.sub("", source).split("<"))
        self._text(next(pieces))
        parts = self.parts
        for piece in pieces:
            head, _, text = piece.partition(">")
            action, name, chrome = _TAGS[head]
            if action == _UNFINISHED:
                head, text = _finish(head, text, name)
                action, name, chrome = _meaning(head)
            if action == _OPEN:
                self._open(name, chrome)
            elif action == _CLOSE:
                self._close(name)
            elif action == _TEXT:
                text = "<" + piece
            elif action != _INLINE and (not self.skipped or action >= _META):
                text = self._other(action, head, text)
            if not text or (not parts and text.isspace()):
                continue
            if self.plain:
                parts.append(text)
            else:
                self._text(text)
        self._end_line()

    def _text(self, text: str) -> None:
        if self.skipped:
            if "，" in text or "。" in text:
                self.passed_over += len(text)
            return
        if self.in_sup and _REFERENCE.fullmatch(text):
            return
        if self.in_link:
            self.linked += len(text.strip())
        if self.in_pre and "\n" in text:
            *lines, text = text.split("\n")
            for line in lines:
                self.parts.append(line)
                self._end_line()
        self.parts.append(text)

    def _see_plain(self) -> None:
        self.plain = not (self.skipped or self.in_sup or self.in_link or self.in_pre)

    def _open(self, name: str, chrome: bool) -> None:
        stack = self.open
        if stack and stack[-1] == name and name in _ENDED_BY_THE_NEXT:
            self._close(name)
        elif self.skipped and len(stack) == self.skipped and stack[-1] in ("p", "li"):
            self._close(stack[-1])  # it was never closed, but no other block can stand in it
        if len(stack) < _MOST_OPEN:
            stack.append(name)
        if self.skipped:
            return
        if name in _CELLS:
            if self.parts and not all(map(str.isspace, self.parts)):
                self.cells += 1
                self.parts.append(" ")
        else:
            if self.parts:
                self._end_line()
            self.role = name if name in HEADINGS else ""
            if name == "pre":
                self.in_pre, self.plain = True, False
        if chrome and self.skip_chrome and len(stack) < _MOST_OPEN:
            self.skipped, self.plain = len(stack), False

    def _close(self, name: str) -> None:
        stack = self.open
        if stack and stack[-1] == name:
            stack.pop()
        elif name in stack[-_DEEPEST_SEARCH:]:
            while stack.pop() != name:
                pass
        if self.skipped:
            if len(stack) >= self.skipped:
                return
            self.skipped = 0
        elif name not in _CELLS:
            if self.parts:
                self._end_line()
            self.role = ""
        if not self.plain:
            self.in_link = False
            self.in_pre = self.in_pre and name != "pre"
            self._see_plain()

    def _other(self, action: int, head: str, text: str) -> str:
        """Do what the tag says; give back the text behind it as far as it is text of the page."""
        if action == _BREAK:
            self._end_line()
        elif action in (_LINK, _UNLINK):
            self.in_link = action == _LINK
            self._see_plain()
        elif action in (_SUP, _UNSUP):
            self.in_sup = action == _SUP
            self._see_plain()
        elif action == _IMAGE and self.num_pictures < _MOST_PICTURES:
            self.num_pictures += 1
            self.parts.append(PICTURE)
            self.images.append(head)
        elif action == _META and len(self.said) < _MOST_SAID:
            key = attribute(head, "property") or attribute(head, "name")
            self.said.setdefault(key.lower(), attribute(head, "content"))
        elif action == _TITLE:
            self.said.setdefault("title", _collapse(entities.unescape(text)))
            return ""
        return text

    def _end_line(self) -> None:
        """Make a line of what was read since the last one."""
        raw = "".join(self.parts)
        self.parts.clear()
        text = _collapse(entities.unescape(raw) if "&" in raw else raw)
        if text:
            pictures: tuple[tuple[int, str], ...] = ()
            if self.images:
                text, pictures = _place_pictures(text, self.images)
                self.images = []
            self.lines.append(Line(text, self.role or ("row" if self.cells else ""), self.linked, pictures))
        self.linked = self.cells = 0
