"""Web pages: main content, title and pictures of the forms that Chinese sites have, and pages made to hurt."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.corpus.extract.page_chrome import is_chrome_element, is_chrome_line, is_decoration
from m6.corpus.extract.webpage import LONGEST_PAGE, main_text, passage, read_html

WEB = Path(__file__).parents[2] / "fixtures" / "web"
FORMS = sorted(path.stem for path in WEB.glob("*.html"))
MARK = re.compile(r"!\[[^]]*\]\([^)]*\)")
SENTENCE = "清晨的河面上浮着一层薄雾，渡船慢慢靠岸，船上的人都提着篮子。"


def page(body: str, head: str = "") -> str:
    return f"<html><head>{head}</head><body>{body}</body></html>"


def test_there_are_pages_of_every_form() -> None:
    assert FORMS == ["account", "blog", "encyclopedia", "forum", "news", "product", "question"]


@pytest.mark.parametrize("form", FORMS)
def test_a_page_is_its_content(form: str) -> None:
    html = (WEB / f"{form}.html").read_bytes()
    title, text, pictures = passage(html, "https://news.example.com/")
    marked = text
    for offset, address, alternative in reversed(pictures):
        marked = f"{marked[:offset]}![{alternative}]({address}){marked[offset:]}"
    expected = (WEB / f"{form}.txt").read_text(encoding="utf-8")
    assert f"{title}\n\n{marked}\n" == expected
    assert main_text(html) == (title, MARK.sub("", expected).partition("\n\n")[2].rstrip("\n"))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_kept_stands_in_the_page(form: str) -> None:
    """Every line is in the whole text that Python's own parser sees."""
    html = read_html((WEB / f"{form}.html").read_bytes())
    assert html is not None
    texts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = texts.append  # type: ignore[method-assign, assignment]
    parser.feed(html)
    whole = "".join("".join(texts).split())
    for line in main_text(html)[1].split("\n"):
        assert "".join(line.split()) in whole


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("declared", [None, "iso-8859-1x", "gbk"])
def test_encodings(encoding: str, declared: str | None) -> None:
    html = page(f"<h1>清晨的渡口</h1><p>{SENTENCE}</p>").encode(encoding)
    assert main_text(html, declared) == ("清晨的渡口", SENTENCE)


@pytest.mark.parametrize("where", ["meta", "header", "guessed", "named"])
def test_big5(where: str) -> None:
    text = "清晨的河面上浮著一層薄霧，渡船慢慢靠岸，船上的人都提著籃子。"
    head = '<meta http-equiv="Content-Type" content="text/html; charset=big5">' if where == "meta" else ""
    html = page(f"<p>{text}</p>", head).encode("big5")
    read = read_html(html, "Big5" if where == "header" else None, "big5" if where == "named" else "auto")
    assert read is not None
    assert main_text(read)[1] == text


def test_bytes_that_are_no_text() -> None:
    assert read_html(bytes(range(128, 256)) * 50) is None
    assert main_text(bytes(range(128, 256)) * 50) == ("", "")
    assert read_html(SENTENCE.encode("gb18030"), encoding="utf-8") is None


def test_a_page_that_was_cut_within_a_character_is_read() -> None:
    html = page(f"<p>{SENTENCE}</p>" * 50).encode()[:-17]
    for cut in range(3):
        read = read_html(html[: len(html) - cut], "utf-8")
        assert read is not None
        assert read.count("\ufffd") <= 1
        assert SENTENCE in main_text(read)[1]


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>雨后的山村_散文_小城文学网</title>", "", "雨后的山村"),
        ("<title>雨后的山村 - 小城文学网</title>", "", "雨后的山村"),
        ("<title>雨后的山村-小城论坛</title>", "", "雨后的山村"),
        ("<title>A-B型血的遗传</title>", "", "A-B型血的遗传"),
        ("<title>雨后的山村【图文】</title>", "", "雨后的山村"),
        ('<meta property="og:site_name" content="小城"><title>小城 | 雨后的山村</title>', "", "雨后的山村"),
        ('<meta content="雨后 &amp; 山村" property="og:title"><title>小城</title>', "", "雨后 & 山村"),
        ("<title>雨后的山村_小城</title>", "<h1>雨后的\n  山村</h1>", "雨后的山村"),
        ("", "<h1>雨后的山村</h1>", "雨后的山村"),
        ("", "", ""),
    ],
)
def test_titles(head: str, body: str, title: str) -> None:
    assert main_text(page(f"{body}<p>{SENTENCE}</p>", head)) == (title, SENTENCE)


