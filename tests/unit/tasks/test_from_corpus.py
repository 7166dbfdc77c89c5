"""Task files out of a corpus: every side of the split apart, negatives that are hard, nothing that was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m6.cli import main
from m6.config import UserError
from m6.corpus.document import Document, Image, make_document
from m6.tasks.files import read_split
from m6.tasks.from_corpus import leaks, write_tasks
from tests.unit.corpus.small_packages import png
from tests.unit.small_corpus import write_corpus


def records(folder: Path, task: str, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / task / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def files(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tasks") / "out"
    write_tasks(corpus, out)
    return out


def test_every_file_is_read_by_its_task(files: Path) -> None:
    tasks = {path.parent.name for path in files.glob("*/train.jsonl")}
    assert {"captioning", "matching", "poems", "retrieval", "visual_question_answering"} <= tasks
    for task in tasks - {"classification"}:
        for split in ("train", "test"):
            if (files / task / f"{split}.jsonl").exists():
                assert read_split(task, files / task, split)


def test_splits_share_no_concept_and_no_question_names_what_was_seen(files: Path) -> None:
    there = [
        path.stem for path in (files / "captioning").glob("*.jsonl") if path.stem in ("train", "test", "validation")
    ]
    things = [{row["caption"] for row in records(files, "captioning", name) if "keywords" in row} for name in there]
    assert len(things) == 3
    assert sum(map(len, things)) == len(set[object]().union(*things))
    kinds = {str(row["kind"]).split(".")[0] for row in records(files, "visual_question_answering", "test")}
    assert "seen" not in kinds
    assert kinds <= {"concept", "pair", "colour", "count"}


def test_negatives_are_other_texts_of_the_category_and_side(files: Path, corpus: Path) -> None:
    for row in records(files, "matching", "train"):
        assert len({row["text"], *row["negatives"]}) == 4  # type: ignore[misc]
    trained = {row["text"] for row in records(files, "matching", "train")}
    held = [text for row in records(files, "matching", "test") for text in row["negatives"]]  # type: ignore[attr-defined]
    assert not trained & set(held), "else a text that was seen would give itself away"


def test_the_same_corpus_gives_the_same_files_and_other_folders_are_left_alone(
    files: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tasks(corpus, tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == (files / "README.md").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    assert main(["tasks", str(corpus), "--out", str(tmp_path / "mine")]) == 2
    assert "not a folder of task files" in capsys.readouterr().err
    with pytest.raises(UserError, match="manifest"):
        write_tasks(tmp_path / "nothing", tmp_path / "out")


def test_held_out_things_that_nearly_equal_a_trained_one_leak() -> None:
    def thing(split: str, picture: bytes, name: str) -> Document:
        image = Image(bytes=picture, width=60, height=40, offset=0)
        return make_document("pictures", name, title=name, split=split, images=[image])

    def asked(split: str, question: str) -> Document:
        questions = [{"kind": "idiom", "question": question, "answer": "无"}]
        return make_document("qa", question, split=split, questions=questions)  # type: ignore[arg-type]

    documents = [
        thing("train", png((60, 40)), "甲"), thing("heldout", png((62, 41)), "乙"),
        asked("train", "什么是云？"), asked("heldout", "什么是云 ?"), asked("heldout", "什么是雨？"),
    ]  # fmt: skip
    assert leaks(documents) == {documents[1]["id"], documents[3]["id"]}
