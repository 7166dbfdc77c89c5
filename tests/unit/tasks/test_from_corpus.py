"""Task files out of a corpus: every side of the split apart, negatives that are hard, nothing that was trained on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as PillowImage

from m6.cli import main
from m6.config import UserError
from m6.corpus.document import SCHEMA, Document, Image, make_document
from m6.shards import write_shards
from m6.tasks import from_corpus
from m6.tasks.files import read_split
from m6.tasks.from_corpus import write_tasks
from m6.tasks.leaks import leaks, near_texts
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


def test_what_was_stopped_in_the_middle_is_written_anew(
    files: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(material: object, document: object) -> list[object]:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setitem(from_corpus.MAKERS, "classification", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_tasks(corpus, out)
    assert "Unfinished" in (out / "README.md").read_text()
    (out / "poems").mkdir(exist_ok=True)
    (out / "poems" / "test-old.jsonl").touch()
    write_tasks(corpus, out)
    assert not (out / "poems" / "test-old.jsonl").exists()
    assert (out / "README.md").read_text() == (files / "README.md").read_text()


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


def test_texts_of_which_most_is_the_same_are_near() -> None:
    trained = ["比喻不因其所短而舍其所长。", "形容意见不一，议论很多。", "一二三四五六七八九十"]
    held = [
        "比喻不因其所短，而舍其所长",  # but for marks
        "形容意见不同，说法纷纷。",  # 4 of 14 pairs
        "一二三四五六七八百千",  # 7 of 11 pairs
        "十九八七六五四三二一",  # the same letters, other pairs
        "比喻事情非常难得",
    ]
    assert near_texts(held, trained) == [0, 2]
    ours, theirs = ["甲乙丙丁戊", "丙丁戊己"], ["乙丙丁戊", "己戊", "己丁戊丙"]
    pairs = [[{text[at : at + 2] for at in range(len(text) - 1)} for text in side] for side in (ours, theirs)]
    for similarity in (0.2, 0.4, 0.6, 0.75, 1.0):
        plain = [
            index
            for index, own in enumerate(pairs[0])
            if any(len(own & other) / len(own | other) >= similarity for other in pairs[1])
        ]
        assert near_texts(ours, theirs, similarity) == plain


def test_no_text_of_a_task_stands_in_training(tmp_path: Path) -> None:
    """An idiom explained by its sister's words, one riddle of two endings, a thing in two styles, a name in two."""

    def drawn(side: int) -> bytes:
        blocks = np.random.default_rng(side).integers(0, 255, (10, 10, 3), np.uint8)
        written = io.BytesIO()
        PillowImage.fromarray(blocks.repeat(4, 0).repeat(4, 1)).save(written, "png")
        return written.getvalue()

    def asked(split: str, key: str, answer: str) -> Document:
        questions = [{"kind": "idiom", "question": f"成语“{key}”是什么意思？", "answer": answer}]
        return make_document("qa", answer, group=key, split=split, questions=questions)  # type: ignore[arg-type]

    def thing(split: str, side: int, text: str, keywords: list[str], unseen: str = "") -> Document:
        image = Image(bytes=drawn(side), width=40, height=40, offset=0)
        attributes = {"category": "动物", **({"unseen": unseen} if unseen else {})}
        return make_document(
            "pictures", text, title=text[0], group=text[0], split=split, images=[image], keywords=keywords,
            attributes=attributes,
        )  # fmt: skip

    def shown(split: str, side: int, text: str) -> Document:
        image = Image(bytes=drawn(side), width=40, height=40, offset=0)
        return make_document("shop_icons", text, title="标", group=text, split=split, images=[image])

    texts = ["猫。家畜、鱼", "猫。家畜", "狗。鱼、家畜", "牛。角", "羊。毛", "马。尾"]
    documents = [
        asked("train", "积谗磨骨", "指不断的毁谤能使人毁灭。"),
        asked("heldout", "积毁销金", "指不断的毁谤能使人毁灭。同积毁销骨。"),
        asked("heldout", "伸脖子", "送死"), asked("heldout", "伸脖子", "自己找死"), asked("train", "吃砒霜", "送死"),
        *(thing("train", side, text, text[2:].split("、")) for side, text in enumerate(texts)),
        thing("heldout", 9, "猫。鱼", ["鱼", "家畜"], "picture"),
        thing("heldout", 10, "兔。角", ["家畜", "鱼", "肉"], "picture"),
        shown("train", 11, "联系人、电话、地址"), shown("heldout", 12, "联系人、电话、地址、人"),
        shown("heldout", 13, "加速、超音速"),
    ]  # fmt: skip
    assert leaks(documents) == {documents[1]["id"]}
    rows = [{**each, "attributes": list(each["attributes"].items())} for each in documents]
    write_shards(tmp_path / "corpus", [pa.Table.from_pylist(rows, SCHEMA)], SCHEMA, rows_per_shard=50)
    write_tasks(tmp_path / "corpus", tmp_path / "out")
    out = tmp_path / "out"
    held = {path.stem for path in out.glob("question_answering/*.jsonl")} - {"train"}
    assert [records(out, "question_answering", name) for name in held] == [
        [{"question": "成语“伸脖子”是什么意思？", "answers": ["送死", "自己找死"]}]
    ]
    sold = [row for path in out.glob("product_description/*.jsonl") if path.stem != "train"
            for row in records(out, "product_description", path.stem)]  # fmt: skip
    assert {row["description"] for row in sold} == {"加速、超音速"}
    assert [path.stem for path in out.glob("classification/*.jsonl")] == ["train"]
    assert [row["text"] for row in records(out, "classification", "train")] == ["家畜、鱼", "家畜", "角", "毛", "尾"]
    for row in records(out, "matching", "train"):
        if row["text"] != "狗。鱼、家畜":
            names = {str(text)[0] for text in [row["text"], *cast(list[str], row["negatives"])]}
            assert len(names) == 4, "another cat is no wrong answer"


def test_task_files_of_one_corpus_are_not_written_over_by_another(files: Path, tmp_path: Path) -> None:
    before = (files / "README.md").read_text()
    other = tmp_path / "corpus"
    document = {**make_document("poems", "床前明月光", title="静夜思"), "attributes": []}
    write_shards(other, [pa.Table.from_pylist([document], SCHEMA)], SCHEMA, rows_per_shard=50)
    with pytest.raises(UserError, match="task files of another corpus"):
        write_tasks(other, files)
    assert (files / "README.md").read_text() == before
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file; --out names a folder"):
        write_tasks(other, tmp_path / "file")


def test_what_the_run_cannot_read_is_left_out_and_no_task_is_empty(corpus: Path, tmp_path: Path) -> None:
    counts = write_tasks(corpus, tmp_path / "out", lambda text: len(text) <= 30)
    assert "poems" in counts
    for name in counts["poems"]:
        assert all(len(str(row["poem"])) <= 30 for row in records(tmp_path / "out", "poems", name))
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {*counts, "pictures"}
    assert all(counts.values())
