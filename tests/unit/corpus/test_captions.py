"""Captions: one Document a picture with all that is said of it, however the file is written and cut."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from m6.config import UserError
from m6.corpus.config import CaptionsConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read import by_picture
from m6.corpus.sources import captions
from m6.corpus.starter import emoji_pictures
from tests.unit.corpus.reading import same

PICTURES = [emoji_pictures()[name] for name in sorted(emoji_pictures())[:6]]
CAT, MUG = "COCO_val2014_000000043734", "COCO_train2014_000000391895"
LINES = [
    f"{CAT}#zhm#0 一只猫躺在沙发上。",
    f"{MUG}#zhm#0\t一个男人骑着摩托车。",
    f"{CAT}#zhm#1 沙发 上 有 一只 橘猫。",
    f"{CAT}#zhm#2 一只猫躺在沙发上。",  # said once is enough
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in {f"val2014/{CAT}.jpg": PICTURES[0], f"train2014/{MUG}.jpg": PICTURES[1]}.items():
        (tmp_path / "coco" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "coco" / name).write_bytes(data)
    return tmp_path


def outcomes(folder: Path, *names: str, **fields: Any) -> list[Document | Drop]:
    config = CaptionsConfig(
        paths=tuple(str(folder / name) for name in names), **{"image_root": str(folder / "coco"), **fields}
    )
    return [item for part in captions.parts("coco", config) for item in captions.read(part, config, 0)]


def documents(items: list[Document | Drop]) -> list[Document]:
    assert not [item for item in items if isinstance(item, Drop)]
    return items  # type: ignore[return-value]


def reasons(items: list[Document | Drop]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Drop)]


def coco(annotations: list[Any], images: list[Any] | None = None) -> str:
    """As COCO writes its captions, with what stands beside them there."""
    given = [
        {"license": 5, "file_name": f"{CAT}.jpg", "height": 360, "width": 640, "id": 43734},
        {"license": 2, "file_name": f"{MUG}.jpg", "height": 480, "width": 640, "id": 391895},
    ]
    about = {"info": {"year": 2014}, "licenses": [{"id": 1, "name": "CC BY"}]}
    return json.dumps({**about, "images": given if images is None else images, "annotations": annotations})


ANNOTATIONS = [
    {"image_id": 43734, "id": 1, "caption": "一只猫躺在沙发上。"},
    {"image_id": 391895, "id": 2, "caption": "一个男人骑着摩托车。"},
    {"image_id": 43734, "id": 3, "caption": "沙发 上 有 一只 橘猫。"},
]


def test_lines_become_one_document_a_picture_with_all_its_captions(folder: Path) -> None:
    (folder / "captions.txt").write_text("\n".join(LINES), encoding="utf-8")
    cat, mug = documents(outcomes(folder, "captions.txt"))
    assert cat["text"] == "一只猫躺在沙发上。"
    assert cat["attributes"] == {"file": f"{CAT}.jpg", "captions": "一只猫躺在沙发上。\n沙发 上 有 一只 橘猫。"}
    assert cat["images"][0]["bytes"] == PICTURES[0]
    assert (mug["text"], mug["group"], mug["source"]) == ("一个男人骑着摩托车。", MUG, "coco")
    assert mug["images"][0]["bytes"] == PICTURES[1]


def test_json_says_the_same_as_lines_wherever_the_names_stand(folder: Path) -> None:
    (folder / "captions.txt").write_text("\n".join(LINES), encoding="utf-8")
    whole = json.loads(coco(ANNOTATIONS))
    (folder / "coco.json").write_text(json.dumps(whole))
    (folder / "last.json").write_text(json.dumps(dict(reversed(whole.items())), ensure_ascii=False))
    (folder / "coco.json.gz").write_bytes(gzip.compress(json.dumps(whole).encode()))
    challenger = [  # a list, with the captions of a picture together
        {"url": "http://x/1", "image_id": f"{CAT}.jpg", "caption": ["一只猫躺在沙发上。", "沙发 上 有 一只 橘猫。"]},
        {"url": "http://x/2", "image_id": f"{MUG}.jpg", "caption": ["一个男人骑着摩托车。"]},
    ]
    (folder / "list.json").write_text(json.dumps(challenger, ensure_ascii=False), encoding="utf-8")
    lines = outcomes(folder, "captions.txt")
    for name in ("coco.json", "last.json", "coco.json.gz", "list.json"):
        assert list(map(same, outcomes(folder, name))) == list(map(same, lines)), name


def test_parts_say_the_same_as_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "captions.txt").write_text("\n".join([*LINES, "nonsense", f"{MUG}#zhm#1 街上。"]), encoding="utf-8")
    (folder / "coco.json").write_text(coco([*ANNOTATIONS, {"image_id": 1}, {"image_id": 391895, "caption": "街上。"}]))
    for name, number in (("captions.txt", 3), ("coco.json", 3)):
        whole = outcomes(folder, name)
        assert len(whole) == number
        for size in (1, 7, 64, 300):
            monkeypatch.setattr(by_picture, "BYTES_PER_PART", size)
            found = outcomes(folder, name)
            assert [item for item in found if isinstance(item, dict)] == whole[1:], (name, size)
            assert [item for item in found if isinstance(item, Drop)] == whole[:1]
        monkeypatch.undo()


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-8-sig", "utf-16"])
def test_other_encodings_are_found_and_can_be_named(folder: Path, encoding: str) -> None:
    said = ("一隻小貓坐在木椅上看著山水。", "有一隻小貓在家裡的木椅上。")
    text = "\n".join(f"{CAT}#zhm#{number} {caption}" for number, caption in enumerate(said))
    (folder / "captions.txt").write_bytes(text.encode(encoding))
    for given in ("auto", encoding):
        (cat,) = documents(outcomes(folder, "captions.txt", encoding=given))
        assert cat["attributes"]["captions"] == "\n".join(said)


def test_a_wrong_encoding_is_a_drop_and_an_unknown_one_a_line(folder: Path) -> None:
    (folder / "captions.txt").write_bytes("\n".join(LINES).encode("gb18030"))
    assert reasons(outcomes(folder, "captions.txt", encoding="utf-8")) == ["broken characters"] * len(LINES)
    with pytest.raises(UserError, match=r"corpus\.sources\.coco\.encoding: no encoding 'gbkk'"):
        outcomes(folder, "captions.txt", encoding="gbkk")


def test_flickr_names_and_parts_of_speech_are_read(folder: Path) -> None:
    for name, data in {"12345.jpg": PICTURES[2], "678.png": PICTURES[3], "a b.jpg": PICTURES[4]}.items():
        (folder / "coco" / name).write_bytes(data)
    lines = ["12345.jpg#zhb#0 两:m 个:q 年轻:a 男子:n", "678#0\t时间：8:30，一只狗", "a b.jpg\t有 空格"]
    (folder / "captions.txt").write_text("\r\n".join(lines), encoding="utf-8")
    found = documents(outcomes(folder, "captions.txt"))
    assert [one["text"] for one in found] == ["两个年轻男子", "时间：8:30，一只狗", "有 空格"]
    assert [one["attributes"]["file"] for one in found] == ["12345.jpg", "678.png", "a b.jpg"]


def test_each_bad_record_is_a_drop_with_its_reason(folder: Path) -> None:
    (folder / "secret.jpg").write_bytes(PICTURES[5])
    (folder / "coco" / "large.jpg").write_bytes(bytes(5_000))
    (folder / "coco" / "page.jpg").write_bytes(b"<!DOCTYPE html><title>404</title>")
    images = [
        {"id": 1, "file_name": "../secret.jpg"},
        {"id": 2, "file_name": "/etc/hostname.jpg"},
        {"id": 3, "file_name": "large.jpg"},
        {"id": 4, "file_name": "page.jpg"},
        {"id": 4, "file_name": "../secret.jpg"},  # the first of two with one id counts
        {"id": 5},
        {"id": 6, "file_name": "a\0b.jpg"},
        "猫",
    ]
    cases: list[tuple[Any, str]] = [
        ({"image_id": 1, "caption": "猫"}, "image outside the folder"),
        ({"image_id": 2, "caption": "猫"}, "image outside the folder"),
        ({"image_id": 3, "caption": "猫"}, "large image file"),
        ({"image_id": 4, "caption": "猫"}, "image is HTML"),
        ({"image_id": 5, "caption": "猫"}, "missing image"),
        ({"image_id": 6, "caption": "猫"}, "missing image"),
        ({"image_id": 99, "caption": "猫"}, "missing image"),
        ({"image_id": 1, "caption": None}, "no caption"),
        ({"image_id": 1, "caption": "  "}, "no caption"),
        ({"image_id": 1}, "no caption"),
        ({"image_id": None, "caption": "猫"}, "no image_id"),
        ({"caption": "猫"}, "no image_id"),
        ({"image_id": 7, "caption": "猫\ud800"}, "broken characters"),
        (None, "not a JSON object"),
    ]
    rules = CaptionsConfig().images.model_copy(update={"most_bytes": 4_000})
    for annotation, reason in cases:
        (folder / "coco.json").write_text(coco([annotation], images))
        items = outcomes(folder, "coco.json", images=rules)
        assert reasons(items) == ["not a JSON object", reason], annotation  # the first is "猫"
        assert isinstance(items[1], Drop)
        assert items[1].where == f"{folder / 'coco.json'}, annotations[0]"
    (folder / "coco.json").write_text(coco([annotation for annotation, _ in cases], images))
    assert sorted(reasons(outcomes(folder, "coco.json", images=rules))) == sorted(
        ["not a JSON object", *(reason for _, reason in cases)]
    )


def test_damaged_files_are_told_once_and_keep_what_is_whole(folder: Path) -> None:
    text = coco(ANNOTATIONS)
    last = text.rindex("{")
    packed = gzip.compress(text[:last].encode() + b" " * 3_000_000 + text[last:].encode(), 0)
    files = {
        "cut.json": (text[:last].encode(), ["truncated file"], 2),
        "cut.json.gz": (packed[:-1_000_000], ["truncated file"], 2),
        "bad.json.gz": (b"no gzip at all" * 9, ["unreadable file"], 0),
        "page.json": (b"<html>\n<body>404", ["not a line of name and caption"] * 2, 0),
        "empty.txt": (b"", ["no records"], 0),
        "empty.json": (b"{}", ["no records"], 0),
        "noise.json": (b"{" + bytes(range(255, 127, -1)) * 3, ["wrong encoding"], 0),
    }
    for name, (data, expected, number) in files.items():
        (folder / name).write_bytes(data)
        items = outcomes(folder, name)
        assert (reasons(items), len(items) - len(expected)) == (expected, number), name


def test_a_line_too_long_is_counted_and_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_picture, "LONGEST_LINE", 100)
    (folder / "captions.txt").write_text(f"{CAT}#zhm#0 {'猫' * 1_000}\n{LINES[1]}\n", encoding="utf-8")
    for size in (2**20, 10):
        monkeypatch.setattr(by_picture, "BYTES_PER_PART", size)
        items = outcomes(folder, "captions.txt")
        assert reasons(items) == ["long line"]
        assert [one["group"] for one in items if isinstance(one, dict)] == [MUG]


def test_captions_need_files_and_pictures_beside_them_are_found(folder: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.sources\.coco\.paths: no files given"):
        outcomes(folder)
    with pytest.raises(UserError, match="no such file"):
        outcomes(folder, "none.json")
    (folder / "coco" / "captions.txt").write_text("\n".join(LINES), encoding="utf-8")
    assert len(documents(outcomes(folder / "coco", "captions.txt", image_root=""))) == 2
    sides = {one["split"] for one in documents(outcomes(folder, "coco/captions.txt", heldout_share=1.0))}
    assert sides == {"heldout"}
