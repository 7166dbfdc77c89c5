"""MediaWiki: a dump with all that articles are made of, however it is packed and cut; and dumps that are damaged."""

from __future__ import annotations

import bz2
import gzip
import html
import io
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import MediaWikiConfig
from m6.corpus.drop import Drop
from m6.corpus.extract.wikitext import plain_text
from m6.corpus.sources import mediawiki
from tests.unit.corpus.reading import outcomes, read_all, same

WIKI = Path(__file__).parents[2] / "fixtures" / "mediawiki"
LOTUS = (WIKI / "lotus.wiki").read_text(encoding="utf-8")
LOTUS_TEXT = (WIKI / "lotus.txt").read_text(encoding="utf-8").rstrip("\n")
SENTENCE = "清晨的河面上浮着一层薄雾，渡船慢慢靠岸。"

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
  <siteinfo>
    <sitename>维基百科</sitename>
    <dbname>zhwiki</dbname>
    <base>https://zh.example.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"


def page(title: str, text: str, number: int = 1, namespace: int = 0, more: str = "", model: str = "wikitext") -> str:
    return f"""  <page>
    <title>{html.escape(title)}</title>
    <ns>{namespace}</ns>
    <id>{number}</id>
{more}    <revision>
      <id>{number + 1000}</id>
      <timestamp>2021-03-08T00:00:00Z</timestamp>
      <contributor><username>渡口</username><id>7</id></contributor>
      <model>{model}</model>
      <format>text/x-wiki</format>
      <text bytes="{len(text.encode())}" xml:space="preserve">{html.escape(text)}</text>
      <sha1>abc</sha1>
    </revision>
  </page>
"""


ARTICLES = [page("望荷桥", LOTUS, 1)] + [page(f"第{n}课", f"{SENTENCE}这是第{n}课。", n) for n in range(2, 12)]
DUMP = HEAD + "".join(ARTICLES) + TAIL


def write(path: Path, data: bytes | str) -> MediaWikiConfig:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return MediaWikiConfig(paths=(str(path),), heldout_share=0)


def multistream(pages: list[str], per_stream: int = 3) -> bytes:
    """As the dumps come: the site's information, then some pages a stream."""
    chunks = ["".join(pages[start : start + per_stream]) for start in range(0, len(pages), per_stream)]
    return b"".join(bz2.compress(chunk.encode()) for chunk in (HEAD, *chunks, TAIL))


def torn(text: str, size: int) -> bytes:
    """As parallel packers write: streams that end anywhere."""
    data = text.encode()
    return b"".join(bz2.compress(data[start : start + size]) for start in range(0, len(data), size))


def test_wikitext_by_hand() -> None:
    assert plain_text(LOTUS) == LOTUS_TEXT


