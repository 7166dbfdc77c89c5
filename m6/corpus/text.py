"""Text: normalisation, and rules that keep a Document or say why not.

`normalise` comes first and changes the text; the rules then only look. A rule is a function of the Document and the
thresholds that returns None to keep it, or the reason to drop it; a recipe names the rules it wants
(`TextRules.rules`). Rules and defaults follow the paper, section 2.5 (recalled), where it is known.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

from m6.config import UserError, nearest
from m6.corpus.config import TextRules
from m6.corpus.document import Document

HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003fffd〇"
_HAN = re.compile(f"[{HAN}]")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_INVISIBLE_ELEMENTS = re.compile(r"<(script|style|head|noscript)\b.*?(</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_LINE_ENDS = re.compile(r"<(br|/p|/div|/li|/tr|/h[1-6])\b[^<>]*>", re.IGNORECASE)

# NFKC turns ，：？！（） and the like into ASCII, which damages Chinese. Full-width punctuation is therefore kept from
# it (letters and digits of full width are not), and so is the Chinese ellipsis.
_KEPT_FROM_NFKC = "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe5…‥"
_OTHERS = re.compile(f"[^{_KEPT_FROM_NFKC}]+")
# Forms for vertical print, to the horizontal ones: ︐ is ，
_VERTICAL = {
    code: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in unicodedata.normalize("NFKC", chr(code)))
    for code in (*range(0xFE10, 0xFE1A), *range(0xFE33, 0xFE45), *range(0xFE47, 0xFE49))
}
# Control characters (but newline), zero-width and direction marks, private use, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ue000-\uf8ff"
    "\U000f0000-\U0010fffd]"
)
_REPEATED = re.compile(r"([，。、；：？！,;:?!~～\-_=*#·|/\\+^])\1+")
_MIXED_MARKS = re.compile(r"[？！?!]{3,}")
_LONG = re.compile(r"…{3,}|—{3,}|\.{4,}")  # …… and —— are the right forms


def normalise(text: str) -> str:
    """Text without markup and invisible characters, in Unicode form NFKC but with its Chinese punctuation as it was,
    runs of punctuation and of spaces collapsed, lines trimmed and empty lines removed."""
    if "<" in text and _MARKUP.search(text):
        text = strip_markup(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ").translate(_VERTICAL)
    text = _UNPRINTABLE.sub("", text)
    if not unicodedata.is_normalized("NFKC", text):
        text = _OTHERS.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    text = _MIXED_MARKS.sub(lambda run: "".join(dict.fromkeys(run[0])), text)
    text = _REPEATED.sub(r"\1", text)
    text = _LONG.sub(lambda run: "..." if run[0][0] == "." else run[0][:2], text)
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def strip_markup(text: str) -> str:
    """The text of an HTML page or fragment: elements that show nothing are removed with their content, other tags
    alone; character references become characters."""
    text = _INVISIBLE_ELEMENTS.sub("", text)
    text = _MARKUP.sub("", _LINE_ENDS.sub("\n", text))
    return html.unescape(text)


def letters(text: str) -> str:
    """Letters and digits only, lower case: what near duplicates are compared by."""
    return "".join(character for character in text.lower() if character.isalnum())


def no_text(document: Document, rules: TextRules) -> str | None:
    """A Document says something."""
    return None if document["text"] else "empty text"


def broken_characters(document: Document, rules: TextRules) -> str | None:
    """No characters that stand for lost ones, and no remains of a wrong decoding."""
    text = document["title"] + document["text"]
    return "broken characters" if "\ufffd" in text or "锟斤拷" in text or "烫烫烫" in text else None


def short_title(document: Document, rules: TextRules) -> str | None:
    """Topics under 5 characters say little (paper, section 2.5)."""
    return "short title" if 0 < len(document["title"]) < rules.shortest_title else None


def short_text(document: Document, rules: TextRules) -> str | None:
    """Contents under 15 characters say little (paper, section 2.5)."""
    return "short text" if len(document["text"]) < rules.shortest_text else None


def long_text(document: Document, rules: TextRules) -> str | None:
    """Beyond any passage stand dumps and lists."""
    return "long text" if len(document["text"]) > rules.longest_text else None


def not_chinese(document: Document, rules: TextRules) -> str | None:
    """Chinese characters make up a share of all letters and digits."""
    kept = letters(document["text"])
    share = len(_HAN.findall(kept)) / len(kept) if kept else 0.0
    return "not Chinese" if share < rules.smallest_chinese_share else None


def repetition(document: Document, rules: TextRules) -> str | None:
    """One line again and again is a menu or spam, not a passage."""
    lines = document["text"].split("\n")
    if len(lines) < 4:
        return None
    line, count = Counter(lines).most_common(1)[0]
    repeated = count > 1 and len(line) * count > rules.largest_repeated_share * sum(map(len, lines))
    return "repeated lines" if repeated else None


Rule = Callable[[Document, TextRules], str | None]
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (no_text, broken_characters, short_title, short_text, long_text, not_chinese, repetition)
}


def rules_exist(names: Iterable[str]) -> None:
    """UserError for the first name that is no rule."""
    for name in names:
        if name not in RULES:
            raise UserError(f"corpus: no text rule {name!r}{nearest(name, RULES)}")


def check(document: Document, rules: TextRules) -> str | None:
    """The reason of the first rule that drops the Document, or None."""
    return next(filter(None, (RULES[name](document, rules) for name in rules.rules)), None)
