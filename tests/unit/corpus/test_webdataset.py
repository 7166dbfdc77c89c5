"""Tar shards: read as tarfile reads them, and whatever is damaged is told once."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from m6.config import UserError
from m6.corpus.config import ImageRules, WebDatasetConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.images.prepare import prepare
from m6.corpus.read import files
from m6.corpus.read.tar_members import TarDamageError, members
from m6.corpus.sources import webdataset
from m6.corpus.starter import emoji_pictures

PICTURES = [emoji_pictures()[name] for name in sorted(emoji_pictures())[:8]]
CAPTION = "一只黑白相间的小猫坐在木头椅子上。"
Members = list[tuple[str, bytes]]


def sample(number: int, caption: str | None = CAPTION, **fields: Any) -> Members:
    """A record as img2dataset writes it: picture, caption and metadata with an indent of 4."""
    key = f"{number:09d}"
    about = {
        "caption": caption,
        "url": f"https://example.cn/{number}.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": 64,
        "height": 64,
        "exif": "{}",
        "sha256": "0" * 64,
    }
    text = [(f"{key}.txt", caption.encode())] if caption is not None else []
    return [
        (f"{key}.jpg", PICTURES[number]),
        *text,
        (f"{key}.json", json.dumps({**about, **fields}, indent=4).encode()),
    ]


def tar(content: Members, fraction: float = 0.25, **options: Any) -> bytes:
    """As webdataset's TarWriter does it: the time is a fraction, so that each member has an extended header."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|", **options) as file:
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(data), 1_600_000_000 + fraction, "bigdata"
            file.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def outcomes(path: Path, **fields: Any) -> list[Document | Drop]:
    config = WebDatasetConfig(paths=(str(path),), **fields)
    return [item for part in webdataset.parts("web", config) for item in webdataset.read(part, config, 0)]


def reasons(items: list[Document | Drop]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Drop)]


def kept(items: list[Document | Drop]) -> list[Document]:
    return [item for item in items if not isinstance(item, Drop)]


def test_shards_of_img2dataset_are_read(tmp_path: Path) -> None:
    (tmp_path / "00000.tar").write_bytes(tar(sample(0) + sample(1, "第二张")))
    (tmp_path / "00000.parquet").write_bytes(b"beside the tar, ignored")
    (tmp_path / "00000_stats.json").write_text("{}")
    (tmp_path / "00001.tar.gz").write_bytes(gzip.compress(tar(sample(2), 0.0)))
    items = outcomes(tmp_path, licence="CC BY", attribute_fields=("sha256",))
    assert not reasons(items)
    found = kept(items)
    assert [one["text"] for one in found] == [CAPTION, "第二张", CAPTION]
    assert [one["images"][0]["bytes"] for one in found] == PICTURES[:3]
    assert found[1]["attributes"] == {"licence": "CC BY", "sha256": "0" * 64, "url": "https://example.cn/1.jpg"}
    assert found[0]["source"] == "web"


def test_text_may_stand_in_the_json_member_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    whole = sample(0) + sample(1)
    path.write_bytes(tar([one for one in whole if not one[0].endswith(".txt")]))
    assert [one["text"] for one in kept(outcomes(path))] == [CAPTION, CAPTION]
    assert len(kept(outcomes(path, text_field="caption"))) == 2
    assert outcomes(path, text_field="title_zh") == kept(outcomes(path))  # caption, if there is no such field
    path.write_bytes(tar(sample(0, None, title="小猫", keywords=["猫"], question="是什么？", answer="猫")))
    (one,) = kept(outcomes(path))
    assert (one["title"], one["text"], one["keywords"]) == ("小猫", "问：是什么？答：猫", ["猫"])


