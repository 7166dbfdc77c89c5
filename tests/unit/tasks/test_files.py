"""Plain data files: the splits they are found as, and every line that says what is wrong with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from m6.config import UserError
from m6.tasks.example import PictureAt
from m6.tasks.files import has_split, read_split, split_name
from m6.tasks.names import SUMMARIES

VQA = {"image": "a.png", "question": "这是什么？", "answer": "猫"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"not read before it is used")
    return tmp_path


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def said(name: str, path: Path, split: str = "train") -> str:
    """What a mistake is answered with: one line."""
    with pytest.raises(UserError) as caught:
        read_split(name, path, split)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("file", ["validation", "valid", "dev", "val"])
def test_splits_are_found_by_their_usual_names(file: str, folder: Path) -> None:
    write(folder / f"{file}.jsonl", VQA)
    for split in ("validation", "dev"):
        (example,) = read_split("visual_question_answering", folder, split)
        assert example.key == f"{file}.jsonl line 1"
        assert example.picture == PictureAt(folder / "a.png")
    assert "no train split; there is validation" in said("visual_question_answering", folder)


def test_which_splits_there_are(folder: Path) -> None:
    """A single file has none: it would be a test of itself."""
    name = "visual_question_answering"
    file = write(folder / "dev.jsonl", VQA)
    assert [has_split(name, folder, split) for split in ("train", "validation", "test")] == [False, True, False]
    assert [has_split(name, file, split) for split in ("train", "validation", "test")] == [False, False, False]
    fm_iqa = Path(__file__).parents[2] / "fixtures/tasks/fm_iqa"
    assert [has_split(name, fm_iqa, split) for split in ("train", "validation", "test")] == [True, True, False]
    assert not has_split("captioning", fm_iqa, "train")
    assert not has_split(name, folder / "nowhere", "train")


def test_a_single_file_is_any_split(folder: Path) -> None:
    file = write(folder / "mine.jsonl", VQA)
    assert read_split("visual_question_answering", file, "train") == read_split(
        "visual_question_answering", file, "test"
    )


def test_lines_and_texts_are_tolerated_where_nothing_is_lost(folder: Path) -> None:
    """A byte order mark, blank lines, blanks around a text, a key that comes twice, fields that nobody asked for, a
    record that comes twice."""
    line = '{"image": "a.png", "question": "旧", "question": " 这是什么？ ", "answer": "猫", "id": 7}'
    (folder / "train.jsonl").write_text(f"\ufeff{line}\r\n\n  \n{line}\n", encoding="utf-8")
    examples = read_split("visual_question_answering", folder, "train")
    assert [(one.key, one.prompt) for one in examples] == [
        ("train.jsonl line 1", "这是什么？"),
        ("train.jsonl line 4", "这是什么？"),
    ]


@pytest.mark.parametrize(
    ("name", "record", "message"),
    [
        ("visual_question_answering", {"image": "a.png", "question": "什么"}, 'no field "answer" or "answers"'),
        ("visual_question_answering", {**VQA, "image": "b.png"}, "field \"image\": no file 'b.png' in "),
        ("visual_question_answering", {**VQA, "image": 3}, 'field "image": 3 is no text'),
        ("visual_question_answering", {**VQA, "question": ["什么"]}, "field \"question\": ['什么'] is no text"),
        ("visual_question_answering", {**VQA, "question": " "}, 'field "question": an empty text'),
        ("visual_question_answering", {**VQA, "answers": ["猫"]}, 'fields "answer" and "answers": give one of them'),
        ("visual_question_answering", {**VQA, "answer": 1}, 'field "answer": 1 is no list of texts'),
        ("visual_question_answering", {**VQA, "choices": ["狗", "鸟"]}, "the answer '猫' is none of 狗, 鸟"),
        (
            "visual_question_answering",
            {**VQA, "choices": ["猫"]},
            'field "choices": a list of 1; it needs',
        ),
        ("captioning", {"image": "a.png", "captions": []}, 'field "captions": a list of 0; it needs at least 1'),
        ("captioning", {"image": "a.png", "captions": ["猫", 1]}, 'field "captions": 1 is no text'),
        ("captioning", {"image": "a.png", "caption": "猫", "keywords": 5}, 'field "keywords": 5 is no list of texts'),
        ("product_description", {"description": "好"}, 'none of the fields "title", "attributes", "image"'),
        ("product_description", {"description": "好", "attributes": "红"}, "is no object of names and values"),
        ("product_description", {"description": "好", "attributes": {"色": ["红"]}}, "['红'] is no text"),
        ("question_answering", {"question": "什么"}, 'no field "answer" or "answers"'),
        ("poems", {"title": "春晓", "poem": "春眠"}, 'no field "form"'),
        ("matching", {"image": "a.png", "text": "猫", "label": "也许"}, "allowed are true or false, 是 or 否, 1 or 0"),
        ("matching", {"image": "a.png", "text": "猫"}, "this looks like data of text_to_image"),
        ("matching", {"image": "a.png", "text": "猫", "negatives": ["猫"]}, "the text itself, '猫', is among them"),
        ("matching", {"image": "a.png", "text": "猫", "negatives": []}, 'field "negatives": a list of 0'),
        ("retrieval", {"image": "a.png", "texts": {}}, 'field "texts": {} is no list of texts'),
        ("classification", {"text": "球", "label": ["体育"]}, "field \"label\": ['体育'] is no text"),
    ],
)
def test_a_wrong_record_is_named_by_file_line_and_field(
    name: str, record: dict[str, Any], message: str, folder: Path
) -> None:
    write(folder / "train.jsonl", record)
    line = said(name, folder)
    assert line.startswith(f"{folder / 'train.jsonl'}, line 1: ")
    assert message in line
    assert f"a record of {name} has " in line


RECORDS: dict[str, dict[str, Any]] = {
    "visual_question_answering": VQA,
    "captioning": {"image": "a.png", "caption": "猫"},
    "product_description": {"title": "伞", "description": "好"},
    "question_answering": {"question": "什么", "answer": "猫"},
    "poems": {"title": "春晓", "form": "五言绝句", "poem": "春眠"},
    "matching": {"image": "a.png", "text": "猫", "negatives": ["狗"]},
    "retrieval": {"image": "a.png", "texts": ["猫"]},
    "classification": {"text": "球", "label": "体育"},
    "text_to_image": {"text": "一只猫", "image": "a.png"},
}


@pytest.mark.parametrize("given", SUMMARIES)
@pytest.mark.parametrize("asked", SUMMARIES)
def test_data_of_another_task_is_named(given: str, asked: str, folder: Path) -> None:
    """Also where a record has all that the task asks for, as a question about a picture for one without."""
    records = [RECORDS[given]]
    if given == "classification":
        records.append({"text": "歌", "label": "音乐"})
    write(folder / "train.jsonl", *records)
    if given == asked:
        assert read_split(asked, folder, "train")
    else:
        assert f"this looks like data of {given}" in said(asked, folder)


def test_files_that_are_no_data(folder: Path) -> None:
    name = "visual_question_answering"
    assert "no such file or folder; give a file of JSON lines, a folder with train.jsonl" in said(name, folder / "x")
    assert "no data of a task is recognised" in said(name, folder)
    assert "muge_captioning" in said(name, folder)
    file = folder / "train.jsonl"
    file.write_text("")
    assert said(name, folder) == f"{folder}: the train split is empty"
    file.write_text(json.dumps(VQA) + '\n{"image": \n', encoding="utf-8")
    assert "train.jsonl, line 2: broken JSON, Expecting value at column 11" in said(name, folder)
    file.write_text("[1]\n")
    assert "line 1: no JSON object but list" in said(name, folder)
    file.write_bytes("图片和文字".encode("gb18030"))
    assert "not UTF-8" in said(name, folder)
    assert "no split 'tests'; allowed: train, validation, test, and test-..." in said(name, folder, "tests")
    assert "did you mean 'poems'" in said("poem", folder)


def test_parts_of_a_test_split_have_names(folder: Path) -> None:
    name = "visual_question_answering"
    write(folder / "train.jsonl", VQA)
    write(folder / "test-concept.jsonl", VQA, {**VQA, "answer": None})
    assert len(read_split(name, folder, "test-concept")) == 2
    assert f"{folder}: no test-picture split; there is train, test-concept" in said(name, folder, "test-picture")
    assert "no split 'test-../train'" in said(name, folder, "test-../train")


def test_only_a_test_split_may_leave_answers_untold(folder: Path) -> None:
    write(folder / "train.jsonl", VQA, {**VQA, "answer": None})
    assert "train.jsonl line 2: no answer is told; only a test split may" in said("visual_question_answering", folder)
    write(folder / "test.jsonl", VQA, {**VQA, "answer": None})
    assert [one.answers for one in read_split("visual_question_answering", folder, "test")] == [("猫",), ()]
    for split, count in (("dev", 2), ("train", 1)):
        write(folder / f"{split}.jsonl", {"image": "a.png", "texts": []}, {"image": "a.png", "texts": ["猫"]})
        assert len(read_split("retrieval", folder, split)) == count
    write(folder / "train.jsonl", {"image": "a.png", "texts": []})
    assert "no answer is told" in said("retrieval", folder)


def test_labels_are_those_of_the_training_split_or_of_a_file(folder: Path) -> None:
    write(folder / "train.jsonl", {"text": "球", "label": "体育"}, {"text": "歌", "label": "音乐"})
    test = write(folder / "test.jsonl", {"text": "球", "label": "体育"}, {"text": "船", "label": "军事"})
    assert {one.choices for one in read_split("classification", folder, "train")} == {("体育", "音乐")}
    for path in (folder, test):  # the file alone finds the training split beside it
        line = said("classification", path, "test")
        assert "test.jsonl line 2: field \"label\": '军事' is no label; allowed: 体育, 音乐" in line
    (folder / "labels.txt").write_text("音乐\n军事\n体育\n", encoding="utf-8")
    assert {one.choices for one in read_split("classification", folder, "test")} == {("音乐", "军事", "体育")}
    (folder / "labels.txt").write_text("音乐\n")
    assert "1 labels; there have to be two" in said("classification", folder)


def test_labels_that_nobody_tells(folder: Path) -> None:
    write(folder / "test.jsonl", {"text": "球", "label": "体育"})
    assert "which labels there are is not told; put labels.txt" in said("classification", folder, "test")
    write(folder / "train.jsonl", {"text": "球", "label": 1})
    assert "all labels are '1'; there have to be two" in said("classification", folder)


def test_a_picture_is_not_decoded_when_it_is_read_about(folder: Path) -> None:
    """But where it lies can be told, for the line that says that it cannot be decoded."""
    (example,) = read_split("visual_question_answering", write(folder / "train.jsonl", VQA), "train")
    assert str(example.picture) == str(folder / "a.png")
    assert str(PictureAt(folder / "a.tsv", 7, 4, base64=True)) == f"{folder / 'a.tsv'}, byte 7"


def test_a_hundred_thousand_records_take_seconds(folder: Path) -> None:
    line = json.dumps({**VQA, "kind": "what"}, ensure_ascii=False) + "\n"
    (folder / "train.jsonl").write_text(line * 100_000, encoding="utf-8")
    start = time.process_time()
    assert len(read_split("visual_question_answering", folder, "train")) == 100_000
    assert time.process_time() - start < 10


def test_splits_have_other_names() -> None:
    assert [split_name(name) for name in ("train", "dev", "valid", "val", "test")] == [
        "train",
        "validation",
        "validation",
        "validation",
        "test",
    ]