def test_an_article_becomes_a_document(tmp_path: Path) -> None:
    config = write(tmp_path / "a.xml", HEAD + page("望荷桥 (柳溪县)", LOTUS, 5) + TAIL)
    [document] = read_all(config.model_copy(update={"licence": "CC BY-SA 4.0"}))
    assert not isinstance(document, Drop)
    assert (document["title"], document["text"]) == ("望荷桥 (柳溪县)", LOTUS_TEXT)
    assert (document["group"], document["images"]) == ("望荷桥 (柳溪县)", [])
    assert document["attributes"] == {
        "url": "https://zh.example.org/wiki/%E6%9C%9B%E8%8D%B7%E6%A1%A5_(%E6%9F%B3%E6%BA%AA%E5%8E%BF)",
        "revision": "1005",
        "licence": "CC BY-SA 4.0",
    }


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 5000, 10**9])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xml", DUMP.encode()),
        ("a.xml.bz2", bz2.compress(DUMP.encode())),
        ("b.xml.bz2", multistream(ARTICLES)),
        ("c.xml.bz2", torn(DUMP, 700)),
        ("d.xml.bz2", torn(DUMP, 61)),
        ("a.xml.gz", gzip.compress(DUMP.encode())),
    ],
)
def test_packing_and_cut_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, size: int
) -> None:
    if size < 100 and len(data) > 3000:
        size *= 50
    monkeypatch.setattr(mediawiki, "PART_SIZE", {"": size, ".bz2": size})
    monkeypatch.setattr(mediawiki, "_CHUNK", 1024)
    config = write(tmp_path / name, data)
    assert len(mediawiki.parts("shop", config)) == (1 if name.endswith("gz") else -(-len(data) // size))
    expected = [LOTUS_TEXT] + [f"{SENTENCE}这是第{n}课。" for n in range(2, 12)]
    assert outcomes(config) == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(100, 3000), st.integers(5, 100))
def test_any_cut_of_any_streams(tmp_path_factory: pytest.TempPathFactory, stream: int, part: int) -> None:
    config = write(tmp_path_factory.mktemp("cut") / "a.xml.bz2", torn(DUMP, stream))
    [whole] = mediawiki.parts("shop", config)
    starts = range(0, whole.stop, part * 20)
    parts = [whole._replace(start=start, stop=min(start + part * 20, whole.stop)) for start in starts]
    assert [item for one in parts for item in mediawiki.read(one, config, 0)] == read_all(config)


def test_pages_that_are_no_articles(tmp_path: Path) -> None:
    pages = [
        page("旧名", "#REDIRECT [[新名]]", more='    <redirect title="新名" />\n'),
        page("旧名2", "#重定向 [[新名]]"),
        page("讨论:山", SENTENCE, namespace=1),
        page("模块", "return {}", model="Scribunto"),
        page("空", ""),
        page("删", "X").replace(">X</text>", " />"),
        page("盒", "{{Infobox|a=1}}"),
        page("山", SENTENCE),
    ]
    config = write(tmp_path / "a.xml", HEAD + "".join(pages) + TAIL)
    empty = "(no main content)"
    expected = ["(redirect)", "(redirect)", "(other namespace)", "(not wikitext)", empty, empty, empty, SENTENCE]
    assert outcomes(config) == expected
    talk = config.model_copy(update={"namespaces": (1,)})
    assert [item["title"] for item in read_all(talk) if not isinstance(item, Drop)] == ["讨论:山"]
    assert read_all(config)[0] == Drop("redirect", f"{tmp_path / 'a.xml'}, page 旧名", "#REDIRECT [[新名]]")


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a{{b}}c", "ac"),
        ("{{b|{{c}}|[[d]]}}e", "e"),
        ("{{lang|ja|さくら}}", "さくら"),
        ("{{tsl|en|Bridge|桥}}和{{link-en|塔|Tower}}和{{le|亭|Pavilion}}", "桥和塔和亭"),
        ("{{nowrap|5 [[公里]]}}", "5 公里"),
        ("[[山]]、[[山|大山]]、[[山 (地貌)|]]、[[:Category:山]]、[[#历史]]", "山、大山、山、Category:山、历史"),
        ("山[[Category:山]][[分类:山]][[en:Mountain]][[zh-yue:山]]", "山"),
        ("[[File:A.jpg|thumb|山的[[图]]，{{lang|en|x}}]]山", "山"),
        ("[[文件:A.jpg]]山[[Image:B.png|20px]]", "山"),
        ("[http://a.cn 官网]和[https://b.cn]和[//c.cn 三]和http://d.cn", "官网和和三和http://d.cn"),
        ("-{zh-cn:信息;zh-tw:資訊;}-", "信息"),
        ("-{zh-tw:資訊; zh-hans:信息}-", "信息"),
        ("-{zh-tw:資訊;zh-hk:資料}-", "資訊"),
        ("-{山}-和-{A|zh-hans:面;zh-hant:麵}-和-{H|zh-cn:a;zh-tw:b}-和-{T|zh-cn:题}-和-{R|水}-", "山和面和和和水"),
        ("-{zh-cn:外-{zh-cn:内;zh-tw:內}-;zh-tw:x}-", "外内"),
        ("'''山'''是''高''的，'''''很'''''", "山是高的，很"),
        ('山<ref>注</ref>，<ref name=a />水<ref name="b">x<br/>y</ref>。', "山，水。"),
        ("山<ref>没有结束，\n水。", "山\n水。"),
        ("山<!-- 注 -->水<!-- 没有结束", "山水"),
        ("<nowiki>[[a]] {{b}} '''c''' == d ==</nowiki>", "[[a]] {{b}} '''c''' == d =="),
        ("<nowiki>== a ==</nowiki>", "== a =="),
        ("山<br>水<br />云<p>风</p>", "山\n水\n云\n风"),
        ('H<sub>2</sub>O，<span style="color:red">红</span>，1 < 2', "H2O，红，1 < 2"),
        ("&nbsp;山&amp;水&lt;", "山&水<"),
        ("== 甲 ==\n=== 乙 ===\n山\n== 丙 ==\n== 丁 ==\n水", "甲\n乙\n山\n丁\n水"),
        ("山\n== 参考文献 ==\n* 书\n=== 注释 ===\n* 注\n== 后 ==\n水", "山\n后\n水"),
        ("* 甲\n** 乙\n# 丙\n; 丁\n: 戊\n:::* 己", "甲\n乙\n丙\n丁\n戊\n己"),
        ("山\n{| class=a\n|-\n| b || c\n{|\n| d\n|}\n|}\n水", "山\n水"),
        ("山\n{| class=a\n| b\n水", "山\n水"),
        ("山（{{lang-en|}}，1900年）和（{{a}}）", "山（1900年）和"),
        ("山----\n----\n水__NOTOC__", "山----\n水"),
        ("没有结束的{{模板|a=1\n下一段。", "没有结束的模板|a=1\n下一段。"),
        ("没有结束的[[链接\n下一段。", "没有结束的链接\n下一段。"),
        ("多了}}括号]]在这里", "多了括号在这里"),
        ("{{a|[[b}}山", "山"),
        ("{{lang|" * 40 + "山" + "}}" * 40 + "水", "山水"),
        ("{{lang|" * 41 + "山" + "}}" * 41 + "水", "水"),
        ("", ""),
        ("\ue000\ue001山", "山"),
    ],
)
def test_wikitext(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


BOMBS = [
    *(
        "{{",
        "}}",
        "[[",
        "]]",
        "{{[[",
        "{{a|",
        "{{lang|",
        "<ref>",
        "<ref ",
        "<!--",
        "<nowiki>",
        "-{",
        "-{zh:",
        "== ",
        "=\n",
        "''",
    ),
    *(
        "[http://",
        "[//a",
        "{|\n",
        "|}\n",
        "__A",
        "&",
        "，",
        "（，",
        "<br",
        "* ",
        "{{lang|a|[[b|",
        "zh:",
        "== a ==\n",
        " ",
        "= ",
    ),
    *("[[a(", "-{zh:a;}-", "<math>", "{{bd|", "<ref>a</ref><math>"),
]


@pytest.mark.parametrize("start", ["", "{{lang|", "[[a|", "-{zh:", "== "])
def test_wikitext_made_to_hurt_takes_time_by_its_length_alone(start: str) -> None:
    begun = time.process_time()
    for bomb in BOMBS:
        plain_text(start + bomb * (30_000 // len(bomb)))
        plain_text(start + bomb * (15_000 // len(bomb)) + "}}|]]" * 3_000)
    assert time.process_time() - begun < 20  # a second; quadratic code takes minutes


MARKUP = [
    "{{",
    "}}",
    "[[",
    "]]",
    "|",
    "-{",
    "}-",
    "zh-cn:",
    ";",
    "==",
    "\n",
    "{|",
    "|}",
    "<ref>",
    "</ref>",
    "<ref",
    "/>",
    "'''",
    "*",
    "山",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(MARKUP) | st.text(max_size=3), max_size=40).map("".join))
def test_any_wikitext_gives_whole_lines(wikitext: str) -> None:
    text = plain_text(wikitext)
    assert all(line.strip() for line in text.split("\n")) or not text
    assert plain_text(wikitext) == text


def test_truncated_dumps(tmp_path: Path) -> None:
    data = DUMP.encode()
    for cut in range(700, len(data), 331):
        items = read_all(write(tmp_path / "a.xml", data[:cut]))
        texts = [item["text"] for item in items if not isinstance(item, Drop)]
        whole = data[:cut].count(b"</page>")
        assert len(texts) == whole
        inside = data[:cut].count(b"<page>") > whole
        assert [item.reason for item in items if isinstance(item, Drop)] == ["truncated page"] * inside
    assert outcomes(write(tmp_path / "a.xml.bz2", bz2.compress(data)[:-20]))[-1] in (
        "(truncated bzip2)",
        "(truncated page)",
    )
    assert "(truncated file)" in outcomes(write(tmp_path / "a.xml.gz", gzip.compress(data)[:-20]))


def test_a_damaged_stream_costs_its_own_pages(tmp_path: Path) -> None:
    data = bytearray(multistream(ARTICLES))
    streams = [index for index in range(len(data)) if data.startswith(b"BZh91AY&SY", index)]
    data[streams[2] + 60] ^= 255
    path = tmp_path / "a.xml.bz2"
    items = read_all(write(path, bytes(data)))
    assert [item["title"] for item in items if not isinstance(item, Drop)] == (
        ["望荷桥", "第2课", "第3课"] + [f"第{n}课" for n in range(7, 12)]
    )
    [drop] = [item for item in items if isinstance(item, Drop)]
    assert drop == Drop("damaged bzip2", f"{path}, byte {streams[2]}")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda one: one.replace("</page>", ""), "truncated page"),
        (lambda one: one.replace("<title>", "<tilte>"), "damaged page"),
        (lambda one: one.replace("</text>", "</txet>"), "damaged page"),
        (lambda one: one.replace("<ns>0", "<ns>零"), "other namespace"),
    ],
)
def test_a_damaged_page_costs_itself(tmp_path: Path, damage: object, reason: str) -> None:
    pages = [ARTICLES[1], damage(ARTICLES[2]), ARTICLES[3]]  # type: ignore[operator]
    assert outcomes(write(tmp_path / "a.xml", HEAD + "".join(pages) + TAIL)) == [
        f"{SENTENCE}这是第2课。",
        f"({reason})",
        f"{SENTENCE}这是第4课。",
    ]


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "哈哈哈哈哈哈哈哈哈哈"><!ENTITY b "&a;&a;&a;&a;&a;">]>\n'
    text = page("山", "X").replace(">X<", f">{SENTENCE}&b;<")
    assert outcomes(write(tmp_path / "a.xml", bomb + HEAD + text + TAIL)) == [f"{SENTENCE}&b;"]