def test_records_are_members_of_one_key_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    content = [
        ("./x/1.2.txt", "甲".encode()),  # the key goes to the first dot of the base name
        ("./x/1.jpg", PICTURES[0]),
        ("./x/1.TXT", "乙".encode()),
        ("y.z/1.png", PICTURES[1]),  # a folder is part of the key
        ("y.z/1.txt", "丙".encode()),
        ("y.z/1.cls", b"3"),
        ("y.z/._1.png", b"resource fork"),
        ("LICENSE", b"no ending"),
        ("y.z/1.png", PICTURES[2]),  # a key again is another record
        ("y.z/1.txt", "丁".encode()),
        ("很长的名字" * 40 + "/1.webp", PICTURES[3]),
        ("很长的名字" * 40 + "/1.txt", "戊".encode()),
    ]
    expected = [("乙", PICTURES[0]), ("丙", PICTURES[1]), ("丁", PICTURES[2]), ("戊", PICTURES[3])]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path.write_bytes(tar(content, fraction=0.0, format=form))
        items = outcomes(path)
        assert not reasons(items)
        assert [(one["text"], one["images"][0]["bytes"]) for one in kept(items)] == expected


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("packed", [False, True])
def test_members_are_those_that_tarfile_gives(form: int, packed: bool) -> None:
    sizes = (0, 1, 511, 512, 513, 10_000)
    content = [(f"文件夹/{'a' * number * 10}{number}.txt", bytes([number]) * size) for number, size in enumerate(sizes)]
    if form == tarfile.USTAR_FORMAT:
        content = [(name[-60:], data) for name, data in content]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("../../etc/link.txt")
            info.type, info.linkname = kind, "/etc/passwd" * (1 if form == tarfile.USTAR_FORMAT else 20)
            file.addfile(info)
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    data = stream.getvalue()
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        expected = [(info.name, file.extractfile(info).read()) for info in file if info.isreg()]  # type: ignore[union-attr]
    raw: Any = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))) if packed else io.BytesIO(data)
    assert [(one.name, one.data) for one in members(raw, lambda name: 2**20)] == expected == content
    raw.seek(0)
    skipped = [one.data is None for one in members(raw, lambda name: 512)]
    assert skipped == [size > 512 for size in sizes]


def test_a_tar_cut_anywhere_keeps_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    whole = tar(sample(0) + sample(1) + sample(2))
    path.write_bytes(whole)
    expected = kept(outcomes(path))
    assert len(expected) == 3
    end = len(whole.rstrip(b"\0"))
    seen = set()
    for length in range(0, end, 256):
        path.write_bytes(whole[:length])
        items = outcomes(path)
        assert reasons(items) == ["truncated file" if length == 0 or length >= 512 else "not a tar file"]
        assert kept(items) == expected[: len(kept(items))]
        seen.add(len(kept(items)))
    assert seen == {0, 1, 2}
    packed = gzip.compress(whole)
    (tmp_path / "b.tar.gz").write_bytes(packed[: len(packed) - 2_000])
    items = outcomes(tmp_path / "b.tar.gz")
    assert reasons(items) == ["truncated file"]
    assert kept(items) == expected[: len(kept(items))]


def test_each_bad_record_is_a_drop_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "LONGEST_TEXT", 5_000)
    cases: list[tuple[Members, str]] = [
        (sample(0, None), "no text beside the picture"),
        (sample(0, ""), "no text beside the picture"),
        (sample(0)[:1], "no text beside the picture"),
        (sample(0)[1:], "missing image"),
        (sample(0, status="failed_to_download", error_message="HTTP Error 404"), "not downloaded"),
        ([("1.jpg", bytes(50_000)), ("1.txt", b"x")], "large image file"),
        ([("1.jpg", PICTURES[0]), ("1.txt", b"x" * 6_000)], "long text"),
        ([("1.jpg", PICTURES[0]), ("1.json", b"[" * 6_000)], "long text"),
        ([("1.jpg", PICTURES[0]), ("1.json", b"[" * 4_000)], "not JSON"),
        ([("1.jpg", PICTURES[0]), ("1.json", b"[1]")], "not a JSON object"),
        ([("1.jpg", PICTURES[0]), ("1.json", b'{"caption": 3}')], "a field is not a text"),
        ([("1.jpg", PICTURES[0]), ("1.txt", bytes(range(255, 127, -1)))], "wrong encoding"),
        ([("1.jpg", b"<!DOCTYPE html><html>404"), ("1.txt", b"x")], "image is HTML"),
        ([("1.jpg", b""), ("1.txt", b"x")], "unreadable image"),
    ]
    path = tmp_path / "a.tar"
    rules = ImageRules(most_bytes=40_000)
    for content, reason in cases:
        path.write_bytes(tar(content))
        (item,) = outcomes(path, images=rules)
        assert isinstance(item, Drop), reason
        assert (item.reason, item.where.split(", ")[0]) == (reason, str(path))
    renamed = [(f"{number}_{name}", data) for number, (content, _) in enumerate(cases) for name, data in content]
    path.write_bytes(tar(renamed + sample(7)))
    items = outcomes(path, images=rules)
    assert reasons(items) == [reason for _, reason in cases]
    assert len(kept(items)) == 1
    path.write_bytes(tar(sample(0)[1:]))
    assert kept(outcomes(path, needs_image=False))[0]["images"] == []


