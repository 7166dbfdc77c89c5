"""Rules for texts that stand beside pictures: what names the file, the price or the page says nothing of a picture.

A rule is a function of the text that returns None to keep the pair, or the reason to drop it; a recipe names the rules
it wants (`PairRules.rules`). They hold for a text that is nothing else: a passage in which a price occurs stays.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

from m6.config import UserError, nearest
from m6.corpus.config import PairRules
from m6.corpus.document import Document
from m6.corpus.text.lists import bundled

LONGEST = 80  # characters; what is longer says more than a name or a price

_ENDINGS = "jpe?g|png|gif|webp|bmp|tiff?|heic|svg|psd|raw|avif|mp4|mov"
# Names that cameras, telephones and programs give.
_GIVEN = (
    r"(?:img|dsc[nf]?|pict?|image|photo|p|pxl|mvimg|vid|wx|wechat ?img|wechatimg|mmexport|screenshot|screen shot|scan|"
    r"snipaste|download|untitled|unnamed|thumb(?:nail)?|微信图片|微信截图|qq图片|qq截图|图片|照片|截图|屏幕截图|屏幕快照|"
    r"扫描件?|未命名|无标题|新建)"
)
_FILE_NAME = re.compile(
    rf"[^\n]{{1,70}}\.(?:{_ENDINGS})"  # anything with the ending of a picture
    rf"|{_GIVEN}[ _\-]*\(?[0-9][0-9a-f _\-.:~()]*"  # a given name and a number
    r"|[0-9a-f]{16,64}"  # a hash
    r"|(?=[^\n]*[0-9])[0-9a-z]+(?:[_\-][0-9a-z]+){2,}"  # parts_joined_2034
    r"|[0-9]{8}[ _\-][0-9]{6}[0-9]*"  # date and time
    r"|https?:/{1,2}[^\s]+"  # where a picture lies
)
_UNIT = r"(?:块钱?|[元万折件个斤箱套只双盒克]|包(?!邮)|kg|g)"
_PRICE = re.compile(
    rf"[¥￥$€]? ?[0-9][0-9,]*(?:\.[0-9]+)? ?{_UNIT}?(?:/{_UNIT})?(?![a-z])|"
    r"(?:原|现|特|售|单|活动|券后|到手|会员|秒杀|促销|批发|市场|零售|优惠|抢购|拼团)?价格?|仅售|仅需|只要|仅|约|低至|券后|到手|"
    r"全国包邮|包邮|免邮|元起|起|折扣|月销|已售|销量|库存|rmb|cny|人民币|[¥￥$€/:：,，~～!！+ -]"
)
_MONEY = re.compile(r"[¥￥$€]|元|块|价|rmb|包邮|折")
_EDGES = " \n。.!！,，、:：;；…-—_()（）[]【】《》<>＞>»|｜*#\"'“”‘’"


def file_name(text: str) -> str | None:
    """What a camera or a program calls a file: IMG_2034.jpg."""
    return "text is a file name" if _FILE_NAME.fullmatch(text) else None


def price(text: str) -> str | None:
    """What a thing costs, not what it is: ￥99包邮."""
    return "text is a price" if _MONEY.search(text) and not _PRICE.sub("", text) else None


def boilerplate(text: str) -> str | None:
    """What stands under any picture: 点击查看大图, 图片来自网络."""
    return "text is boilerplate" if text and not _boilerplate().sub("", text).strip(_EDGES) else None


Rule = Callable[[str], str | None]
RULES: dict[str, Rule] = {rule.__name__: rule for rule in (file_name, price, boilerplate)}


def rules_exist(names: Iterable[str]) -> None:
    """UserError for the first name that is no rule."""
    for name in names:
        if name not in RULES:
            raise UserError(f"corpus: no rule for pairs {name!r}{nearest(name, RULES)}")


def check(document: Document, rules: PairRules) -> str | None:
    """The reason of the first rule that drops a Document with pictures, or None. The text must be normalised."""
    if not document["images"] or len(document["text"]) > LONGEST:
        return None
    text = document["text"].lower().strip(_EDGES)
    return next(filter(None, (RULES[name](text) for name in rules.rules)), None)


@functools.cache
def _boilerplate() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{phrase})[0-9]{{0,3}}" for phrase in bundled("captions")))
