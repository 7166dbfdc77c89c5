"""Normalisation: one way to write a text, so that rules, duplicates and tokenizers see the same thing.

In: any text, perhaps with stray tags, control characters, full-width letters. Out: Unicode form NFKC, but with its
Chinese punctuation as it was, without markup and invisible characters, runs of marks and spaces collapsed, lines
trimmed and empty lines gone. Normalising twice changes nothing more (but for some rare characters that `opencc` maps to
one that it maps again).
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

# Element names of HTML: <b> is markup, List<String> and a<b>c of an unknown name are not.
_ELEMENTS = (
    "a|abbr|address|article|aside|audio|b|base|big|blockquote|body|br|button|canvas|center|cite|code|col|colgroup|dd|"
    "del|details|dfn|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|form|frame|frameset|h[1-6]|head|header|"
    "hr|html|i|iframe|img|input|ins|kbd|label|legend|li|link|main|map|mark|marquee|meta|nav|nobr|noscript|object|ol|"
    "o:p|optgroup|option|p|param|picture|pre|q|rp|rt|ruby|s|samp|script|section|select|small|source|span|strike|strong|"
    "style|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video|wbr"
)
_MARKUP = re.compile(rf"<(?=[a-z/!])(?:/?(?:{_ELEMENTS})(?:\s[^<>]*=[^<>]*|\s*/?)|!doctype[^<>]*)>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HIDDEN = re.compile(r"<(/?)(script|style|head|noscript)(?:\s[^<>]*)?>", re.IGNORECASE)
_LINE_ENDS = re.compile(
    r"<(?:br|hr|/(?:p|div|li|ul|ol|dd|dt|dl|tr|table|blockquote|section|article|h[1-6]))\b[^<>]*>", re.IGNORECASE
)
_ROUNDS = 2  # a tag may be escaped twice, &amp;lt;b&amp;gt;; what looks like one after that is no longer looked into

_LINE_SEPARATORS = "\r\x0b\x0c\x85\u2028\u2029"
# White space but space and newline; control characters, zero-width and direction marks, fillers, private use, lone
# surrogates, places of objects, noncharacters, tags.
_ODD = re.compile(
    r"[\t\r\x0b\x0c\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    r"\U000e0000-\U0010ffff]+"
)
# NFKC turns ，：？！（） and the like into ASCII, which damages Chinese. Full-width punctuation is therefore kept from
# it (letters and digits of full width are not), and so is the Chinese ellipsis.
_KEPT_FROM_NFKC = "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe5…‥"
# Forms for vertical print, to the horizontal ones: ︐ is ，
_VERTICAL = {
    chr(code): "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in unicodedata.normalize("NFKC", chr(code)))
    for code in (*range(0xFE10, 0xFE19), *range(0xFE31, 0xFE45), *range(0xFE47, 0xFE49))
} | {"\ufe19": "…", "\ufe30": "‥"}
_VERTICAL_FORM = re.compile(f"[{''.join(_VERTICAL)}]")
# The patterns below begin with a class or a letter, never with a repetition: so the next match is found fast.
_MARKS = r"，。、；：？！,;?!·～~:\-_=*#|/\\+^＝＊＃｜＋－＿"
_MARKS_MEET = re.compile(f"[{_MARKS}…—.][{_MARKS}…—.]")
_MIXED_MARKS = re.compile(r"[？！?!][？！?!][？！?!]+")
_REPEATED = re.compile(rf"([{_MARKS}])\1+")
_RIGHT_TWICE = frozenset("~:-_=*#|/\\+^＝＊＃｜＋－＿")  # :: and // and C++ and == are right
_LONG = re.compile(r"………+|———+|\.\.\.\.+")  # …… and —— and ... are the right forms
_SPACES = re.compile(r"  +")
_EMPTY_LINES = re.compile(r"\n[\n ]+")
_NO_LETTER = re.compile(r"[\W_]+")


def normalise(text: str, *, to_simplified: bool = False) -> str:
    """The text in its one form; `to_simplified` also writes traditional characters in simplified script."""
    return _settled(text, to_simplified).strip()


def normalise_parts(parts: Sequence[str], *, to_simplified: bool = False) -> tuple[str, list[int]]:
    """The normal form of a text with a picture between every two of its parts, and the places of these pictures.

    Each part is normalised apart, so that nothing is joined or collapsed over a picture. A picture after the end of
    a line stands at the beginning of the next. Places are offsets into the text that comes out, one fewer than parts.
    """
    text, gap = "", ""
    places: list[int] = []
    for number, part in enumerate(parts):
        if number:
            places.append(len(text) + len(gap) if text else 0)
        settled = _settled(part, to_simplified)
        body = settled.strip()
        start = settled.find(body) if body else len(settled)
        gap = _wider(gap, settled[:start])
        if body:
            text += (gap if text else "") + body
            gap = settled[start + len(body) :]
    return text, [min(place, len(text)) for place in places]


def letters(text: str) -> str:
    """Letters and digits only, in lower case and simplified script: what near duplicates are compared by."""
    return simplified(_NO_LETTER.sub("", text.lower()))


def simplified(text: str) -> str:
    """In simplified script."""
    return str(_converter("t2s").convert(text))


def traditional(text: str) -> str:
    """In traditional script."""
    return str(_converter("s2t").convert(text))


def strip_markup(text: str) -> str:
    """The text of a fragment of HTML: what is never shown goes with its content, of other elements the tags alone;
    character references become characters."""
    last = text.rfind("-->") + 3  # no comment ends after it, and to look for an end from every start would be slow
    if last >= 3:
        text = _COMMENT.sub("", text[:last]) + text[last:]
    return html.unescape(_MARKUP.sub("", _LINE_ENDS.sub("\n", _shown(text))))


def _shown(text: str) -> str:
    """Without scripts, styles and heads. One that is never closed goes on to the end if it is a script or style."""
    pieces, start, hidden = [], 0, None
    for tag in _HIDDEN.finditer(text):
        closing, name = bool(tag[1]), tag[2].lower()
        if hidden is None and not closing:
            hidden = (name, tag.start())
        elif hidden is not None and closing and name == hidden[0]:
            pieces.append(text[start : hidden[1]])
            start, hidden = tag.end(), None
    pieces.append(text[start : hidden[1]] if hidden and hidden[0] in ("script", "style") else text[start:])
    return "".join(pieces)


def _settled(text: str, to_simplified: bool) -> str:
    """The normal form but for a space or a newline at either end."""
    for _ in range(_ROUNDS):
        if _has_markup(text):
            text = strip_markup(text)
        text = _plain(text, to_simplified)
        if not _has_markup(text):
            return text
    return _plain(text.replace("<", ""), to_simplified)


def _has_markup(text: str) -> bool:
    return "<" in text and (_MARKUP.search(text) is not None or 0 <= text.find("<!--") < text.rfind("-->"))


def _plain(text: str, to_simplified: bool) -> str:
    """Without invisible characters, in NFKC but for Chinese punctuation, marks and spaces collapsed."""
    text = _ODD.sub(_space, text)
    if not text.isascii() and _unstable().search(text):
        text = _VERTICAL_FORM.sub(lambda form: _VERTICAL[form[0]], text)
        text = _unstable_run().sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    if to_simplified:
        text = simplified(text)
    if _MARKS_MEET.search(text):
        text = _marks_collapsed(text)
    return _EMPTY_LINES.sub("\n", _SPACES.sub(" ", text).replace(" \n", "\n"))


def _marks_collapsed(text: str) -> str:
    text = _MIXED_MARKS.sub(lambda run: "".join(dict.fromkeys(run[0])), text)
    text = _REPEATED.sub(_once, text)
    return _LONG.sub(lambda run: "..." if run[0][0] == "." else run[0][:2], text)


def _space(run: re.Match[str]) -> str:
    """What stands for a run of odd characters: a new line, a space, or nothing."""
    if any(character in _LINE_SEPARATORS for character in run[0]):
        return "\n"
    return " " if any(character.isspace() for character in run[0]) else ""


def _once(run: re.Match[str]) -> str:
    return run[0] if len(run[0]) == 2 and run[1] in _RIGHT_TWICE else run[1]


def _wider(one: str, other: str) -> str:
    """The wider of two gaps: a new line, a space, or nothing."""
    return "\n" if "\n" in one + other else (one or other)


@functools.cache
def _unstable() -> re.Pattern[str]:
    """Characters that NFKC changes, alone or after another one; most texts have none, which is quick to see."""
    return re.compile(f"[{_unstable_class()}]")


@functools.cache
def _unstable_run() -> re.Pattern[str]:
    """Them with the character before them, which they may combine with."""
    return re.compile(f"[^{_KEPT_FROM_NFKC}{_unstable_class()}]?[{_unstable_class()}]+")


@functools.cache
def _unstable_class() -> str:
    """For a regular expression. Chinese characters and Korean syllables are stable and passed over; all beyond the
    first plane counts as unstable, since a class of many ranges there is slow."""
    blocks = ((0x80, 0x3400), (0xA000, 0xAC00), (0xF900, 0x10000))
    codes = (code for start, stop in blocks for code in range(start, stop) if _is_unstable(chr(code)))
    kept = re.compile(f"[{_KEPT_FROM_NFKC}]")
    return "".join(f"\\u{code:04x}" for code in codes if not kept.match(chr(code))) + "\\U00010000-\\U0010ffff"


def _is_unstable(character: str) -> bool:
    """Whether NFKC changes it, reorders it, or joins it to the character before."""
    return (
        not unicodedata.is_normalized("NFKC", character)
        or unicodedata.category(character).startswith("M")
        or "\u1161" <= character <= "\u11ff"  # vowels and finals of Korean, which join to syllables
    )


@functools.cache
def _converter(scripts: str) -> Any:
    import opencc

    return opencc.OpenCC(scripts)
