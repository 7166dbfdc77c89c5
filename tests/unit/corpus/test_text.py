"""Text: normalisation by hand-made cases, every rule by its reason."""

from __future__ import annotations

import unicodedata

import pytest

from m6.config import UserError
from m6.corpus.config import TextRules
from m6.corpus.document import make_document
from m6.corpus.starter import poem_rows
from m6.corpus.text import RULES, check, letters, normalise, rules_exist


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
        ("︽竖排︾，︵括号︶", "《竖排》，（括号）"),
        ("好！！！！！", "好！"),
        ("真的？？！！？！", "真的？！"),
        ("等等…………", "等等……"),
        ("破折————号", "破折——号"),
        ("等等......", "等等..."),
        ("等等。。。。", "等等。"),
        ("======", "="),
        ("零宽\u200b字\ufeff符\u202e和\x00控\x07制", "零宽字符和控制"),
        ("私用\ue000区", "私用区"),
        ("一行\r\n二行\r\r\n\n  三行  ", "一行\n二行\n三行"),
        ("多个   空格\t制表", "多个 空格 制表"),
        ("1 < 2 而 3 > 2", "1 < 2 而 3 > 2"),  # not markup
        ("<p>第一段</p><p>第二段&nbsp;&amp;&#20320;</p>", "第一段\n第二段 &你"),
        ("<script>alert('x')</script>正文<!-- 注 --><br/>下一行<b>粗</b>", "正文\n下一行粗"),
        ("<div class='a'>没有结束<script>var x = 1;", "没有结束"),
        ("", ""),
    ],
)
def test_normalise(given: str, expected: str) -> None:
    assert normalise(given) == expected


def test_chinese_punctuation_is_left_alone() -> None:
    """NFKC alone makes ASCII of these; that is the damage to avoid."""
    marks = "，！？；：（）［］｛｝＂＇～｜＄％＆＊＋－／＝＠＃＾｀＿＜＞、。“”‘’《》〈〉「」『』【】…·￥"
    damaged = [mark for mark in marks if unicodedata.normalize("NFKC", mark) != mark]
    assert len(damaged) > 20
    for mark in marks:
        assert normalise(f"字{mark}字") == f"字{mark}字"


def test_normalise_changes_nothing_the_second_time() -> None:
    poems = ["\n".join(row["couplets"]) for row in poem_rows()[:500]]
    assert [normalise(poem) for poem in poems] == poems
    for text in ("ＡＢ！！<b>x</b>", "……。。。?!?!", "︐︐︐", "&lt;b&gt;粗&lt;/b&gt;", "ｶﾞ\u3000\u3000x"):
        once = normalise(text)
        if "<" not in once:  # an escaped tag becomes a tag in sight, which is text from then on
            assert normalise(once) == once


def test_letters_are_what_counts_for_near_duplicates() -> None:
    assert letters("床前，明月 光！ABC-1") == "床前明月光abc1"


POEM = "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"


@pytest.mark.parametrize(
    ("title", "text", "reason"),
    [
        ("静夜思一首", POEM, None),
        ("", POEM, None),  # no title is no short title
        ("静夜思一首", "", "empty text"),
        ("静夜思", POEM, "short title"),
        ("静夜思一首", "床前明月光，疑是地上霜。", "short text"),
        ("静夜思一首", POEM + "\ufffd", "broken characters"),
        ("静夜思一首", POEM + "锟斤拷锟斤拷", "broken characters"),
        ("静夜思一首", "月" * 100_001, "long text"),
        ("静夜思一首", "The quick brown fox jumps over the lazy dog 狐狸", "not Chinese"),
        ("静夜思一首", "。，；！？。，；！？。，；！？。，；！？", "not Chinese"),
        ("静夜思一首", "点击这里下载\n点击这里下载\n首页\n点击这里下载", "repeated lines"),
        ("静夜思一首", "点击这里下载\n首页\n联系我们的客服\n第一个不同的行", None),
    ],
)
def test_rules(title: str, text: str, reason: str | None) -> None:
    assert check(make_document("jsonl", text, title=title), TextRules()) == reason


def test_every_rule_has_a_case() -> None:
    assert set(RULES) == set(TextRules().rules)


def test_a_recipe_chooses_its_rules() -> None:
    document = make_document("jsonl", "短", title="短")
    assert check(document, TextRules()) == "short title"
    assert check(document, TextRules(rules=("no_text",))) is None
    with pytest.raises(UserError, match="no text rule 'short_txt', did you mean 'short_text'"):
        rules_exist(["no_text", "short_txt"])
