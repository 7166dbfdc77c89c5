"""Safety: sensitive words, and personal data.

Sensitive words are counted: one of them may stand in any novel, several of them are spam. Personal data are found by
form and by check digit, so that an order number or a count of inhabitants is not taken for one.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections import defaultdict

from m6.config import UserError
from m6.corpus.text.beginnings import Beginnings
from m6.corpus.text.lists import bundled, read_list
from m6.corpus.text.normalise import traditional
from m6.corpus.text.spans import Span, merged

PHONE, IDENTITY, CARD, EMAIL = "‹电话›", "‹身份证›", "‹银行卡›", "‹邮箱›"

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+][A-Za-z0-9._%+-]{0,63}@"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))+"
)
_DIGITS = re.compile(r"[0-9][0-9 -]{9}")  # nothing shorter is any of the numbers below
# No digit either side, nor a decimal point with one.
_BEFORE, _AFTER = r"(?<![0-9])(?<![0-9]\.)", r"(?!\.?[0-9])"
_PHONE = re.compile(
    rf"(?:\+86[ -]?|{_BEFORE}(?:00)?86[ -]?|{_BEFORE})1[3-9][0-9](?:[0-9]{{8}}|([ -])[0-9]{{4}}\1[0-9]{{4}}){_AFTER}"
)
_IDENTITY = re.compile(r"(?<![0-9])[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx](?![0-9A-Za-z])")
_CARD = re.compile(
    rf"{_BEFORE}(?:[0-9]{{16,19}}|[0-9]{{4}}([ -])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?){_AFTER}"
)
# Mainland provinces, Taiwan, Hong Kong, Macao, and permits for foreigners.
_PROVINCES = frozenset(
    str(code)
    for codes in ((11, 16), (21, 24), (31, 38), (41, 47), (50, 55), (61, 66), (71, 72), (81, 84), (91, 92))
    for code in range(*codes)
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
# Length by how a card begins: UnionPay and older domestic ones 16 to 19, Visa, Mastercard and JCB 16.
_CARD_FORM = re.compile(r"(?:62|60|68|69|9[0-9])[0-9]{14,17}|(?:4[0-9]|5[1-5]|2[2-7]|35)[0-9]{14}")


def personal_data(text: str) -> list[Span]:
    """Where mobile and resident ID numbers, bank cards and e-mail addresses stand in a normalised text, each with the
    mark that may stand instead. No two overlap."""
    spans = []
    if "@" in text:
        spans += [Span(*hit.span(), EMAIL) for hit in _EMAIL.finditer(text)]
    if _DIGITS.search(text):
        for pattern, valid, mark in _NUMBERS:
            spans += [Span(*hit.span(), mark) for hit in pattern.finditer(text) if valid(hit[0])]
    return merged(spans)


def is_identity(number: str) -> bool:
    """Whether 18 characters are a resident ID number: province, date of birth, and the check digit of GB 11643
    (ISO 7064, MOD 11-2)."""
    try:
        datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    return number[:2] in _PROVINCES and number[17].upper() == "10X98765432"[total % 11]


def is_card(number: str) -> bool:
    """Whether 16 to 19 digits, perhaps in groups, are the number of a bank card: its beginning, and Luhn's check."""
    digits = re.sub("[ -]", "", number)
    if not _CARD_FORM.fullmatch(digits):
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(digit // 10 + digit % 10 for digit in doubled) % 10 == 0


_NUMBERS = ((_IDENTITY, is_identity, IDENTITY), (_CARD, is_card, CARD), (_PHONE, bool, PHONE))


def sensitive_words(text: str, lists: tuple[str, ...] = ()) -> list[str]:
    """The sensitive words in a text, as often as they stand there; `lists` are paths of the user's own.

    Raises UserError if a list cannot be read or has a word of one character.
    """
    text = text.lower()
    beginnings, by_beginning = _words(lists)
    found = sorted({text[place : place + 2] for place in beginnings.places(text)} & by_beginning.keys())
    return [word for beginning in found for word in by_beginning[beginning] for _ in range(text.count(word))]


@functools.cache
def _words(lists: tuple[str, ...]) -> tuple[Beginnings, dict[str, list[str]]]:
    """Sensitive words in both scripts, without those that hold another one, by their first two characters."""
    words = {word.lower() for word in bundled("sensitive")}
    for path in lists:
        own = read_list(path)
        if short := next((word for word in own if len(word) < 2), None):
            raise UserError(f"{path}: {short!r} is one character, which stands in too many texts; give longer words")
        words.update(word.lower() for word in own)
    words.update([traditional(word) for word in sorted(words)])
    table: dict[str, list[str]] = defaultdict(list)
    for word in sorted(words):
        inner = (word[i:j] for i in range(len(word)) for j in range(i + 2, len(word) + 1) if j - i < len(word))
        if words.isdisjoint(inner):
            table[word[:2]].append(word)
    return Beginnings(table), dict(table)