def test_encodings_of_texts_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    text = "一隻小貓坐在木頭椅子上。"
    for encoding in ("gbk", "big5", "utf-16"):
        path.write_bytes(tar([("1.jpg", PICTURES[0]), ("1.txt", text.encode(encoding))]))
        assert kept(outcomes(path))[0]["text"] == text


def test_halves_of_characters_do_not_break_a_record(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    about = {"caption": "猫\ud83d", "url": "http://a/\udc00"}
    path.write_bytes(tar([("1.jpg", PICTURES[0]), ("1.json", json.dumps(about).encode())]))
    (one,) = kept(outcomes(path))
    assert (one["text"], one["attributes"]["url"]) == ("猫\ufffd", "http://a/\ufffd")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(stream, "PNG")
    path = tmp_path / "a.tar"
    path.write_bytes(tar([("1.png", stream.getvalue()), ("1.txt", CAPTION.encode())]))
    (one,) = kept(outcomes(path))  # small in bytes; the rules look at its header before it is decoded
    assert prepare(one["images"][0]["bytes"], ImageRules(), 64) == "large image"

    monkeypatch.setattr(files, "_FREE_BYTES", 2**20)
    zeros = tar(sample(0))[:-10_240] + tar([("2.txt", bytes(8 * 2**20))])
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(zeros))
    (drop,) = [item for item in outcomes(tmp_path / "b.tar.gz") if isinstance(item, Drop)]
    assert drop.reason == "unreadable file"
    assert "unpacks to more than" in drop.sample

    header = tarfile.TarInfo("name")
    header.type, header.size = tarfile.XHDTYPE, 2**40  # a name of a terabyte
    path.write_bytes(tar(sample(0))[:-10_240] + header.tobuf(tarfile.GNU_FORMAT))
    assert reasons(outcomes(path)) == ["damaged file"]
    for size in (2**40, 2**80):  # a picture of a terabyte, and more than there can be
        header = tarfile.TarInfo("000000001.jpg")
        header.size = size
        path.write_bytes(tar(sample(0))[:-10_240] + header.tobuf(tarfile.GNU_FORMAT))
        assert reasons(outcomes(path)) == ["truncated file" if size == 2**40 else "damaged file"]

    monkeypatch.setattr(webdataset, "LARGEST_RECORD", 30_000)
    path.write_bytes(tar([("1.txt", b"x"), *((f"1.{number}.png", bytes(9_000)) for number in range(9))]))
    assert reasons(outcomes(path)) == ["large image file"]


def test_what_is_no_tar_is_told_once(tmp_path: Path) -> None:
    whole = tar(sample(0) + sample(1))
    damaged = bytearray(whole)
    second = whole.index(b"000000001.jpg")
    damaged[second] ^= 1
    broken = {
        "page.tar": (b"<html><body>404" * 100, ["not a tar file"]),
        "nothing.tar": (b"", ["truncated file"]),
        "empty.tar": (tar([]), ["no records"]),
        "noise.tar.gz": (b"no gzip at all" * 99, ["unreadable file"]),
        "damaged.tar": (bytes(damaged), ["damaged file"]),
    }
    for name, (data, expected) in broken.items():
        (tmp_path / name).write_bytes(data)
        assert reasons(outcomes(tmp_path / name)) == expected, name
    with pytest.raises(TarDamageError):
        list(members(io.BytesIO(b"x" * 1_000), lambda name: 0))


def test_webdatasets_need_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.sources\.web\.paths: .*no such file"):
        outcomes(tmp_path / "none.tar")
    (tmp_path / "a.tar").write_bytes(tar(sample(0)))
    with pytest.raises(UserError, match=r"corpus\.sources\.web\.encoding"):
        outcomes(tmp_path, encoding="gkb")
    whole = tuple(str(tmp_path / name) for name in ("b{08..10}.tar",))
    for number in ("08", "09", "10"):
        (tmp_path / f"b{number}.tar").write_bytes(tar(sample(int(number) % 8)))
    assert len(webdataset.parts("web", WebDatasetConfig(paths=whole))) == 3