def test_a_heading_that_the_title_does_not_know_is_a_line() -> None:
    html = page(f"<h1>小城论坛欢迎你</h1><p>{SENTENCE}</p>", "<title>雨后的山村_小城</title>")
    assert main_text(html) == ("雨后的山村", f"小城论坛欢迎你\n{SENTENCE}")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>春天到了，<b>花</b>开&nbsp;了 &lt;3</p>", "春天到了，花开 了 <3"),
        ("<p>春天到了，\n   花也开了。</p>", "春天到了，花也开了。"),
        ("<p>We went to 山里，\n and saw snow。</p>", "We went to 山里， and saw snow。"),
        ("<p>水是H<sub>2</sub>O，<sup>[3]</sup>面积5m<sup>2</sup>。</p>", "水是H2O，面积5m2。"),
        ("<pre>第一行，\n第二行。</pre>", "第一行，\n第二行。"),
        ("春天到了，<br>花也开了。<hr/>人也来了。", "春天到了，\n花也开了。\n人也来了。"),
        (f"<table><tr><td>高度</td><td>三米</td></tr></table><p>{SENTENCE}</p>", f"高度 三米\n{SENTENCE}"),
        (f"<p>{SENTENCE}</p><p style='display: none'>看不见的话，没有人看。</p>", SENTENCE),
        (f"<p>{SENTENCE}</p><script>document.write('<p>这不是话，是程序。</p>')</script>", SENTENCE),
        (f"<p>{SENTENCE}</p><!-- <p>这是注释，不是话。</p> -->", SENTENCE),
        (f"<!-- 一条-注释 --><p>{SENTENCE}<!-- a > b -->{SENTENCE}</p>", SENTENCE + SENTENCE),
        (f"<p>{SENTENCE}</p><textarea><p>我来说两句，说完就走。</p></textarea>", SENTENCE),
        (f"<p>{SENTENCE}</p><ul><li><a href=1>山里的雪</a></li><li><a href=2>水边的人</a></li></ul>", SENTENCE),
        (f"<h2>雾</h2><p>{SENTENCE}</p><h2>热点</h2><p><a href=1>山里的雪</a></p>", f"雾\n{SENTENCE}"),
        (f"<p>{SENTENCE}</p><h2>热点</h2><p><a href=1>山里的雪</a></p><p>{SENTENCE}</p>", f"{SENTENCE}\n{SENTENCE}"),
        ("<p><a href=1>山</a>在<a href=2>水</a>的<a href=3>北面</a>，看得见。</p>", "山在水的北面，看得见。"),
        ("<p>1 < 2，而 3 <4，这没有错。</p>", "1 < 2，而 3 <4，这没有错。"),
        ("<p title='a > b'>春天到了，花也开了。", "春天到了，花也开了。"),
        ('<p title="it\'s > that" id=x>春天到了，花也开了。', "春天到了，花也开了。"),
        ('<p>春天 > 冬天，<b title="a>花</b>也开了。', "春天 > 冬天，花也开了。"),
        ("<P>春天到了，<P>花也开了。", "春天到了，\n花也开了。"),
        ("\0<p>春天\0到了，花也开了。\0</p>", "春天到了，花也开了。"),
    ],
)
def test_markup(html: str, text: str) -> None:
    assert main_text(html)[1] == text


def test_unclosed_chrome_ends_with_what_holds_it() -> None:
    assert main_text(f"<div><div class=sidebar>热门的话题，大家都在看。</div><p>{SENTENCE}")[1] == SENTENCE
    html = f"<div><section><ul class='nav'>热门的话题，大家都在看。<li>x</section><p>{SENTENCE}</div>"
    assert main_text(html)[1] == SENTENCE
    assert main_text(f"<div><p class=ad>买一送一，快来看看。<p>{SENTENCE}</div>")[1] == SENTENCE


def test_a_template_with_misleading_names_does_not_cost_the_text() -> None:
    assert main_text(f"<div class='sidebar'><p>{SENTENCE}</p><p>{SENTENCE[::-1]}</p></div>")[1].startswith(SENTENCE)


@pytest.mark.parametrize(
    ("attributes", "chrome"),
    [
        (' class="sidebar"', True),
        (" class=post-share", True),
        (' id="navBar"', True),
        (' class="main clearfix" id="comments"', True),
        (" style='DISPLAY:NONE'", True),
        (' role="navigation"', True),
        (" hidden", True),
        (' class="content"', False),
        (' class="article-body"', False),
        (' class="no-sidebar"', False),
        (' class="comment-article"', False),
        (' class="download-page-content"', False),
        (' class="shared"', False),
        (' data-class="sidebar"', False),
        ("", False),
    ],
)
def test_names_of_elements(attributes: str, chrome: bool) -> None:
    assert is_chrome_element(attributes) is chrome


