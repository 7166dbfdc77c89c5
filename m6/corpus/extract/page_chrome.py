"""Chrome: what of a web page is not its content: navigation, advertising, panels of users, footers.

In: the attributes of an element, a line of a page, the address of a picture. Out: yes or no. The words are those that
page templates of Chinese sites use; nothing here looks at a page as a whole, `webpage.py` does.
"""

from __future__ import annotations

import functools
import re

SMALLEST_SIDE = 50  # pixels, as declared
_LONGEST = 80  # characters; a longer line with these words speaks of them

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NAMES = re.compile(r"""(?:^|\s)(?:class|id)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""", re.IGNORECASE)
_HIDDEN = re.compile(
    r"""display\s*:\s*none|(?:^|\s)hidden(?=[\s=/]|$)|role\s*=\s*["']?(?:navigation|banner|contentinfo|complementary"""
    r"|search|dialog|menu|menubar|tablist|toolbar)\b",
    re.IGNORECASE,
)
# First or last word of a class or id: "share-bar", "postShare", "sidebar"
_CHROME_WORDS = (
    "ad adbox ads adv advert advertisement advertise aside authi author avatar banner bottombar breadcrumb breadcrumbs"
    " catalog catalogue comment comments commentlist cookie copyright crumb crumbs dialog disclaimer download editor"
    " favatar foot footer footnav gg hot hotlist leftbar login loginbar logo menu modal nav navbar navbox navfooter"
    " navheader navi navigation newslist pager pages pagination paging pils pls popup popular position prevnext print"
    " promo promotion qrcode rank ranking recommend recommendation reference references rel relate related relates"
    " reprint rightbar search searchbox share sharebar side sidebar sidebox siderbar sitemap sitenav sns sponsor"
    " statement subnav subscribe tag taglist tags thumbs tips toc toolbar tools topbar topnav tuijian userbar usercard"
    " userinfo vote widget xiangguan"
)
_CHROME = frozenset(_CHROME_WORDS.split())
# As the last word alone: "post-meta"
_CHROME_BEHIND = frozenset(("actions", "btns", "catalog", "edit", "meta", "operate", "operation", "service", "time"))
# Beside these a word says something of the content: "comment-article"; or that something is missing: "no-sidebar"
_CONTENT_WORDS = "article articles body content entry layout main page post text thread"
_CONTENT = frozenset(_CONTENT_WORDS.split())
_WITH = frozenset(("has", "no", "with", "without"))

