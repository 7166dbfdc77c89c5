"""Boilerplate: what is cut off, what stays, and lists that the fast scan can use."""

from __future__ import annotations

import random
import re
import time

import pytest

from m6.corpus.starter import poem_rows
from m6.corpus.text.beginnings import Beginnings
from m6.corpus.text.boilerplate import find
from m6.corpus.text.lists import bundled
from m6.corpus.text.spans import replaced

ARTICLE = "跨江大桥昨天正式通车，市民自发来到桥上庆祝。大桥全长三千二百米，双向六车道，设计时速八十公里。"
ARTICLE += "工程自去年开工，建设者克服了水深流急等困难，提前三个月完工。"  # longer than a line that is cut as a whole


def cut(text: str) -> str:
    return replaced(text, find(text).spans)[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ARTICLE, ARTICLE),
        (f"{ARTICLE}\n版权所有 © 2020 某某报社", ARTICLE),
        (f"您的位置：首页 > 新闻\n{ARTICLE}\n责任编辑：李四", ARTICLE),
        (f"首页 | 新闻中心 | 联系我们\n{ARTICLE}", ARTICLE),
        (f"首页\n新闻中心\n联系我们\n{ARTICLE}\n登录\n注册", ARTICLE),
        (f"历史\n{ARTICLE}", f"历史\n{ARTICLE}"),  # one item alone may be a heading
        (f"{ARTICLE}更多内容请关注公众号，点击上方蓝字关注。", ARTICLE),  # a sentence of a long line
        (f"欢迎关注我们！ {ARTICLE}", ARTICLE),
        (f"加微信abc12345领取资料。{ARTICLE}", ARTICLE),
        (f"全国包邮，喜欢的赶紧下单。{ARTICLE}", ARTICLE),  # two hints in a sentence
        (f"这家店包邮。{ARTICLE}", f"这家店包邮。{ARTICLE}"),  # one alone
        ("版权所有", ""),
    ],
)
def test_what_is_cut(given: str, expected: str) -> None:
    assert cut(given) == expected


def test_characters_are_counted_by_kind() -> None:
    found = find(f"版权所有 某某报社\n{ARTICLE}\n诚招代理，加微信abc12345")
    assert (found.boilerplate, found.advertising) == (len("版权所有 某某报社\n"), len("诚招代理，加微信abc12345"))


def test_poems_are_left_alone() -> None:
    for row in poem_rows()[:3_000]:
        assert not find("\n".join(row["couplets"])).spans


@pytest.mark.parametrize("name", ["boilerplate", "advertising", "hints"])
def test_patterns_begin_with_a_letter_and_have_no_groups(name: str) -> None:
    for entry in bundled(name):
        assert entry == entry.lower()
        assert re.compile(entry).groups == 0, entry
        assert entry[0] not in r".^$*+?{}[]\|()", entry
        assert "|" not in re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", entry)), entry  # no top-level choice


def test_every_pattern_is_found_where_a_plain_search_finds_it() -> None:
    entries = [entry for name in ("boilerplate", "advertising", "hints") for entry in bundled(name)]
    text = (
        "\n".join(entries) + ARTICLE + "加老师微信abcde1 满3减1 扫一扫下方二维码 qq群：123456 买3送1 存10送10 日入过百"
    )
    expected = {place for entry in entries for place in (hit.start() for hit in re.finditer(entry, text))}
    assert expected <= set(Beginnings(entries).places(text))
    rng = random.Random(0)
    words = ["天地", "玄[黄]", "宇宙?", "洪", "荒{1}", "日月盈", "辰(?:宿)?", "昃+"]
    for _ in range(100):
        text = "".join(rng.choices("天地玄黄宇宙洪荒日月盈昃辰宿", k=30))
        found = set(Beginnings(words).places(text))
        assert {hit.start() for word in words for hit in re.finditer(word, text)} <= found
        assert len(found) < 30


def test_hard_texts_take_no_longer() -> None:
    started = time.process_time()
    for piece in ("首页 ", "未经", "版权归", "贷款", "加我的", "我们和", "。", "首页", "\n", "版权所有"):
        find(piece * 20_000)
    assert time.process_time() - started < 10