@pytest.mark.parametrize(
    "line", ["上一篇 下一篇", "2021-03-08 07:12 来源：江城晚报", "京ICP备00000000号", "首页 >> 上一页", "3楼"]
)
def test_lines_of_chrome(line: str) -> None:
    assert is_chrome_line(line)


@pytest.mark.parametrize(
    "line", ["", "2003年，他离开了家乡。", "首页上写着他的名字", "编辑部的故事", "来源不明的信", SENTENCE]
)
def test_lines_of_text(line: str) -> None:
    assert not is_chrome_line(line)


def test_pictures() -> None:
    html = (
        f"<p>{SENTENCE}</p><p><img src='/a.jpg' alt='渡船 &amp; 雾'></p><p>船到了，<img src=b.png>人上岸。</p>"
        "<p><img src='spacer.gif'><img src=c.png width=16><img src=d.png height='1'><img><img src=''>"
        "<img src='data:image/gif;base64,R0lGOD' data-src='//img.example.com/e.jpg'><img src='http://[' ></p>"
        f"<p>{SENTENCE}</p>"
    )
    _, text, pictures = passage(html, "https://example.com/x/y.html")
    assert text == f"{SENTENCE}\n船到了，人上岸。\n{SENTENCE}"
    at, end = len(SENTENCE) + 1, len(SENTENCE) + 10
    assert pictures == [
        (at, "https://example.com/a.jpg", "渡船 & 雾"),
        (at + 4, "https://example.com/x/b.png", ""),
        (end, "https://img.example.com/e.jpg", ""),
        (end, "http://[", ""),
    ]


def test_decoration_is_known_by_size_and_name() -> None:
    assert is_decoration("a.jpg", 49, 300)
    assert is_decoration("http://x/img/logo.png", None, None)
    assert is_decoration("http://x/uc/avatar.php?uid=5", 120, 120)
    assert not is_decoration("a.jpg", 50, 50)
    assert not is_decoration("logo设计_files/a.jpg", None, None)


BOMBS = [
    *(
        "<div>",
        "<b>",
        "<a href=x>",
        "<table><tr><td>",
        "<p><b>x",
        "\0",
        "<",
        "<a ",
        "<a '\"",
        "<select>",
        "<!-- ",
        "<!--",
        "<!-",
    ),
    *(
        "<script>",
        "<script",
        "<style ",
        "<template>x",
        "<table></p></div>",
        "中文",
        "<p>中，</p>",
        "<sup>[1",
        "中<br>",
        "&",
        "&#",
    ),
    *(
        "<img src=a>",
        "<pre>\n",
        "<meta name=a content=b>",
        "<title>a",
        "中\n",
        "<h1>a</h1>",
        "<td>x",
        "<div class='",
        " a=b",
        " ",
    ),
    *("<div>中，</div>", "<li>登录</li>", "<svg><p>", "<div class=nav>中，", "<div class=a b='", "<ul><li>中，"),
]


@pytest.mark.parametrize("start", ["", "<div x='", "<sup>[", "<meta content='"])
def test_pages_made_to_hurt_take_time_by_their_length_alone(start: str) -> None:
    begun = time.process_time()
    for bomb in BOMBS:
        _, text, pictures = passage(start + bomb * (30_000 // len(bomb)))
        assert len(text) <= 60_000
        assert len(pictures) <= 1_000
    assert time.process_time() - begun < 20  # a second; quadratic code takes minutes


def test_of_a_page_without_end_the_beginning_is_read() -> None:
    html = page(f"<p>{SENTENCE}</p>").encode() + b" " * (100 * 2**20)
    begun = time.process_time()
    assert main_text(html)[1] == SENTENCE
    read = read_html(f"<p>{SENTENCE}".encode("gb18030") * 80_000)
    assert read is not None
    assert LONGEST_PAGE // 2 - 100 < len(read) <= LONGEST_PAGE
    assert time.process_time() - begun < 10


TAGS = "<div class=nav>|</div>|<p>|</p>|<a href=x>|</a>|<img src=a.jpg>|<td>|<tr>|</table>|<pre>|<h1>|</h1>|<br>|<sup>"
PIECES = st.sampled_from([*TAGS.split("|"), *"\n<>'\" \0雪", "[1]", "&amp;", "&#0;", "<!--", "-->", SENTENCE])


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_page_gives_whole_lines_and_places_within_them(html: str) -> None:
    _, text, pictures = passage(html)
    assert "\0" not in text
    assert all(line and line == line.strip() for line in text.split("\n")) or not text
    assert [offset for offset, _, _ in pictures] == sorted(offset for offset, _, _ in pictures)
    assert all(0 <= offset <= len(text) for offset, _, _ in pictures)
    assert passage(html) == passage(html)