_SENTENCE = re.compile("[。！？；，…」”]")
_LINKS = (
    "首页|登录|登陆|注册|设为首页|收藏本站|加入收藏|联系我们|关于我们|网站地图|返回(?:顶部|列表|首页)|发新帖|手机版"
)
_ACTIONS = (
    "回复|举报|使用道具|只看该作者|顶|踩|分享|收藏|点赞|赞同|关注|编辑|锁定|打印|打印本页|关闭窗口|关闭|查看更多|更多|展开全文|全文"
    "|阅读全文|点击查看|写回答|提问|立即购买|加入购物车|发表评论|我来说两句|上一篇|下一篇|上一页|下一页|上一章|下一章|返回目录|目录"
)
_FLOORS = r"楼主|沙发|板凳|地板|第?\s*\d+\s*[楼#]"
_ONLY_CHROME = re.compile(rf"(?:{_LINKS}|{_ACTIONS}|{_FLOORS}|[\s\d|｜/·•:：>›»«<#,()（）\[\]【】-])+")
_DATE = re.compile(r"(?:(?:19|20)\d\d[-/.年]\s?\d{1,2}[-/.月]\s?\d{1,2}日?|\d{1,2}\s?(?:小时|分钟|天)前)")
_BEGINNING = re.compile(
    r"[（(【\[]?\s*(?:责任编辑|责编|编辑[:：]|本文编辑|审核[:：]|校对[:：]|文章来源|稿源|来源[:：]|作者[:：]|发布时间|发布日期|发表于"
    r"|发布于|编辑于|更新时间|时间[:：]|日期[:：]|浏览次数|浏览量|浏览[:：]|阅读次数|阅读[:：（(]|点击[:：数量次]|人气[:：]|查看[:：]"
    r"|字号|字体[:：]|您?(?:的|当前|现在的?)?所?在?位置[:：]|分享到|分享至|转发到|上一[篇页章条][:：]|下一[篇页章条][:：]|标签[:：]"
    r"|关键[词字][:：]|相关(?:阅读|文章|新闻|推荐|链接|问题)|推荐阅读|延伸阅读|猜你喜欢|热门(?:文章|搜索|推荐|标签|评论)"
    r"|最新(?:文章|评论)|网友评论|本文(?:链接|地址|网址)|原文链接|版权(?:声明|所有)|免责声明|郑重声明|转载请|您?需要登录|请先登录"
    r"|未经.{0,8}(?:许可|授权)|登录后|扫一扫|扫描?(?:上方|下方)?二维码|长按.{0,8}(?:二维码|识别|关注)"
    r"|点击(?:上方|下方|这里|此处|右上角|蓝字)|关注(?:我们|公众号)|(?:促销|市场|原|现|售|会员|商城)价|Powered by"
    r"|Copyright|©|All [Rr]ights|Processed in|GMT[+-]\d)"
)
_ANYWHERE = re.compile(
    r"ICP[备证]|公网安备|版权所有|All Rights Reserved|Powered [Bb]y|增值电信|网络视听许可|互联网新闻信息服务"
    r"|违法和不良信息|最佳分辨率|分辨率浏览|浏览器不支持"
)
_COUNT = re.compile(r"(?:共\s*)?\d+\s*(?:个回答|条评论|条回复|人赞同|人关注|次浏览|个评论)(?:\s*默认排序)?")

_DECORATION = re.compile(
    r"spacer|blank|pixel|/none\.gif|loading|placeholder|transparent|logo|icon|avatar|qr_?code|erweima|emoticon|emoji"
    r"|smil(?:ey|ies)|button|btn[_-]|bullet|arrow|counter|banner|sprite|/ads?[./_-]",
    re.IGNORECASE,
)

_SMALLEST_DATA = 400  # characters of a data: address; what is shorter fills a place until the picture has come
_SAVED_FOLDER = re.compile(r"(?:^|/)[^/]*[_.]files/")  # named after the page


@functools.lru_cache(maxsize=2**16)
def is_chrome_element(attributes: str) -> bool:
    """Whether an element with these attributes (as they stand in its tag) is hidden, or no content by its names."""
    if _HIDDEN.search(attributes):
        return True
    return any(_is_chrome_name(name) for value in _NAMES.findall(attributes) for name in value.strip("\"'").split())


def _is_chrome_name(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[0] in _WITH:
        return False
    first, last = words[0], words[-1]
    if last in _CHROME or (len(words) > 1 and last in _CHROME_BEHIND):
        return True
    return first in _CHROME and _CONTENT.isdisjoint(words)


def is_chrome_line(text: str) -> bool:
    """Whether a line of a page, by its words alone, is no content."""
    if not text or len(text) > _LONGEST:
        return False
    if _BEGINNING.match(text) or _ONLY_CHROME.fullmatch(text) or _ANYWHERE.search(text) or _COUNT.fullmatch(text):
        return True
    return _DATE.match(text) is not None and not is_sentence(text)


def is_sentence(text: str) -> bool:
    """Whether there is a mark in it that stands in sentences, not in menus."""
    return _SENTENCE.search(text) is not None


def is_decoration(address: str, width: int | None, height: int | None) -> bool:
    """Whether a picture is part of the page's design: its declared sides in pixels, or its file's name, say so."""
    if (width is not None and width < SMALLEST_SIDE) or (height is not None and height < SMALLEST_SIDE):
        return True
    if address.startswith("data:"):
        return len(address) < _SMALLEST_DATA
    return _DECORATION.search(_SAVED_FOLDER.sub("/", address)) is not None
