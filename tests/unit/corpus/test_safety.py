"""Personal data by check digits worked by hand, a plain reference on generated text; sensitive words by counting."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.text.lists import bundled
from m6.corpus.text.safety import CARD, EMAIL, IDENTITY, PHONE, is_card, is_identity, personal_data, sensitive_words
from m6.corpus.text.spans import Span, merged, replaced

quick = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def masked(text: str) -> str:
    return replaced(text, personal_data(text))[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("电话13812345678。", f"电话{PHONE}。"),
        ("电话138-1234-5678或139 1234 5678", f"电话{PHONE}或{PHONE}"),
        ("+86 13812345678，8613812345678，008613812345678", f"{PHONE}，{PHONE}，{PHONE}"),
        ("13812345678 13912345678", f"{PHONE} {PHONE}"),
        ("12812345678", "12812345678"),  # no mobile number begins with 12
        ("单号138123456789", "单号138123456789"),  # a digit more
        ("单号913812345678", "单号913812345678"),
        ("圆周率0.13812345678，比值13812345678.5", "圆周率0.13812345678，比值13812345678.5"),
        ("总机010-62345678", "总机010-62345678"),  # an office
        ("身份证11010519491231002X。", f"身份证{IDENTITY}。"),  # the example of GB 11643
        ("身份证11010519491231002x", f"身份证{IDENTITY}"),
        ("440524188001010014", "440524188001010014"),  # born in 1880
        ("110105194912310021", "110105194912310021"),  # wrong check digit
        ("110105194913310023", "110105194913310023"),  # month 13
        ("990105194912310027", "990105194912310027"),  # no such province
        ("卡号6200000000000005", f"卡号{CARD}"),  # 2 x 6 = 12: (1 + 2) + 2 + 5 = 10
        ("卡号6205500000000000004", f"卡号{CARD}"),  # 6 + 2 x 2 + 0 + (1 + 0) + 5 + 4 = 20
        ("卡号6205 5000 0000 0000 004", f"卡号{CARD}"),
        ("4111 1111 1111 1111与5500-0000-0000-0004", f"{CARD}与{CARD}"),  # numbers for tests of Visa and Mastercard
        ("卡号4111111111111112", "卡号4111111111111112"),  # Luhn fails
        ("编号1234567812345670", "编号1234567812345670"),  # Luhn holds, but no card begins with 12
        ("邮箱zhang.san+1@mail.example.com.cn，谢谢", f"邮箱{EMAIL}，谢谢"),
        ("13812345678@qq.com", EMAIL),  # one thing, not a number with an ending
        ("微博@张三 和 a@b", "微博@张三 和 a@b"),
        ("日期2020-01-01，价格13,812,345,678元", "日期2020-01-01，价格13,812,345,678元"),
        ("没有数字", "没有数字"),
    ],
)
def test_personal_data_are_masked(given: str, expected: str) -> None:
    assert masked(given) == expected


def test_check_digit_of_identity_numbers() -> None:
    """For any beginning exactly one of the eleven check digits is right."""
    for beginning in ("11010519491231002", "32058219990315123", "81000019750101003"):
        assert sum(is_identity(beginning + digit) for digit in "0123456789X") == 1


def test_luhn_finds_one_wrong_digit_and_two_turned_round() -> None:
    right = "6222020000123456783"
    right = next(right[:-1] + last for last in "0123456789" if is_card(right[:-1] + last))
    for place in range(2, len(right)):  # the first two tell the bank
        for digit in set("0123456789") - {right[place]}:
            assert not is_card(right[:place] + digit + right[place + 1 :])
    turned = right[:11] + right[12] + right[11] + right[13:]
    assert turned != right
    assert not is_card(turned)


def an_identity(rng: random.Random) -> str:
    body = (
        f"3205{rng.randrange(100):02d}{rng.randrange(1950, 2010)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
    )
    body += f"{rng.randrange(1000):03d}"
    total = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(body))  # the standard's own form
    return body + "0123456789X"[(1 - total * 1) % 11]


def a_card(rng: random.Random) -> str:
    body = "62" + "".join(rng.choices("0123456789", k=rng.randrange(13, 17)))
    doubled = "".join(str(int(digit) * 2) if place % 2 == 0 else digit for place, digit in enumerate(reversed(body)))
    return body + str(-sum(map(int, doubled)) % 10)


@quick
@given(
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from([*"号是，。 -0138Xa@.", "com", "电话", "\n"]), max_size=8),
)
def test_masking_leaves_no_valid_number(rng: random.Random, noise: list[str]) -> None:
    made = [f"1{rng.randrange(3, 10)}{rng.randrange(10**9):09d}", an_identity(rng), a_card(rng), "li@mail.cn"]
    rng.shuffle(made)
    text = "，".join(made) + "".join(noise)
    out = masked(text)
    assert sum(out.count(mark) for mark in (PHONE, IDENTITY, CARD, EMAIL)) >= 3  # noise may spoil the last one
    assert not personal_data(out)
    assert not re.search(r"(?<!\d)(?<!\d\.)1[3-9]\d{9}(?!\.?\d)", out, re.ASCII)
    assert not any(is_identity(number) for number in re.findall(r"(?<!\d)\d{17}[\dX](?![\dA-Za-z])", out, re.ASCII))
    assert not any(is_card(n) for n in re.findall(r"(?<!\d)(?<!\d\.)\d{16,19}(?!\.?\d)", out, re.ASCII))


def test_long_runs_take_no_longer() -> None:
    started = time.process_time()
    for piece in ("a", "1", "1 ", "1234-", "a@", "a.", "86"):
        personal_data(piece * 100_000)
    assert time.process_time() - started < 5


def test_spans_that_overlap_are_one() -> None:
    assert merged([Span(5, 9, "乙"), Span(0, 2, "丙"), Span(3, 6, "甲")]) == [Span(0, 2, "丙"), Span(3, 9, "甲")]


@quick
@given(
    st.text("甲乙丙丁戊己", max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4),
    st.lists(st.integers(0, 20), max_size=4),
)
def test_offsets_stay_between_the_same_neighbours(text: str, ranges: list[tuple[int, int]], offsets: list[int]) -> None:
    """Against marks put into the text itself, moved along by hand."""
    spans = merged(Span(min(pair), max(pair), "‹×›") for pair in ranges if min(pair) < max(pair) <= len(text))
    offsets = [min(offset, len(text)) for offset in offsets]
    out, moved = replaced(text, spans, offsets)
    gone = {place for span in spans for place in range(span.start, span.stop)}
    for offset, new in zip(offsets, moved, strict=True):
        before = [text[place] for place in range(offset) if place not in gone]
        assert list(out[:new].replace("‹×›", "")) == before
        assert out[:new].count("‹") == out[:new].count("›") == sum(span.stop <= offset for span in spans)


def test_sensitive_words_are_counted() -> None:
    text = "代开发票，六合彩，六合彩！买百家乐。"
    assert sorted(sensitive_words(text)) == ["代开发票", "六合彩", "六合彩", "百家乐"]
    assert sensitive_words("時時彩") == ["時時彩"]  # in either script
    assert sensitive_words("春眠不觉晓，处处闻啼鸟。") == []


def test_own_lists_come_to_the_bundled_one(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# 我的\n\nBadWord\n坏词\n很坏词语\n", encoding="utf-8")
    assert sensitive_words("一个BADWORD，一个坏词，六合彩", (str(path),)) == ["badword", "六合彩", "坏词"]
    assert sensitive_words("很坏词语", (str(path),)) == ["坏词"]  # a word within a word counts once
    with pytest.raises(UserError, match=r"none\.txt: cannot read this list of words"):
        sensitive_words("字", (str(tmp_path / "none.txt"),))
    path.write_text("坏\n", encoding="utf-8")
    with pytest.raises(UserError, match="'坏' is one character"):
        sensitive_words("字", (str(path), ""))
    path.write_bytes("坏词".encode("gbk"))
    with pytest.raises(UserError, match="must be UTF-8"):
        sensitive_words("字", (str(path), "", ""))


def test_many_words_are_found_as_by_searching_for_each(tmp_path: Path) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("天地玄黄宇宙洪荒日月盈昃", k=rng.randrange(2, 5))) for _ in range(300)]
    (tmp_path / "words.txt").write_text("\n".join(words), encoding="utf-8")
    shortest = {word for word in words if not any(other in word for other in words if other != word)}
    for _ in range(50):
        text = "".join(rng.choices("天地玄黄宇宙洪荒日月盈昃", k=40))
        expected = sorted(word for word in shortest for _ in range(text.count(word)))
        assert sorted(sensitive_words(text, (str(tmp_path / "words.txt"),))) == expected


def test_bundled_words_are_words() -> None:
    words = bundled("sensitive")
    assert len(words) == len(set(words)) > 50
    assert all(len(word) > 1 and not re.search(r"\s", word) for word in words)
