"""Questions: one Document a picture with all that is asked of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m6.config import UserError
from m6.corpus.config import CaptionsConfig, QuestionsConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read import by_picture
from m6.corpus.sources import captions, questions
from m6.corpus.starter import emoji_pictures

PICTURES = [emoji_pictures()[name] for name in sorted(emoji_pictures())[:5]]
# As FM-IQA is written: ids are texts, names of fields are capitalised, and val pictures lie in another folder.
FM_IQA = {
    "train": [
        {"question_id": "0", "image_id": "391895", "Question": "他在骑什么？", "Answer": "摩托车。"},
        {"question_id": "1", "image_id": "522418", "Question": "她在切什么", "Answer": "蛋糕"},
        {"question_id": "2", "image_id": "391895", "Question": "路是什么做的？", "Answer": "泥土"},
    ],
    "val": [{"question_id": "3", "image_id": "43734", "Question": "猫在哪里？", "Answer": "沙发上"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = {
        "train2014/COCO_train2014_000000391895.jpg": PICTURES[0],
        "train2014/COCO_train2014_000000522418.jpg": PICTURES[1],
        "val2014/COCO_val2014_000000043734.jpg": PICTURES[2],
        "7.jpg": PICTURES[3],
        "000000000008.jpg": PICTURES[4],
    }
    for name, data in names.items():
        (tmp_path / "coco" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "coco" / name).write_bytes(data)
    return tmp_path


def write(folder: Path, name: str, content: Any) -> str:
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(folder / name)


def outcomes(folder: Path, *paths: str, **fields: Any) -> list[Document | Drop]:
    config = QuestionsConfig(paths=paths, **{"image_root": str(folder / "coco"), **fields})
    return [item for part in questions.parts("iqa", config) for item in questions.read(part, config, 0)]


def reasons(items: list[Document | Drop]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Drop)]


def kept(items: list[Document | Drop]) -> list[Document]:
    return [item for item in items if not isinstance(item, Drop)]


def test_fm_iqa_becomes_one_document_a_picture(folder: Path) -> None:
    items = outcomes(folder, write(folder, "FM-IQA.json", FM_IQA), licence="CC BY 4.0")
    assert not reasons(items)
    bike, cake, cat = kept(items)
    assert bike["questions"] == [
        {"kind": "vqa", "question": "他在骑什么？", "answer": "摩托车。"},
        {"kind": "vqa", "question": "路是什么做的？", "answer": "泥土"},
    ]
    assert bike["text"] == "问：他在骑什么？答：摩托车。\n问：路是什么做的？答：泥土。"
    assert bike["images"][0]["bytes"] == PICTURES[0]
    assert cake["text"] == "问：她在切什么？答：蛋糕。"
    assert cat["attributes"] == {
        "file": "COCO_val2014_000000043734.jpg",
        "list": "val",
        "licence": "CC BY 4.0",
    }
    assert (cat["group"], cat["source"]) == ("COCO_val2014_000000043734", "iqa")
    assert cat["images"][0]["bytes"] == PICTURES[2]


def test_lists_and_other_names_of_pictures_are_read(folder: Path) -> None:
    rows = [
        {"image_id": 7, "question": "有几个？", "answer": "三个"},
        {"image_id": 8, "question": "有几个？", "answer": "两个"},
        {"image_id": "7.jpg", "question": "是猫吗？", "answer": "不是"},
        {"image_id": 7, "question": "有几个？", "answer": "三个"},  # once is enough
    ]
    items = outcomes(folder, write(folder, "list.json", rows))
    assert [one["attributes"]["file"] for one in kept(items)] == ["7.jpg", "000000000008.jpg", "7.jpg"]
    assert [len(one["questions"]) for one in kept(items)] == [1, 1, 1]


def test_answers_may_stand_in_a_file_of_their_own(folder: Path) -> None:
    asked = [{"image_id": 7, "question": text, "question_id": 70 + number} for number, text in enumerate("甲乙丙丁")]
    answered = [
        {"question_id": 70, "image_id": 7, "multiple_choice_answer": "一", "answers": [{"answer": "二"}]},
        {"question_id": 71, "image_id": 7, "answers": [{"answer": "二", "answer_id": 1}, {"answer": "三"}]},
        {"question_id": 73, "image_id": 7, "answers": []},
        "broken",
    ]
    paths = write(folder, "questions.json", {"data_type": "mscoco", "questions": asked, "license": {}})
    answers = write(folder, "answers.json", {"info": {}, "annotations": answered})
    items = outcomes(folder, paths, answer_paths=(answers,))
    assert reasons(items) == ["no answer", "no answer"]
    (document,) = kept(items)
    assert [(one["question"], one["answer"]) for one in document["questions"]] == [("甲", "一"), ("乙", "二")]
    with pytest.raises(UserError, match=r"corpus\.sources\.iqa\.answer_paths: .*no such file"):
        outcomes(folder, paths, answer_paths=(str(folder / "none.json"),))


def test_parts_say_the_same_as_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, "FM-IQA.json", {**FM_IQA, "more": [FM_IQA["train"][1], {"image_id": 1}, FM_IQA["val"][0]]})
    whole = outcomes(folder, path)
    assert len(whole) == 4
    for size in (1, 10, 100, 333):
        monkeypatch.setattr(by_picture, "BYTES_PER_PART", size)
        found = outcomes(folder, path)
        assert kept(found) == kept(whole)
        assert reasons(found) == reasons(whole) == ["no question"]


def test_each_bad_record_is_a_drop_with_its_reason(folder: Path) -> None:
    good = {"image_id": 7, "question": "有几个？", "answer": "三个"}
    (folder / "secret.jpg").write_bytes(PICTURES[0])
    (folder / "coco" / "page.jpg").write_bytes(b"<html><body>404")
    (folder / "coco" / "nothing.jpg").write_bytes(b"")
    cases: list[tuple[Any, str]] = [
        ({**good, "answer": None}, "no answer"),
        ({**good, "answer": ["三个"]}, "no answer"),
        ({**good, "question": None}, "no question"),
        ({**good, "question": 3}, "no question"),
        ({**good, "image_id": None}, "no image_id"),
        ({**good, "image_id": True}, "no image_id"),
        ({**good, "image_id": 12345}, "missing image"),
        ({**good, "image_id": -1}, "missing image"),
        ({**good, "image_id": "../secret.jpg"}, "image outside the folder"),
        ({**good, "image_id": "/etc/passwd"}, "image outside the folder"),
        ({**good, "image_id": "page.jpg"}, "image is HTML"),
        ({**good, "image_id": "nothing.jpg"}, "unreadable image"),
        ({**good, "question": "有\udc00几个？"}, "broken characters"),
        (["有几个？"], "not a JSON object"),
    ]
    for row, reason in cases:
        (folder / "rows.json").write_text(json.dumps([row]))
        items = outcomes(folder, str(folder / "rows.json"))
        assert reasons(items) == [reason], row
        assert "rows.json" in items[0].where  # type: ignore[union-attr]
    (folder / "rows.json").write_text(json.dumps([*(row for row, _ in cases), good]))
    assert len(kept(outcomes(folder, str(folder / "rows.json")))) == 1


def test_damaged_files_are_told_once(folder: Path) -> None:
    text = json.dumps(FM_IQA, ensure_ascii=False)
    gbk = {"train": [{**FM_IQA["train"][0], "Question": "他坐在木头椅子上看的是什么东西，是山还是水？"}]}
    files = {
        "cut.json": (text[: text.index("泥土")].encode(), ["truncated file"], 2),
        "page.json": (b"<html><body>404 Not Found</body></html>", ["not JSON"], 0),
        "empty.json": (b"", ["no records"], 0),
        "none.json": (b'{"train": [], "val": []}', ["no records"], 0),
        "gbk.json": (json.dumps(gbk, ensure_ascii=False).encode("gbk"), [], 1),
        "noise.json": (b"{" + bytes(range(255, 127, -1)) * 3, ["wrong encoding"], 0),
    }
    for name, (data, expected, number) in files.items():
        (folder / name).write_bytes(data)
        items = outcomes(folder, str(folder / name))
        assert (reasons(items), len(kept(items))) == (expected, number), name


def test_captions_and_questions_of_a_picture_fall_on_the_same_side(folder: Path) -> None:
    path = write(folder, "FM-IQA.json", FM_IQA)
    (folder / "coco.txt").write_text("COCO_val2014_000000043734#zhm#0 一只猫躺在沙发上。", encoding="utf-8")
    config = CaptionsConfig(paths=(str(folder / "coco.txt"),), image_root=str(folder / "coco"))
    (part,) = captions.parts("coco", config)
    (cat,) = kept(list(captions.read(part, config, 0)))
    assert cat["group"] == kept(outcomes(folder, path))[2]["group"]
