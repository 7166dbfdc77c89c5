"""Saved pages: passages with the pictures in their places, and nothing from outside their folder."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from m6.config import UserError
from m6.corpus.config import PagesConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.sources import pages
from tests.unit.corpus.reading import outcomes, png, read_all, same

WEB = Path(__file__).parents[2] / "fixtures" / "web"
SENTENCE = "清晨的河面上浮着一层薄雾，渡船慢慢靠岸，船上的人都提着篮子。"


def config(*paths: Path) -> PagesConfig:
    return PagesConfig(paths=tuple(map(str, paths)), heldout_share=0)


def page(folder: Path, *sources: str, name: str = "page.html") -> Path:
    pictures = "".join(f'<p><img src="{source}"></p><p>{SENTENCE}</p>' for source in sources)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<html><h1>清晨的渡口</h1><p>{SENTENCE}</p>{pictures}</html>", encoding="utf-8")
    return path


def document(config: PagesConfig) -> Document:
    [item] = read_all(config)
    assert not isinstance(item, Drop)
    return item


def test_pictures_stand_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "page_files").mkdir()
    (tmp_path / "page_files" / "船 1.png").write_bytes(png(1))
    (tmp_path / "top.png").write_bytes(png(2))
    data = "data:image/png;base64," + base64.b64encode(png(3)).decode()
    web = "http://img.example.com/a.jpg"
    sources = ("./page_files/%E8%88%B9%201.png?v=2", data, web, "//img.example.com/b.jpg", "/top.png")
    found = document(config(page(tmp_path, *sources)))
    assert found["title"] == "清晨的渡口"
    assert found["text"] == "\n".join([SENTENCE] * 6)
    length = len(SENTENCE) + 1
    assert [(image["offset"], image["bytes"], image.get("url")) for image in found["images"]] == [
        (length, png(1), None),
        (2 * length, png(3), None),
        (3 * length, b"", web),
        (4 * length, b"", "https://img.example.com/b.jpg"),
        (5 * length, png(2), None),
    ]


def test_a_page_of_an_old_site_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "clock.jpg").write_bytes(png())
    shutil.copy(WEB / "blog.html", tmp_path)  # in GB2312
    title, _, marked = (WEB / "blog.txt").read_text(encoding="utf-8").rstrip("\n").partition("\n\n")
    before, _, rest = marked.partition("![")
    found = document(config(tmp_path))
    assert (found["title"], found["text"]) == (title, before + rest.partition(")")[2])
    assert [(image["offset"], image["bytes"]) for image in found["images"]] == [(len(before), png())]
    assert found["group"] == "blog.html"


def test_the_picture_that_the_browser_saved_comes_before_the_one_on_the_web(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    saved = 'a.png" data-src="http://img.example.com/a.png'
    late = 'data:image/gif;base64,R0lGOD" data-src="http://img.example.com/b.png'
    first, second = document(config(page(tmp_path, saved, late)))["images"]
    assert first["bytes"] == png()
    assert (second["bytes"], second.get("url")) == (b"", "http://img.example.com/b.png")


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "inside.png").write_bytes(png(1))
    (root / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    secret = tmp_path / "secret.png"
    sources = ("../inside.png", "../../secret.png", "%2e%2e/../secret.png", f"{secret}", f"file://{secret}", "link.png")
    page(root, *sources, "..\\..\\secret.png", name="a/page.html")
    inside, *outside = document(config(root))["images"]
    assert inside["bytes"] == png(1)
    assert len(outside) == 6
    assert all(image["bytes"] == b"" and not image.get("url") for image in outside)
    assert [image.get("missing") for image in outside].count("image outside the folder") == 4


def test_of_a_page_given_by_name_its_own_folder_is_the_root(tmp_path: Path) -> None:
    (tmp_path / "up.png").write_bytes(png())
    [image] = document(config(page(tmp_path / "in", "../up.png")))["images"]
    assert image["bytes"] == b""


def test_a_page_that_is_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.html").symlink_to(page(tmp_path))
    assert outcomes(config(tmp_path / "root")) == ["(page outside the folder)"]


@pytest.mark.parametrize("content", [None, b"<!DOCTYPE html><html>404</html>"])
def test_a_picture_that_cannot_be_had_is_one_without_bytes(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    [image] = document(config(page(tmp_path, "a.png")))["images"]
    assert (image["bytes"], image["offset"]) == (b"", len(SENTENCE) + 1)


def test_large_pictures_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**30)
    [image] = document(config(page(tmp_path, "a.png")))["images"]
    assert image["bytes"] == b""


def test_decoration_is_left_out(tmp_path: Path) -> None:
    for name in ("logo.png", "dot.png", "small.png"):
        (tmp_path / name).write_bytes(png())
    sources = ("logo.png", 'dot.png" width="1" height="1', 'small.png" width=32')
    assert document(config(page(tmp_path, *sources)))["images"] == []


def test_frames_are_no_pages(tmp_path: Path) -> None:
    page(tmp_path, name="page_files/saved_resource.html")
    page(tmp_path, name="other.files/frame.htm")
    page(tmp_path, name="page.html")
    assert len(read_all(config(tmp_path))) == 1


def test_where_it_was_saved_from(tmp_path: Path) -> None:
    path = page(tmp_path)
    path.write_text(
        f"<!-- saved from url=(0023)https://example.com/1 -->\n{path.read_text(encoding='utf-8')}", encoding="utf-8"
    )
    found = document(config(path).model_copy(update={"licence": "CC BY 4.0"}))
    assert found["attributes"] == {"url": "https://example.com/1", "licence": "CC BY 4.0"}


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "(no main content)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "(wrong encoding)"),
        (f"<meta charset=gbk><p>{SENTENCE}".encode("gb18030"), SENTENCE),
        (
            "<meta charset=big5><p>老街的鐘錶鋪開了五十年，沒有兩隻走得一樣快。".encode("big5"),
            "老街的鐘錶鋪開了五十年，沒有兩隻走得一樣快。",
        ),
        (f"<p>{SENTENCE}</p><p>船上的".encode()[:-1], SENTENCE),
        (b"<div>" * 200_000 + SENTENCE.encode(), SENTENCE),
        (b"<p>\0" + SENTENCE.encode() + b"\0" * 1000, SENTENCE),
    ],
)
def test_bad_pages(tmp_path: Path, data: bytes, outcome: str) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(data)
    assert outcomes(config(path)) == [outcome]


def test_a_page_of_100_megabytes_is_dropped(tmp_path: Path) -> None:
    with (tmp_path / "page.html").open("wb") as file:
        file.truncate(100 * 2**20)
    assert outcomes(config(tmp_path)) == ["(long page)"]


def test_the_cut_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        page(tmp_path, name=f"{number % 3}/{number}.html")
    whole = read_all(config(tmp_path, tmp_path / "0" / "0.html"))
    assert len(whole) == 7
    assert len({item["group"] for item in whole if not isinstance(item, Drop)}) == 7
    monkeypatch.setattr(pages, "PAGES_PER_PART", 2)
    assert len(pages.parts("shop", config(tmp_path))) == 4
    assert read_all(config(tmp_path)) == whole


def test_the_group_does_not_tell_where_the_folder_lies(tmp_path: Path) -> None:
    found = []
    for name in ("x", "y"):
        page(tmp_path / name, name="a/page.html")
        found.append(document(config(tmp_path / name)))
    assert same(found[0]) == same(found[1])
    assert found[0]["group"] == "a/page.html"


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.sources\.shop\.paths: .*nothing found"):
        read_all(config(tmp_path))
    with pytest.raises(UserError, match=r"no such file"):
        read_all(config(tmp_path / "missing.html"))
