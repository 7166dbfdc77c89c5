"""Rules for pairs: what says nothing of a picture is dropped, what looks a little like it stays."""

from __future__ import annotations

import re
import time

import pytest

from m6.config import UserError
from m6.corpus.config import PairRules
from m6.corpus.document import Document, Image, make_document
from m6.corpus.pairs import RULES, check, rules_exist
from m6.corpus.starter import emoji_rows


def pair(text: str) -> Document:
    return make_document("jsonl", text, images=[Image(bytes=b"x", width=8, height=8, offset=0)])


NAMES = """IMG_2034.jpg|DSC00123|dsc_0456.JPG|微信图片_20211003121530.jpg|微信图片_20210101|mmexport1602345678901.jpg
QQ图片20190503|Screenshot_20200101-120000|屏幕截图 2021-03-04 102233|image001.png|图片1|未命名.png|thumb_300
3f2504e04f8911d39a0c0305e82c3301|20190503_174512|风景照片.JPG|https://img.example.com/a/b.jpg|a1_b2_c3|照片(12)|P1010023"""
PRICES = """￥99包邮|¥128.00|99元|原价299元 现价99元|仅售￥39.9|9.9元包邮|RMB 1,280|券后19.9元|19.9元起|低至5折
￥99-￥199|价格：58元/斤|$25.00"""
PHRASES = """点击查看大图|图片来自网络|图片来源：网络|点击图片查看大图|图源网络，侵删|点击放大|商品详情图
长按识别二维码|配图|资料图片|示意图|（图片来源于网络）|图/张三|image|LOGO|产品图片1 产品图片2|暂无图片
图片加载中...|扫一扫关注我们|封面图|细节展示"""
KEPT = """一只橘猫趴在窗台上晒太阳|价格牌前站着两个人|红色连衣裙 99元包邮|iPhone 12 手机壳|2034年的城市想象图
北京故宫的雪景|奶茶|苹果|OK|T恤|DNA|按键5|猫的头像|穿西装的模特|扫地的老人|广告牌下的行人|一百元纸币
DSC的标志|三件白色衬衫|头像雕塑|8个小矮人|图腾柱|摄影师在山顶|大图书馆|电影《1942》海报|A-10攻击机
这张图片来自一本旧书，画的是运河上的船|2021年的第一场雪|配图中的男孩在放风筝|logo设计：一只鹰"""


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (NAMES, "text is a file name"),
        (PRICES, "text is a price"),
        (PHRASES, "text is boilerplate"),
        (KEPT, None),
    ],
)
def test_rules(texts: str, reason: str | None) -> None:
    given = re.split(r"[|\n]", texts)
    assert {text: check(pair(text), PairRules()) for text in given} == dict.fromkeys(given, reason)


def test_only_documents_with_pictures_are_asked() -> None:
    assert check(make_document("jsonl", "IMG_2034.jpg"), PairRules()) is None


def test_names_of_things_are_no_file_names() -> None:
    """Bundled pictures, whose names are as short as captions get."""
    dropped = {row["name"]: check(pair(row["name"]), PairRules()) for row in emoji_rows()}
    assert {name: reason for name, reason in dropped.items() if reason} == {}


def test_a_long_text_that_ends_in_a_price_stays() -> None:
    assert (
        check(pair("这条裙子用的是真丝面料，夏天穿着凉快，腰间有一根细带，可以系成蝴蝶结。现价299元。"), PairRules())
        is None
    )


def test_a_recipe_chooses_its_rules() -> None:
    assert check(pair("￥99包邮"), PairRules(rules=("file_name",))) is None
    assert set(RULES) == set(PairRules().rules)
    with pytest.raises(UserError, match="no rule for pairs 'prise', did you mean 'price'"):
        rules_exist(["prise"])


def test_hard_texts_take_no_longer() -> None:
    """Patterns with repetition in repetition would take years for these."""
    started = time.process_time()
    for piece in ("1", "图", "图片 ", "扫码 ", "9元", "a_", "a1-", "￥", "1,", "点击"):
        check(pair((piece * 80)[:79] + "终"), PairRules())
    assert time.process_time() - started < 1
