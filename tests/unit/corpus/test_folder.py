"""A folder of pictures: texts beside them in any form and encoding, and nothing from outside."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from m6.config import UserError
from m6.corpus.config import FolderConfig, ImageRules
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.sources import folder
from m6.corpus.starter import emoji_pictures

PICTURES = [emoji_pictures()[name] for name in sorted(emoji_pictures())[:12]]
CAPTION = "一只黑白相间的小猫坐在木头椅子上。"


def outcomes(path: Path, **fields: Any) -> list[Document | Drop]:
    config = FolderConfig(path=str(path), **fields)
    return [item for part in folder.parts("photos", config) for item in folder.read(part, config, 0)]


def reasons(path: Path, items: list[Document | Drop]) -> dict[str, str]:
    return {os.path.relpath(item.where, path): item.reason for item in items if isinstance(item, Drop)}


def kept(items: list[Document | Drop]) -> dict[str, Document]:
    return {item["attributes"]["file"]: item for item in items if not isinstance(item, Drop)}


def put(path: Path, picture: bytes, text: str | bytes | None = None, ending: str = ".txt") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    if text is not None:
        path.with_suffix(ending).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_pairs_in_all_folders_are_found_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "deep/er/b.PNG", ".hidden.png", ".trash/c.png", "猫.d.jpg")):
        put(tmp_path / name, PICTURES[number], f"{CAPTION}{number}")
    (tmp_path / "notes.txt").write_text("no picture beside it")
    items = outcomes(tmp_path, licence="CC0")
    assert not reasons(tmp_path, items)
    found = kept(items)
    assert sorted(found) == ["a.png", "deep/er/b.PNG", "猫.d.jpg"]
    assert found["deep/er/b.PNG"]["text"] == f"{CAPTION}1"
    assert found["deep/er/b.PNG"]["images"][0]["bytes"] == PICTURES[1]
    assert found["deep/er/b.PNG"]["group"] == "deep/er/b.PNG"
    assert found["a.png"]["attributes"]["licence"] == "CC0"
    assert found["a.png"]["source"] == "photos"


@pytest.mark.parametrize("encoding", ["gbk", "big5", "utf-8-sig", "utf-16"])
def test_texts_of_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    text = "一隻小貓坐在木頭椅子上。"
    put(tmp_path / "a.png", PICTURES[0], text.encode(encoding))
    for given in ("auto", encoding):
        assert kept(outcomes(tmp_path, encoding=given))["a.png"]["text"] == text


def test_fields_stand_in_a_json_file(tmp_path: Path) -> None:
    record = {"caption": CAPTION, "title": "小猫", "keywords": "猫，椅子", "question": "在哪？", "answer": "椅子上"}
    put(tmp_path / "a.png", PICTURES[0], json.dumps({**record, "image": "../b.png", "file": "b"}), ".json")
    put(tmp_path / "b.png", PICTURES[1], json.dumps({"label": CAPTION, "text": "别的"}, ensure_ascii=False), ".json")
    put(tmp_path / "both.png", PICTURES[2], '{"text": "来自 JSON"}', ".json")
    (tmp_path / "both.txt").write_text("来自文本", encoding="utf-8")
    found = kept(outcomes(tmp_path))
    assert (found["a.png"]["text"], found["a.png"]["title"]) == (CAPTION, "小猫")
    assert found["a.png"]["keywords"] == ["猫", "椅子"]
    assert found["a.png"]["questions"] == [{"kind": "vqa", "question": "在哪？", "answer": "椅子上"}]
    assert found["a.png"]["images"][0]["bytes"] == PICTURES[0]
    assert found["both.png"]["text"] == "来自文本"
    assert kept(outcomes(tmp_path, text_field="label"))["b.png"]["text"] == CAPTION


def test_each_bad_file_is_a_drop_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LONGEST_TEXT", 400)
    (tmp_path / "secret").mkdir()
    put(tmp_path / "secret" / "s.png", PICTURES[0], CAPTION)
    root = tmp_path / "in"
    put(root / "alone.png", PICTURES[0])
    put(root / "noise.png", PICTURES[0], bytes(range(255, 127, -1)))
    put(root / "long.png", PICTURES[0], "写得太长" * 100)
    put(root / "large.png", bytes(50_000), CAPTION)
    put(root / "page.png", b"<!DOCTYPE html><html><body>404", CAPTION)
    put(root / "empty.png", b"", CAPTION)
    put(root / "broken.png", PICTURES[0], '{"text": ', ".json")
    put(root / "deep.png", PICTURES[0], "[" * 390, ".json")
    put(root / "list.png", PICTURES[0], "[1]", ".json")
    put(root / "null.png", PICTURES[0], '{"txt": null}', ".json")
    put(root / "number.png", PICTURES[0], '{"text": 3}', ".json")
    put(root / "linked.png", PICTURES[0])
    (root / "linked.txt").symlink_to(tmp_path / "secret" / "s.txt")
    (root / "out.png").symlink_to(tmp_path / "secret" / "s.png")
    (root / "out.txt").write_text(CAPTION, encoding="utf-8")
    (root / "gone.png").symlink_to(tmp_path / "nothing")
    (root / "gone.txt").write_text(CAPTION, encoding="utf-8")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root)
    (root / "inside.png").symlink_to(root / "alone.png")
    (root / "inside.txt").write_text(CAPTION, encoding="utf-8")
    items = outcomes(root, images=ImageRules(most_bytes=40_000))
    assert reasons(root, items) == {
        "alone.png": "no text beside the picture",
        "noise.png": "wrong encoding",
        "long.png": "long text",
        "large.png": "large image file",
        "page.png, field image": "image is HTML",
        "empty.png, field image": "unreadable image",
        "broken.png": "not JSON",
        "deep.png": "not JSON",
        "list.png": "not a JSON object",
        "null.png, field text": "missing field",
        "number.png, field text": "a field is not a text",
        "linked.png": "text outside the folder",
        "out.png": "image outside the folder",
        "gone.png": "image outside the folder",
        "folder": "linked folder",
        "loop": "linked folder",
    }
    assert list(kept(items)) == ["inside.png"]


def test_names_that_are_no_utf_8_are_read_and_can_be_told(tmp_path: Path) -> None:
    def path(stem: str, ending: str) -> Path:
        return Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + stem.encode("gbk") + ending.encode()))

    path("狗", ".png").write_bytes(PICTURES[0])
    path("狗", ".txt").write_text("一只狗", encoding="utf-8")
    path("鸟", ".png").write_bytes(PICTURES[1])
    items = outcomes(tmp_path)
    assert list(kept(items)) == ["\\xb9\\xb7.png"]
    assert reasons(tmp_path, items) == {"\\xc4\\xf1.png": "no text beside the picture"}


def test_parts_have_each_picture_once_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        put(tmp_path / str(number % 3) / f"{number}.png", PICTURES[number % 12], f"{CAPTION}{number}")
    config = FolderConfig(path=str(tmp_path))
    whole = outcomes(tmp_path)
    assert len(folder.parts("photos", config)) == 1
    assert len(kept(whole)) == 40
    for size, most in ((1, 128), (7, 128), (1, 3)):
        monkeypatch.setattr(folder, "PICTURES_PER_PART", size)
        monkeypatch.setattr(folder, "MOST_PARTS", most)
        assert len(folder.parts("photos", config)) == min(-(-40 // size), most)
        assert outcomes(tmp_path) == whole


def test_a_folder_must_be_there_and_hold_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "none", "is no folder"), (tmp_path / "empty", "no pictures")):
        with pytest.raises(UserError, match=rf"corpus\.sources\.photos\.path: .*{message}"):
            outcomes(path)
    with pytest.raises(UserError, match=r"corpus\.sources\.photos\.encoding: no encoding 'utf8x'"):
        outcomes(tmp_path, encoding="utf8x")
