"""Encodings: real sentences come back out of every encoding that Chinese text is found in."""

from __future__ import annotations

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.read.encodings import decode, decode_base64, detect, require_known
from m6.corpus.starter import poem_rows

SIMPLIFIED = [
    "北京时间今天上午十点，国务院新闻办公室举行发布会。",
    "这款连衣裙采用雪纺面料，轻盈透气，适合夏季穿着。",
    "小明每天早上六点起床，先跑步，然后去学校上课。",
    "据介绍，该公司去年的营业收入比上一年增长了百分之十二。",
    "把土豆切成丝，用清水泡一会儿，再放进锅里炒三分钟。",
    "长城是中国古代的军事防御工程，全长两万多公里。",
]
TRADITIONAL = [
    "這個國家的經濟發展，讓人們過得比以前更好。",
    "臺北捷運今天早上因為號誌故障，列車延誤了二十分鐘。",
    "請將馬鈴薯切成絲，放進鍋裡炒三分鐘，再加一點鹽。",
    "這本書介紹了歷史上許多有趣的故事，適合學生閱讀。",
    "香港的天氣潮濕，夏天經常有颱風和暴雨警告。",
]
MARKED = ("utf-8-sig", "utf-16", "utf-32")


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED, "gb18030", "gbk", "gb2312"])
def test_simplified_text_is_found_in_every_encoding(encoding: str) -> None:
    for text in SIMPLIFIED:
        assert decode(text.encode(encoding)) == text
        assert text.encode(encoding).decode(detect(text.encode(encoding)) or "") == text


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED, "big5", "gb18030"])
def test_traditional_text_is_found_in_every_encoding(encoding: str) -> None:
    for text in TRADITIONAL:
        assert decode(text.encode(encoding)) == text
        assert text.encode(encoding).decode(detect(text.encode(encoding)) or "") == text


def test_gbk_and_big5_are_told_apart_on_many_short_texts() -> None:
    """Couplets of some ten characters, far from the news and shops that the list of characters is made for."""
    to_traditional = opencc.OpenCC("s2t")
    right = {"gb18030": 0, "big5": 0}
    asked = {"gb18030": 0, "big5": 0}
    for row in poem_rows()[:2_000]:
        text = row["couplets"][0]
        for encoding, said in (("gb18030", text), ("big5", to_traditional.convert(text))):
            data = said.encode(encoding, "ignore")
            asked[encoding] += 1
            right[encoding] += decode(data) == data.decode(encoding)
    assert asked == {"gb18030": 2_000, "big5": 2_000}
    assert min(right.values()) >= 1_999


def test_the_users_word_counts_and_nothing_else_is_tried() -> None:
    data = SIMPLIFIED[0].encode("gbk")
    assert decode(data, "gbk") == SIMPLIFIED[0]
    assert decode(data, "utf-8") is None
    assert decode("\ufeff春".encode(), "utf-8") == "春"
    assert decode("€ 裏 龘".encode("gb18030"), "gb2312") == "€ 裏 龘", "a part of GB18030 is read as the whole"


def test_what_data_says_of_itself_comes_after_utf8() -> None:
    assert decode("春眠".encode(), declared="gbk") == "春眠"
    assert decode("狗".encode("gbk"), declared="no-such-thing") == "狗"
    assert decode("貓".encode("big5"), declared="big5") == "貓"


def test_what_is_no_text_is_none() -> None:
    assert decode(bytes(range(128, 256)) * 4) is None
    assert detect(bytes(range(128, 256)) * 4) is None
    assert decode(b"\xff\xfea") is None, "UTF-16 with half a character"


def test_a_sample_may_end_within_a_character_and_hold_a_broken_line() -> None:
    data = "\n".join(SIMPLIFIED).encode()
    assert {detect(data[:length]) for length in range(100, 110)} == {"utf-8"}
    legacy = "\n".join(SIMPLIFIED).encode("gbk")
    assert {detect(legacy[:length]) for length in range(100, 110)} == {"gb18030"}
    assert detect(data + b"\n\xb0\xa1\xb0\xa1\n" + data) == "utf-8"
    assert detect(b"") == detect(b'{"text": "plain"}') == "utf-8"


def test_unknown_names_are_refused() -> None:
    require_known("auto", "f")
    require_known("GB2312", "f")
    for name in ("utf-9", "rot13", "base64", "a\0b"):
        with pytest.raises(UserError, match=r"^corpus\.sources\.shop\.encoding: no encoding"):
            require_known(name, "corpus.sources.shop.encoding")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_none(data: bytes) -> None:
    for text in (decode(data), decode(data, "big5"), decode(data, declared="gbk")):
        assert text is None or text.encode("utf-8", "surrogatepass") is not None
    detect(data)


def test_base64_in_its_forms() -> None:
    assert decode_base64("aGk_aGk-") == decode_base64("aGk/\naGk+") == b"hi?hi>"
    assert decode_base64("aGk") == decode_base64(b"aGk=") == b"hi"
    assert decode_base64("图") is decode_base64("a") is decode_base64("aG k!") is None
