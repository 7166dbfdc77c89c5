"""The guide "bring your own data": both languages give the same code, and files that look as it says are read."""

from __future__ import annotations

import base64
import gzip
import io
import re
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m6.corpus.config import AnySource
from m6.corpus.drop import Drop
from m6.corpus.sources import reader
from m6.corpus.starter import emoji_pictures

GUIDES = [Path(__file__).parents[3] / "docs" / language / "sources.md" for language in ("en", "zh")]
BUNDLED = {"emoji", "poems", "scenes", "packages"}
PICTURE = emoji_pictures()[sorted(emoji_pictures())[0]]
PAGE = f"""<html><head><title>西湖一日游攻略</title></head><body><article><h1>西湖一日游攻略</h1>
<p>{"早上七点从断桥出发，沿着白堤慢慢走到孤山，湖面有薄雾，游人还不多，正好拍照。" * 3}</p>
<img src="page_files/lake.jpg" width="400" height="300">
<p>{"下午坐船去三潭印月，傍晚到雷峰塔看夕阳落在湖上，再慢慢走回地铁站。" * 4}</p></article></body></html>"""
ARTICLE = """<mediawiki><siteinfo><base>https://zh.wikipedia.org/wiki/首页</base></siteinfo><page><title>银杏</title>
<ns>0</ns><id>1</id><revision><id>2</id><text>'''银杏'''是一种[[落叶乔木]]，秋天叶子变成金黄色，寿命可达千年。</text>
</revision></page></mediawiki>"""


def blocks(guide: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)


def table(beginning: str) -> str:
    """The rows of a table of the guide, with tabs as tabs and a picture for the beginning of one."""
    (text,) = [block for block in blocks(GUIDES[0], "text") if block.startswith(beginning)]
    picture = base64.b64encode(PICTURE).decode()
    return re.sub(r" ?<tab> ?", "\t", text).replace("/9j/4AAQSkZJRgABAQ...", picture)


def write(name: str, data: bytes | str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())


def write_files() -> None:
    """The files of the guide, what it shows of them word for word."""
    json_blocks = blocks(GUIDES[0], "json")
    write("data/posts.jsonl", json_blocks[0])
    write("data/muge/train_texts.jsonl", json_blocks[1])
    write("data/FM-IQA.json", json_blocks[4])
    write("data/muge/train_imgs.tsv", table("1076345"))
    write("data/shop.tsv", table("标题"))
    write("data/ofa.tsv", table("1 <tab>"))
    write("data/coco-cn.txt", table("COCO_val2014"))
    photos = ("park.jpg", "cat.jpg", "shop/mug.png")
    coco = ("val2014/COCO_val2014_000000043734.jpg", "train2014/COCO_train2014_000000391895.jpg")
    for name in ("mug.jpg", *(f"photos/{one}" for one in photos), *(f"coco/{one}" for one in coco)):
        write(f"data/{name}", PICTURE)
    write("data/photos/park.txt", "公园里的银杏")
    for name, text in re.findall(r"^  (cat\.txt|shop/mug\.json) +(.+)$", GUIDES[0].read_text(encoding="utf-8"), re.M):
        write(f"data/photos/{name}", text)
    write("data/hub/train-00000-of-00001.parquet", b"")
    pictures = [{"bytes": PICTURE, "path": "a.png"}]
    pq.write_table(pa.table({"text": ["街角的书店亮着灯"], "image": pictures}), "data/hub/train-00000-of-00001.parquet")
    write("data/wukong/00000.tar", tar({"000000000.jpg": PICTURE, "000000000.txt": "海边的灯塔".encode()}))
    write("data/pages/page.html", PAGE)
    write("data/pages/page_files/lake.jpg", PICTURE)
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE.encode()
    header = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://a.cn/\r\nContent-Length: {len(body)}\r\n\r\n"
    write("data/crawl/CC-MAIN-00000.warc.gz", gzip.compress(header.encode() + body + b"\r\n\r\n"))
    write("data/zhwiki-pages-articles.xml", ARTICLE)


def tar(content: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_both_languages_give_the_same_code_and_sections() -> None:
    for language in ("bash", "python", "json"):
        assert blocks(GUIDES[0], language) == blocks(GUIDES[1], language)
    first, second = (
        re.findall(r"^## `(\w+)`|^\| `(\w+)` \|", guide.read_text(encoding="utf-8"), re.M) for guide in GUIDES
    )
    assert first == second


def test_files_that_look_as_the_guide_says_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files()
    given: dict[str, Any] = {}
    for block in blocks(GUIDES[0], "python"):
        exec(block, given)
    sources = {**given["SOURCES"], **given["recipe"]().corpus.sources}
    kinds = {config.model_fields["kind"].default for config in AnySource.__origin__.__args__}  # type: ignore[attr-defined]
    told = {config.kind for config in sources.values()}
    assert told | {config.kind for config in given["CORPUS"].sources.values()} == kinds - BUNDLED
    read = {}
    for name, config in sources.items():
        module = reader(config.kind)
        items = [item for part in module.parts(name, config) for item in module.read(part, config, 0)]
        assert not [item for item in items if isinstance(item, Drop)], name
        read[name] = [(item["text"], len(item["images"]), len(item["questions"])) for item in items]
    assert {name: len(items) for name, items in read.items()} == {
        **dict.fromkeys(sources, 1),
        "posts": 3,
        "photos": 3,
    }
    assert read["muge"] == [("高级感托特包斜挎", 2, 0)]
    assert read["ofa"] == [("春季新款针织开衫，温柔又显白", 1, 0)]
    assert read["iqa"] == [("问：他在骑什么？答：摩托车。", 1, 1)]
    assert read["coco"] == [("一只猫躺在沙发上。", 1, 0)]
    assert sorted(read["photos"]) == [("一只橘猫趴在窗台上", 1, 0), ("公园里的银杏", 1, 0), ("白色陶瓷马克杯", 1, 1)]
    assert [images for _, images, _ in read["saved"]] == [1]
