"""A line of each task's plain data file -> its Sample, against one made by hand."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from m6.data.objectives import SEEING, STANDALONE
from m6.data.packing import flatten
from m6.data.sample import Branch, Sample, Segment, Text
from m6.tasks.example import Example, PictureAt
from m6.tasks.files import read_split
from m6.tasks.names import SUMMARIES
from m6.tasks.task import named
from m6.tokenizer.vocabulary import MATCH, Vocabulary
from tests.unit.tasks.segments import Hashed, Letters

PICTURE = Path(__file__).parents[2] / "fixtures/tasks/coco_cn/train2014/COCO_train2014_000000000101.jpg"
SEEN = Hashed(PICTURE.read_bytes())
KEY = "train.jsonl line 1"


def letters(text: str, *more: int) -> Text:
    return Text((*map(ord, text), *more))


def made(name: str, record: dict[str, Any], folder: Path) -> Sample:
    """The Sample of a data file with one record."""
    file = folder / "train.jsonl"
    other = {**record, "label": "再一个"} if name == "classification" else record
    lines = [record, other] if other is not record else [record]
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return named(name).sample(read_split(name, folder, "train")[0], Letters())


@pytest.mark.parametrize(
    ("name", "record", "shared", "objective", "prompt", "target"),
    [
        (
            "visual_question_answering",
            {"image": str(PICTURE), "question": "这是什么？", "answer": "猴头"},
            (SEEN,),
            "visual_question_answering",
            letters("这是什么？"),
            letters("猴头"),
        ),
        (
            "captioning",
            {"image": str(PICTURE), "captions": ["猴头。动物、脸", "一个猴头"]},
            (SEEN,),
            "captioning",
            None,
            letters("猴头。动物、脸"),
        ),
        (
            "product_description",
            {"title": "晴雨伞", "attributes": {"颜色": "红", "克": 300}, "description": "轻便。"},
            (),
            "product_description",
            letters("晴雨伞；颜色：红；克：300。描述："),
            letters("轻便。"),
        ),
        (
            "product_description",
            {"image": str(PICTURE), "description": "轻便。"},
            (SEEN,),
            "product_description",
            None,
            letters("轻便。"),
        ),
        (
            "question_answering",
            {"question": "什么是云", "answers": ["小水滴", "水"]},
            (),
            "question_answering",
            letters("什么是云？答："),
            letters("小水滴"),
        ),
        (
            "poems",
            {"title": "春晓", "form": "五言绝句", "poem": "春眠不觉晓，处处闻啼鸟。"},
            (),
            "poem",
            letters("五言绝句《春晓》"),
            letters("春眠不觉晓，处处闻啼鸟。"),
        ),
        (
            "matching",
            {"image": str(PICTURE), "text": "猴头", "label": 1},
            (SEEN,),
            "matching",
            letters("猴头", MATCH),
            letters("是"),
        ),
        (
            "matching",
            {"image": str(PICTURE), "text": "猴头", "negatives": ["大猩猩", "狗"]},
            (SEEN,),
            "captioning",
            None,
            letters("猴头"),
        ),
        ("retrieval", {"image": str(PICTURE), "texts": ["猴头", "动物"]}, (SEEN,), "captioning", None, letters("猴头")),
        (
            "classification",
            {"text": "球进了", "label": "体育"},
            (),
            "classification",
            letters("球进了类别："),
            letters("体育"),
        ),
    ],
)
def test_a_record_is_the_sample_made_by_hand(
    name: str,
    record: dict[str, Any],
    shared: tuple[Segment, ...],
    objective: str,
    prompt: Text | None,
    target: Text,
    tmp_path: Path,
) -> None:
    branch = Branch(objective, (prompt,) if prompt else (), target)
    assert made(name, record, tmp_path) == Sample(KEY, shared, (branch,))


def test_a_painting_is_learnt_behind_its_text_and_size(tmp_path: Path) -> None:
    painted = made("text_to_image", {"text": "一只猴", "image": str(PICTURE)}, tmp_path)
    assert painted == Sample(KEY, (), (Branch("text_to_image", (letters("一只猴"), letters("2x2")), SEEN),))


def test_every_task_keeps_its_promise() -> None:
    for name in SUMMARIES:
        found = named(name)
        assert found.KIND in ("written", "chosen", "ranked", "painted")
        assert (found.LONGEST > 0) == (found.KIND != "painted")
        assert found.MAIN
        assert all(found.FIELDS.values())


def test_objectives_of_tasks_are_those_of_pretraining(tmp_path: Path) -> None:
    """But for classification, which pretraining has none of."""
    record = {"image": str(PICTURE), "question": "什么", "answer": "猴", "caption": "猴", "texts": ["猴"], "text": "猴"}
    record |= {"label": "是", "title": "猴", "form": "五言绝句", "poem": "猴", "description": "猴"}
    for name in set(SUMMARIES) - {"classification"}:
        (example,) = named(name).read(record, tmp_path, "key")
        assert named(name).sample(example, Letters()).branches[0].objective in SEEING | STANDALONE


def test_samples_of_tasks_can_be_packed(tmp_path: Path) -> None:
    """Also those without any prefix, and those whose answer is not told."""
    vocabulary = Vocabulary(70_000, 256)
    untold = Example("key", "什么？")
    sample = named("question_answering").sample(untold, Letters())
    assert sample.branches[0].target == Text(())
    assert flatten(sample, vocabulary, 8).length == len("什么？") + 1
    seen = made("captioning", {"image": str(PICTURE), "caption": "猴头"}, tmp_path)
    assert flatten(seen, vocabulary, 8).length == 4 + 3


def test_the_place_of_the_true_text_says_nothing(tmp_path: Path) -> None:
    texts = ["甲", "乙", "丙"]
    records = [{"image": str(PICTURE), "text": t, "negatives": [o for o in texts if o != t]} for t in texts]
    examples = [named("matching").read(record, tmp_path, "key")[0] for record in records]
    assert len({example.choices for example in examples}) == 1
    assert [example.answers for example in examples] == [("甲",), ("乙",), ("丙",)]


@pytest.mark.parametrize("data", [b"\xfb\xef\xff", b"plain bytes of a picture"])
def test_pictures_lie_in_tables_in_either_base64(data: bytes, tmp_path: Path) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(data)
        (tmp_path / "table.tsv").write_bytes(b"1\t" + encoded + b"\n2\tAAAA\n")
        assert PictureAt(tmp_path / "table.tsv", 2, len(encoded), base64=True).read() == data
