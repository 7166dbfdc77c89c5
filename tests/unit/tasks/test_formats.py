"""Public formats -> Examples, on folders of exactly their form, against what is in them read by other means."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import tracemalloc
from pathlib import Path

import pytest

from m6.config import UserError
from m6.data.images import decode_image
from m6.data.sample import Branch, Sample, Text
from m6.tasks.example import Example
from m6.tasks.files import read_split
from m6.tasks.formats import FORMATS, SPLITS, format_of
from m6.tasks.formats.table import picture_table
from m6.tasks.task import named
from tests.unit.tasks.segments import Hashed, Letters

DATA = Path(__file__).parents[2] / "fixtures/tasks"
FOLDERS = [*FORMATS, "flickr30k_cna"]


def pictures(table: Path) -> dict[str, bytes]:
    """A table of base64, read by the csv module."""
    with open(table, encoding="utf-8", newline="") as file:
        return {name: base64.b64decode(data) for name, data in csv.reader(file, delimiter="\t")}


def shown(examples: list[Example]) -> list[tuple[bytes, tuple[str, ...]]]:
    """Bytes of the picture, and answers."""
    return [(one.picture.read() if one.picture else b"", one.answers) for one in examples]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_recognised_by_its_files(name: str) -> None:
    found = format_of(DATA / name)
    assert found is not None
    assert found.__name__.endswith(name.replace("cna", "cn"))  # type: ignore[attr-defined]


def test_captions_of_muge() -> None:
    folder = DATA / "muge_captioning"
    known = pictures(folder / "IC_valid.tsv")
    rows = [json.loads(line) for line in (folder / "IC_valid.jsonl").read_text(encoding="utf-8").splitlines()]
    examples = read_split("captioning", folder, "validation")
    assert shown(examples) == [(known[row["image_id"]], tuple(row["text"])) for row in rows]
    assert [example.key for example in examples] == ["IC_valid.jsonl line 1", "IC_valid.jsonl line 2"]
    assert named("captioning").sample(examples[0], Letters()) == Sample(
        "IC_valid.jsonl line 1",
        (Hashed(known[rows[0]["image_id"]]),),
        (Branch("captioning", (), Text(tuple(map(ord, rows[0]["text"][0])))),),
    )


def test_test_captions_of_muge_are_not_told() -> None:
    examples = read_split("captioning", DATA / "muge_captioning", "test")
    assert [example.answers for example in examples] == [(), ()]
    assert all(decode_image(example.picture.read()).shape == (24, 24, 3) for example in examples if example.picture)


def test_queries_of_muge_are_turned_round() -> None:
    """Every picture has the texts of all queries that name it; one that no query names stays, to be looked through."""
    folder = DATA / "muge_retrieval"
    known = list(pictures(folder / "MR_valid_imgs.tsv").values())
    assert shown(read_split("retrieval", folder, "validation")) == [
        (known[0], ("大猩猩", "动物")),
        (known[1], ("动物", "红毛猩猩")),
        (known[2], ()),
    ]
    train = list(pictures(folder / "MR_train_imgs.tsv").values())
    assert shown(read_split("retrieval", folder, "train")) == [
        (train[0], ("猴头", "动物")),  # where nothing is looked for, the third is of no use
        (train[1], ("动物", "猴子")),
    ]


def test_the_form_of_chinese_clip_is_for_captions_too() -> None:
    folder = DATA / "chinese_clip"
    for split in SPLITS:
        if split != "test":
            muge = read_split("retrieval", DATA / "muge_retrieval", split)
            assert shown(read_split("retrieval", folder, split)) == shown(muge)
            assert shown(read_split("captioning", folder, split)) == shown(muge)[:2]


def test_titles_of_muge_are_painted_written_and_looked_for() -> None:
    folder = DATA / "muge_text_to_image"
    known = list(pictures(folder / "T2I_val.img.tsv").values())
    painted = read_split("text_to_image", folder, "validation")
    assert [(one.prompt, one.picture.read()) for one in painted if one.picture] == [
        ("大猩猩新款", known[0]),
        ("红毛猩猩新款", known[1]),
    ]
    for name in ("captioning", "retrieval"):
        assert shown(read_split(name, folder, "dev")) == [(known[0], ("大猩猩新款",)), (known[1], ("红毛猩猩新款",))]
    assert [(one.prompt, one.picture) for one in read_split("text_to_image", folder, "test")] == [
        ("狗脸新款", None),
        ("狗新款", None),
    ]


@pytest.mark.parametrize("name", ["captioning", "retrieval"])
def test_coco_cn(name: str) -> None:
    folder = DATA / "coco_cn"
    train = shown(read_split(name, folder, "train"))
    named = [(folder / f"train2014/COCO_train2014_000000000{number}.jpg").read_bytes() for number in (101, 102)]
    assert train == [(named[0], ("一个猴头", "动物、猴、猴子")), (named[1], ("一个猴子", "猴"))]
    last = (folder / "val2014/COCO_val2014_000000000104.jpg").read_bytes()
    assert shown(read_split(name, folder, "test"))[0][0] == last


def test_coco_cn_in_the_folder_of_its_archive(tmp_path: Path) -> None:
    shutil.copytree(DATA / "coco_cn", tmp_path / "coco", dirs_exist_ok=True)
    (tmp_path / "coco/coco-cn-version1805v1.1").mkdir()
    for file in (tmp_path / "coco").glob("*.txt"):
        file.rename(tmp_path / "coco/coco-cn-version1805v1.1" / file.name)
    found = read_split("captioning", tmp_path / "coco", "train")
    assert shown(found) == shown(read_split("captioning", DATA / "coco_cn", "train"))


@pytest.mark.parametrize(
    ("folder", "split", "texts"),
    [
        ("flickr30k_cn", "train", ("一个猴头，很好看", "猴头")),
        ("flickr30k_cn", "validation", ("一个猴子，很好看", "猴子")),
        ("flickr30k_cn", "test", ("一个大猩猩", "大猩猩")),
        ("flickr30k_cna", "train", ("一个猴头，很好看", "猴头")),
        ("flickr30k_cna", "validation", ("一个猴子，很好看", "猴子")),
        ("flickr30k_cna", "test", ("一个大猩猩，很好看", "大猩猩")),
    ],
)
def test_flickr30k_cn(folder: str, split: str, texts: tuple[str, ...]) -> None:
    """In both forms: words are put together, and parts of speech taken off."""
    number = 1000092795 + SPLITS.index(split)
    picture = (DATA / folder / f"flickr30k-images/{number}.jpg").read_bytes()
    assert shown(read_split("captioning", DATA / folder, split)) == [(picture, texts)]


def test_fm_iqa() -> None:
    folder = DATA / "fm_iqa"
    (first, second) = read_split("visual_question_answering", folder, "validation")
    assert (first.key, first.prompt, first.answers) == ("FM-CH-QA.json val[0]", "图中是什么？", ("大猩猩。",))
    assert second.picture is not None
    assert second.picture.read() == (folder / "val2014/COCO_val2014_000000000104.jpg").read_bytes()


def test_a_large_table_is_not_read_into_memory(tmp_path: Path) -> None:
    """20 MB of base64 in 200 rows take the memory of a few rows, and each picture is found."""
    table = tmp_path / "IC_train.tsv"
    row = base64.b64encode(bytes(75_000))
    with open(table, "wb") as file:
        for number in range(200):
            file.write(b"%d\t%s\n" % (number, row if number != 123 else base64.b64encode(b"found")))
    tracemalloc.start()
    found = picture_table(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
    assert found["123"].read() == b"found"
    assert found["199"].read() == bytes(75_000)


# What is wrong: the folder and the file that is changed, a text in it and what stands there instead; the task, the
# split, and what the message says.
WRONG = [
    ("muge_captioning", "IC_train.jsonl", "abc000", "abc009", "captioning", "train", "line 1: no picture '0000"),
    ("muge_captioning", "IC_train.jsonl", '"image_id"', '"id"', "captioning", "train", 'line 1: no field "image_id"'),
    ("muge_captioning", "IC_train.tsv", "\t", " ", "captioning", "train", "IC_train.tsv, line 1: no id and base64"),
    ("muge_retrieval", "MR_train_queries.jsonl", "[1000002]", "1000002", "retrieval", "train", "no list of ids"),
    (
        "muge_retrieval",
        "MR_train_queries.jsonl",
        "[1000002]",
        "[1]",
        "retrieval",
        "train",
        "line 1: no picture 1 in MR",
    ),
    ("muge_retrieval", "MR_train_queries.jsonl", "query_text", "text", "retrieval", "train", 'no field "query_text"'),
    ("muge_text_to_image", "T2I_train.text.tsv", "\t", " ", "captioning", "train", "line 1: no two columns"),
    (
        "coco_cn",
        "coco-cn_train.txt",
        "101",
        "109",
        "captioning",
        "train",
        "line 1: imageid.human-written-caption.txt has",
    ),
    ("coco_cn", "imageid.human-written-caption.txt", "#0", "", "captioning", "train", "no name of the form NAME#0"),
    ("flickr30k_cna", "train/flickr30k_cna_train.txt", "#0", "", "captioning", "train", "line 1: no line of the form"),
    (
        "flickr30k_cna",
        "train/flickr30k_cna_train.txt",
        "795#0",
        "999#0",
        "captioning",
        "train",
        "no picture 1000092999",
    ),
    (
        "fm_iqa",
        "FM-CH-QA.json",
        "Question",
        "Frage",
        "visual_question_answering",
        "train",
        'train[0]: no field "question',
    ),
    ("fm_iqa", "FM-CH-QA.json", '"101"', '"999"', "visual_question_answering", "train", "COCO_train2014_000000000999"),
    ("fm_iqa", "FM-CH-QA.json", '"val"', '"dev"', "visual_question_answering", "validation", 'no list "val"'),
    ("fm_iqa", "FM-CH-QA.json", "]", "", "visual_question_answering", "train", "broken JSON"),
]


@pytest.mark.parametrize(("folder", "file", "text", "instead", "name", "split", "said"), WRONG)
def test_what_is_wrong_is_one_line(
    folder: str, file: str, text: str, instead: str, name: str, split: str, said: str, tmp_path: Path
) -> None:
    shutil.copytree(DATA / folder, tmp_path / folder)
    path = tmp_path / folder / file
    path.write_text(path.read_text(encoding="utf-8").replace(text, instead, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_split(name, tmp_path / folder, split)
    assert said in str(caught.value)
    assert path.name.split("_")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "name", "split", "said"),
    [
        ("muge_captioning", "poems", "train", "MUGE captioning (ECommerce-IC), data for captioning, not for poems"),
        (
            "muge_retrieval",
            "retrieval",
            "test",
            "which pictures fit is not told in a public test split; take validation",
        ),
        ("fm_iqa", "visual_question_answering", "test", "no test split of FM-IQA; there is train, validation"),
        ("muge_text_to_image", "captioning", "test", "the pictures of the test split are not told"),
    ],
)
def test_what_a_set_does_not_have(folder: str, name: str, split: str, said: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        read_split(name, DATA / folder, split)
    assert said in str(caught.value)
