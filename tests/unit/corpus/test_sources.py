"""Sources: what they give, and how they count what they cannot read."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from m6.config import UserError
from m6.corpus.config import EmojiConfig, PoemsConfig, SourceConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.sources import reader, split_by_hash


def read_all(config: SourceConfig) -> list[Document | Drop]:
    module = reader(config.kind)
    return [item for part in module.parts(config.kind, config) for item in module.read(part, config, 0)]


def documents(config: SourceConfig) -> list[Document]:
    items = read_all(config)
    assert not [item for item in items if isinstance(item, Drop)]
    return items  # type: ignore[return-value]


def png(side: int = 80) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def test_emoji_are_exact_by_construction() -> None:
    found = documents(EmojiConfig())
    assert len(found) == 1892
    penguin = next(document for document in found if document["title"] == "企鹅")
    assert penguin["text"].startswith("企鹅。")
    assert len(penguin["text"].split("、")) <= 5
    answers = {question["question"]: question["answer"] for question in penguin["questions"]}
    assert answers["这是什么？"] == "企鹅"
    assert answers["这是哪一类？"] == "动物"
    assert answers["是动物吗？"] == "是"
    assert sorted(question["answer"] for question in penguin["questions"] if question["kind"] == "yes_no") == [
        "否",
        "是",
    ]
    for document in found:
        wrong = [q for q in document["questions"] if q["answer"] == "否"]
        assert wrong
        assert document["attributes"]["category"] not in wrong[0]["question"]
    assert len({document["id"] for document in found}) == len(found)


def test_emoji_can_be_chosen() -> None:
    found = documents(EmojiConfig(categories=("水果",), most=5))
    assert [document["attributes"]["category"] for document in found] == ["水果"] * 5
    with pytest.raises(UserError, match="no category '水果类', did you mean '水果'"):
        reader("emoji").parts("emoji", EmojiConfig(categories=("水果类",)))


def test_poems_have_the_form_they_say() -> None:
    found = documents(PoemsConfig())
    assert len(found) == 10_000
    for document in found:
        lines = re.findall(r"[\u4e00-\u9fff]+", document["text"])
        form = document["attributes"]["form"]
        if form.startswith(("五言", "七言")):
            assert {len(line) for line in lines} == {{"五": 5, "七": 7}[form[0]]}
            assert len(lines) % 2 == 0
        if form.endswith("绝句"):
            assert len(lines) == 4
        if form.endswith("律诗"):
            assert len(lines) == 8
        assert document["group"] == document["attributes"]["author"]
        assert not set("□？?（）()[]○囗") & set(document["text"]) - set("？")


def test_poems_can_be_chosen() -> None:
    found = documents(PoemsConfig(forms=("五言绝句",), most=7))
    assert [document["attributes"]["form"] for document in found] == ["五言绝句"] * 7
    with pytest.raises(UserError, match="no form"):
        reader("poems").parts("poems", PoemsConfig(forms=("俳句",)))


def test_a_share_is_held_out_by_hash() -> None:
    sides = [split_by_hash(str(number), 0.1) for number in range(5_000)]
    assert 0.08 < sides.count("heldout") / 5_000 < 0.12
    assert sides == [split_by_hash(str(number), 0.1) for number in range(5_000)]
    assert {split_by_hash(str(number), 0.0) for number in range(100)} == {"train"}
