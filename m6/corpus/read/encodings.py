"""Encodings: which one a text is in, when nobody says so.

In: bytes, of a whole text or of the beginning of a file. Out: the text, or the name of the encoding. Chinese text is
found as UTF-8, UTF-16 and UTF-32 with a byte order mark, GB18030 (and so GBK and GB2312) and Big5. Almost all bytes in
Big5 are also something in GB18030 and the other way round; only one of the two readings has common characters in it.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import functools
import itertools
import re

from m6.config import UserError

SAMPLE_SIZE = 64 * 2**10  # bytes at the beginning of a file that tell its encoding

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEGACY = ("gb18030", "big5hkscs")
# What pages and recipes call an encoding, and the larger one of which it is a part
_WIDER = {
    "ascii": "utf-8",
    "utf-8": "utf-8-sig",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "hz",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
}
_COMMONEST = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然"
    "家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把"
    "机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果"
    "加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔"
    "更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展"
    "這個們來為國說時會對於發後裡過種經麼學現當沒動還進樣開從實軍無長機將兩間問並應戰頭體見產給話門東聲員論處義幾條"
    "係氣題爾別變總電數報結務場計資許統區隊決書寫與據愛樂買賣車馬鳥魚風雲龍萬億歲歷語詩詞讀請謝讓誰點業關網頁圖"
    "书写据爱乐买卖车马鸟鱼风云龙万亿岁历语诗词读请谢让谁网页图，。、；：？！「」『』（）《》“”　"
)
_SHORT = 16  # characters beyond ASCII; so few may all be rare
_WEIGHED = 4_096  # characters beyond ASCII that decide for a text
_SMALLEST_WEIGHT = 0.5  # mean over the characters beyond ASCII; Chinese text has 2 and more
_CHINESE = re.compile("[\u2014-\u2026\u3000-\u3017\u3400-\u4dbf\u4e00-\u9fff\uff01-\uff5e\U00020000-\U0003fffd]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def decode(data: bytes, encoding: str = "auto", declared: str | None = None) -> str | None:
    """The text, without a byte order mark; None if the bytes are no text in that encoding, or for "auto" in none.

    `encoding` is the user's word and nothing else is tried. `declared` is what the data says of itself (an HTTP header,
    a meta tag), which is often wrong: it comes after UTF-8 and before guessing, and an unknown name is passed over.
    """
    if encoding != "auto":
        return _strict(data, encoding)
    mark = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if mark:
        return _strict(data, mark)
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    if declared and is_known(declared) and (text := _strict(data, declared)) is not None:
        return text
    readings = [_strict(data, name) for name in _LEGACY]
    best = _likeliest(readings)
    return None if best is None else readings[best]


def detect(sample: bytes) -> str | None:
    """The encoding of a file by its first `SAMPLE_SIZE` bytes, as a name that `bytes.decode` takes; None if none fits.

    The sample may end within a character. A broken line does not change what a UTF-8 file is, and neither does a
    sample that is all ASCII.
    """
    mark = next((name for mark, name in _MARKS if sample.startswith(mark)), None)
    if mark:
        return mark
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    broken = text.count("\ufffd")
    if not broken or broken < len(_CHINESE.findall(text)):
        return "utf-8"
    readings = [_beginning(sample, name) for name in _LEGACY]
    best = _likeliest(readings)
    return None if best is None else _LEGACY[best]


def is_known(encoding: str) -> bool:
    """Whether an encoding of text has this name."""
    try:
        return codecs.lookup(encoding)._is_text_encoding  # rot13, base64 and the like are codecs as well
    except (LookupError, ValueError):
        return False


def require_known(encoding: str, field: str) -> None:
    """UserError naming the field of the recipe, unless it is "auto" or the name of an encoding."""
    if encoding != "auto" and not is_known(encoding):
        raise UserError(
            f"{field}: no encoding {encoding!r}; give auto, utf-8, gb18030, big5 or another one of Python's"
        )


def canonical(encoding: str) -> str:
    """The name of the encoding that reads all that the named one can say: "GB2312" -> "gb18030"."""
    name = codecs.lookup(encoding).name
    return _WIDER.get(name, name)


def decode_base64(text: str | bytes) -> bytes | None:
    """The bytes that base64 stands for, in its usual or its URL alphabet, with or without padding, on one line or on
    several; None if it is no base64."""
    raw = b"".join((text.encode(errors="replace") if isinstance(text, str) else text).split())
    raw = raw.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except binascii.Error:
        return None


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(canonical(encoding))
    except (UnicodeError, LookupError):
        return None


def _beginning(sample: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeError:
        return None


def _likeliest(readings: list[str | None]) -> int | None:
    """Which reading has the most common characters; the first of equals. None if none looks like text."""
    best, best_weight = None, -1.0
    for index, text in enumerate(readings):
        if text is None:
            continue
        beyond = [found[0] for found in itertools.islice(_BEYOND_ASCII.finditer(text), _WEIGHED)]
        weight = sum(map(_weight, beyond)) / max(1, len(beyond))
        if weight > best_weight and (len(beyond) < _SHORT or weight >= _SMALLEST_WEIGHT):
            best, best_weight = index, weight
    return best


@functools.cache
def _weight(character: str) -> int:
    """3 for the commonest characters, 2 for common ones, 0 for others that are Chinese, -2 for those that are not."""
    if character in _COMMONEST:
        return 3
    if character in _common():
        return 2
    return 0 if _CHINESE.match(character) else -2


@functools.cache
def _common() -> frozenset[str]:
    """The characters that GB2312 and Big5 set apart as common: 3,755 and 5,401 of them."""
    simplified = (bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    traditional = (bytes((row, cell)) for row in range(0xA4, 0xC7) for cell in (*range(0x40, 0x7F), *range(0xA1, 0xFF)))
    return frozenset(b"".join(simplified).decode("gb2312", "ignore") + b"".join(traditional).decode("big5", "ignore"))