def test_a_page_of_100_megabytes_is_passed_over_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mediawiki, "LONGEST_PAGE", 2**20)
    path = tmp_path / "a.xml"
    before, after = page("长", "X").split(">X<")
    with path.open("wb") as file:
        file.write(f"{HEAD}{before}>".encode())
        file.seek(100 * 2**20, io.SEEK_CUR)
        file.write(f"<{after}{ARTICLES[1]}{TAIL}".encode())
    tracemalloc.start()
    items = read_all(MediaWikiConfig(paths=(str(path),)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert items[0] == Drop("long page", f"{path}, page 长")
    alone = read_all(write(tmp_path / "b.xml", HEAD + ARTICLES[1] + TAIL))
    assert list(map(same, items[1:])) == list(map(same, alone))
    assert peak < 12 * 2**20


def test_zip_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediawiki, "_FREE_BYTES", 2**20)
    path = tmp_path / "a.xml.bz2"
    bomb = bz2.compress(f"{HEAD}<page>".encode() + bytes(20 * 2**20))
    items = read_all(write(path, bomb + multistream(ARTICLES[1:3])))
    assert [same(item) for item in items[:2]] == ["zip bomb", "truncated page"]
    assert [item["title"] for item in items if not isinstance(item, Drop)] == ["第2课", "第3课"]


def test_encodings(tmp_path: Path) -> None:
    declared = DUMP.replace("维基百科", "百科")
    for encoding, named in (("gb18030", "auto"), ("gb18030", "gbk"), ("utf-8-sig", "auto")):
        config = write(tmp_path / "a.xml", declared.encode(encoding)).model_copy(update={"encoding": named})
        assert outcomes(config)[0] == LOTUS_TEXT
    text = "老街的鐘錶鋪開了五十年，牆上的鐘沒有兩隻走得一樣快。"
    assert outcomes(write(tmp_path / "b.xml", page("鐘錶鋪", text).encode("big5"))) == [text]
    config = write(tmp_path / "c.xml", page("山", "X").encode().replace(b">X<", b">" + bytes(range(128, 256)) + b"<"))
    assert outcomes(config) == ["(wrong encoding)"]


def test_the_last_revision_counts(tmp_path: Path) -> None:
    older = page("山", "旧的文字，已经改掉了。", 1).partition("    <revision>")[2].partition("  </page>")[0]
    both = page("山", SENTENCE, 2).replace("    <revision>", "    <revision>" + older + "    <revision>")
    [document] = read_all(write(tmp_path / "a.xml", HEAD + both + TAIL))
    assert not isinstance(document, Drop)
    assert (document["text"], document["attributes"]["revision"]) == (SENTENCE, "1002")


def test_the_same_page_twice_is_two_documents_of_one_id(tmp_path: Path) -> None:
    first, second = read_all(write(tmp_path / "a.xml", HEAD + ARTICLES[1] * 2 + TAIL))
    assert first == second


def test_nothing_to_read(tmp_path: Path) -> None:
    assert outcomes(write(tmp_path / "a.xml", "")) == ["(no records)"]
    assert outcomes(write(tmp_path / "a.xml", HEAD + TAIL)) == ["(no records)"]
    assert outcomes(write(tmp_path / "a.xml.bz2", "这不是压缩文件。")) == ["(no records)"]
    with pytest.raises(UserError, match=r"corpus\.sources\.shop\.paths: .*missing"):
        read_all(MediaWikiConfig(paths=(str(tmp_path / "missing.xml"),)))
