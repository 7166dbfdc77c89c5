"""Normalisation: hand-made cases, Python's own NFKC as a reference, and properties on generated text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.corpus.starter import poem_rows
from m6.corpus.text.normalise import letters, normalise, normalise_parts, strip_markup

POEMS = ["\n".join(row["couplets"]) for row in poem_rows()[:500]]
MARKS = "，！？；：（）［］｛｝＂＇～｜＄％＆＊＋－／＝＠＃＾｀＿＜＞、。“”‘’《》〈〉「」『』【】…·￥"

# Pieces that normalisation does something to, and plain ones between them.
pieces = st.sampled_from(
    [
        *"中文字漢語，。！？!?…—.·=-~/ \n\t\r\u3000\u200b\ue000\x00\ufeff\u0301ＡＢ１２①㈠ﾊﾟ豈︐︙<>&;ab1",
        "<b>",
        "</p>",
        "<br/>",
        "<a href=x>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "&lt;",
        "&gt;",
        "&amp;",
        "&#60;",
        "&nbsp;",
        "\u1100\u1161",
    ]
)
texts = st.lists(pieces, max_size=30).map("".join) | st.text(max_size=40)
quick = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("床前明月光，疑是地上霜。", "床前明月光，疑是地上霜。"),
        ("“你好！”（他说）：真的？《诗》、〈词〉；……——～", "“你好！”（他说）：真的？《诗》、〈词〉；……——～"),
        ("ＡＢＣ１２３", "ABC123"),  # full-width letters and digits
        ("①②㈠㎡", "12(一)m2"),
        ("\u3000\u3000全角空格\u3000开头", "全角空格 开头"),
        ("ﾊﾟ", "パ"),  # half-width kana
        ("豈更車", "豈更車"),  # compatibility ideographs to the unified ones
        ("︽竖排︾，︵括号︶︙", "《竖排》，（括号）…"),
        ("好！！！！！", "好！"),
        ("真的？？！！？！", "真的？！"),
        ("等等…………", "等等……"),
        ("破折————号", "破折——号"),
        ("等等......", "等等..."),
        ("等等。。。。", "等等。"),
        ("======", "="),
        ("C++ 和 a == b，见 https://x.cn", "C++ 和 a == b，见 https://x.cn"),  # right as they are
        ("零宽\u200b字\ufeff符\u202e和\x00控\x07制", "零宽字符和控制"),
        ("私用\ue000区", "私用区"),
        ("一行\r\n二行\r\r\n\n  三行  ", "一行\n二行\n三行"),
        ("换页\x0c分行\u2028分段\u2029完", "换页\n分行\n分段\n完"),
        ("多个   空格\t制表", "多个 空格 制表"),
        ("1 < 2 而 3 > 2，若a<b且c>d", "1 < 2 而 3 > 2，若a<b且c>d"),  # not markup
        ("类型 List<String> 与 vector<int>", "类型 List<String> 与 vector<int>"),
        ("<p>第一段</p><p>第二段&nbsp;&amp;&#20320;</p>", "第一段\n第二段 &你"),
        ("<script>alert('x')</script>正文<!-- 注 --><br/>下一行<b>粗</b>", "正文\n下一行粗"),
        ("<head><title>题</title></head>正文<style>p{}</style>", "正文"),
        ("<div class='a'>没有结束<script>var x = 1;", "没有结束"),
        ("<p>&lt;b&gt;逃逸&lt;/b&gt;</p>", "逃逸"),
        ("", ""),
    ],
)
def test_normalise(given: str, expected: str) -> None:
    assert normalise(given) == expected


def test_chinese_punctuation_is_left_alone() -> None:
    """NFKC alone makes ASCII of these; that is the damage to avoid."""
    damaged = [mark for mark in MARKS if unicodedata.normalize("NFKC", mark) != mark]
    assert len(damaged) > 20
    for mark in MARKS:
        assert normalise(f"字{mark}字") == f"字{mark}字"


def test_all_else_is_nfkc() -> None:
    """Every character of the first two planes and every canonical composition, against Python run by run."""
    kept = re.compile(
        "[\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe5…‥\ufe10-\ufe19\ufe30-\ufe44\ufe47\ufe48]"
    )
    seen = [chr(code) for code in range(0x21, 0x20000) if unicodedata.category(chr(code))[0] in "LMNPS"]
    pairs = [
        "".join(chr(int(code, 16)) for code in unicodedata.decomposition(c).split()) for c in seen if _canonical(c)
    ]
    hidden = set("\u034f\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0\ufffc")
    given = [
        f"甲{text}乙"
        for text in [*seen, *pairs]
        if not kept.search(text) and hidden.isdisjoint(text) and not _beyond(text)
    ]
    assert len(given) > 60_000
    expected = [unicodedata.normalize("NFKC", text) for text in given]
    assert normalise("\n".join(given)).split("\n") == expected


def _canonical(character: str) -> bool:
    decomposition = unicodedata.decomposition(character)
    return bool(decomposition) and not decomposition.startswith("<")


def _beyond(text: str) -> bool:
    """Runs of marks that come of a single character, such as ⁇, are collapsed after NFKC."""
    return len(set(unicodedata.normalize("NFKC", text))) < len(unicodedata.normalize("NFKC", text))


def test_clean_poems_stay_as_they_are() -> None:
    assert [normalise(poem) for poem in POEMS] == POEMS


@quick
@given(texts)
def test_normalise_changes_nothing_the_second_time(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@quick
@given(texts)
def test_what_comes_out_is_clean_and_not_much_longer(text: str) -> None:
    """One character becomes at most 18 under NFKC (ﷺ)."""
    out = normalise(text)
    assert len(out) <= 18 * len(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\ufeff\ue000-\uf8ff\ud800-\udfff]|\n\n|  | \n|\n ", out)
    assert out == out.strip()


@quick
@given(st.lists(st.sampled_from([*"甲乙丙丁", *MARKS.replace("…", "")]), max_size=30))
def test_no_chinese_punctuation_is_lost(characters: list[str]) -> None:
    """Apart from repetition: what of each mark is in the text is still there."""
    text = "甲".join(characters)
    assert set(normalise(text)) == set(text)


def test_markup_that_never_ends_takes_no_longer() -> None:
    """Each of these is quadratic for a careless pattern: 0.1 MB would take minutes."""
    for piece in ("<!--", "<head>", "<script>", "<a ", "</", "&lt;", "<p x=", "-->"):
        assert len(normalise(piece * 30_000)) <= 30_000 * len(piece)


def test_strip_markup_keeps_what_is_shown() -> None:
    page = "<html><head><title>题</title></head><body><h1>标题</h1><ul><li>一</li><li>二</ul><noscript>无</noscript>完"
    assert strip_markup(page).split() == ["标题", "一", "二", "完"]


def test_traditional_becomes_simplified_if_asked() -> None:
    assert normalise("漢字與書法，乾隆年間", to_simplified=True) == "汉字与书法，乾隆年间"  # 乾隆, but not 干隆
    assert normalise("漢字與書法") == "漢字與書法"
    assert normalise("简体不变", to_simplified=True) == "简体不变"


def test_letters_are_what_counts_for_near_duplicates() -> None:
    assert letters("床前，明月 光！ABC-1_") == "床前明月光abc1"
    assert letters("臺灣的「漢字」。") == letters("台湾的汉字")
    assert letters("\ud800 。") == ""


def laid_out(parts: list[str]) -> str:
    """The normalised parts with a ▣ for every picture."""
    text, places = normalise_parts(parts)
    for place in reversed(places):
        text = text[:place] + "▣" + text[place:]
    return text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["一只猫", "很可爱。"], "一只猫▣很可爱。"),
        (["甲\n", "乙"], "甲\n▣乙"),
        (["甲", "\n乙"], "甲▣\n乙"),
        (["甲\r\n", "\n\n乙"], "甲\n▣乙"),
        (["甲 ", " 乙"], "甲 ▣乙"),
        (["", "甲"], "▣甲"),
        (["甲", ""], "甲▣"),
        (["甲", "", "\n", "乙"], "甲▣▣\n▣乙"),
        (["  ", "\n", " "], "▣▣"),
        (["好！", "！真好"], "好！▣！真好"),  # nothing collapses over a picture
        (["<p>甲</p>", "<p>乙</p>"], "甲\n▣乙"),
        (["ＡＢ①", "Ｃ"], "AB1▣C"),
    ],
)
def test_pictures_keep_their_places(parts: list[str], expected: str) -> None:
    assert laid_out(parts) == expected


@quick
@given(st.lists(texts, min_size=1, max_size=5))
def test_places_part_the_text_where_the_pictures_stood(parts: list[str]) -> None:
    """Between two places stands the normal form of the part that stood there before."""
    text, places = normalise_parts(parts)
    assert places == sorted(places)
    assert all(0 <= place <= len(text) for place in places)
    between = [text[start:stop].strip() for start, stop in zip([0, *places], [*places, len(text)], strict=True)]
    assert between == [normalise(part) for part in parts]
