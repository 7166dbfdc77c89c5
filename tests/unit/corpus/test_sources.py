"""Sources: what they give, and how they count what they cannot read."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from m6.config import UserError
from m6.corpus.config import CorpusConfig, EmojiConfig, FolderConfig, JsonLinesConfig, PoemsConfig, TextRules
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.sources import jsonl, source, split_by_hash


def read_all(name: str, config: CorpusConfig) -> list[Document | Drop]:
    module = source(name)
    return [item for part in module.parts(config) for item in module.read(config, part, 0)]


def documents(name: str, config: CorpusConfig) -> list[Document]:
    items = read_all(name, config)
    assert not [item for item in items if isinstance(item, Drop)]
    return items  # type: ignore[return-value]


def png(side: int = 80) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def test_emoji_are_exact_by_construction() -> None:
    found = documents("emoji", CorpusConfig())
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
    found = documents("emoji", CorpusConfig(emoji=EmojiConfig(categories=("水果",), most=5)))
    assert [document["attributes"]["category"] for document in found] == ["水果"] * 5
    with pytest.raises(UserError, match="no category '水果类', did you mean '水果'"):
        source("emoji").parts(CorpusConfig(emoji=EmojiConfig(categories=("水果类",))))


def test_poems_have_the_form_they_say() -> None:
    found = documents("poems", CorpusConfig())
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
    found = documents("poems", CorpusConfig(poems=PoemsConfig(forms=("五言绝句",), most=7)))
    assert [document["attributes"]["form"] for document in found] == ["五言绝句"] * 7
    with pytest.raises(UserError, match="no form"):
        source("poems").parts(CorpusConfig(poems=PoemsConfig(forms=("俳句",))))


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no source 'poem', did you mean 'poems'"):
        source("poem")


def test_a_folder_gives_pairs_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    cases = {
        "deep/a.png": "一只黑白相间的猫。",
        "b.png": None,
        "c.PNG": b"\xc3\xa8\xc3"[:2] + b"\xb0\xa1",
        "d.jpg": "写得太长" * 200,
    }
    for name, text in cases.items():
        path = tmp_path / name
        path.write_bytes(png())
        if text is not None:
            path.with_suffix(".txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "notes.txt").write_text("no picture beside it")
    (tmp_path / "e.png").write_bytes(bytes(3_000))
    rules = FolderConfig(path=str(tmp_path)).model_copy(
        update={
            "text": TextRules(longest_text=100),
            "images": FolderConfig().images.model_copy(update={"most_bytes": 2_000}),
        }
    )
    (tmp_path / "e.txt").write_text("文字")
    items = read_all("folder", CorpusConfig(folder=rules))
    by_name = {item.where: item.reason for item in items if isinstance(item, Drop)}
    assert by_name == {
        "b.png": "no text beside the picture",
        "c.PNG": "not UTF-8",
        "d.jpg": "long text",
        "e.png": "large image file",
    }
    kept = [item for item in items if not isinstance(item, Drop)]
    assert [(document["group"], document["text"]) for document in kept] == [("deep/a.png", "一只黑白相间的猫。")]


def test_a_folder_must_be_there_and_hold_pictures(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "is no folder"), (tmp_path, "no pictures")):
        with pytest.raises(UserError, match=message):
            source("folder").parts(CorpusConfig(folder=FolderConfig(path=str(path))))


LINES = [
    ('{"text": "春眠不觉晓，处处闻啼鸟。", "title": "春晓"}', None),
    ('{"text": "看图", "image": "ok.png"}', None),
    ('{"text": "看图", "image": "none.png"}', "missing image"),
    ('{"text": "看图", "image": "../secret.png"}', "image outside the folder"),
    ('{"text": "看图", "image": "/etc/hostname"}', "image outside the folder"),
    ('{"text": "看图", "image": "a\\u0000b.png"}', "missing image"),
    ('{"text": ', "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("3", "not a JSON object"),
    ('{"text": 3}', "a field is not a text"),
    ('{"text": null}', None),  # an empty text is for the rules to drop
    ("", None),
]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ok.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    data = "\n".join(line for line, _ in LINES).encode() + b'\n{"text": "\xb0\xa1"}\n{"text": "last line without end"}'
    (tmp_path / "in" / "data.jsonl").write_bytes(data)
    return tmp_path / "in" / "data.jsonl"


def test_json_lines_give_documents_and_count_the_rest(lines: Path) -> None:
    items = read_all("jsonl", CorpusConfig(jsonl=JsonLinesConfig(paths=(str(lines),))))
    expected = [reason for line, reason in LINES if line] + ["not UTF-8", None]
    assert [item.reason if isinstance(item, Drop) else None for item in items] == expected
    assert isinstance(items[1], dict)
    assert items[1]["images"][0]["bytes"] == png()


def test_parts_of_a_file_have_each_line_once(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CorpusConfig(jsonl=JsonLinesConfig(paths=(str(lines),)))
    lines.write_bytes(lines.read_bytes().replace(b"[" * 100_000, b"[["))  # else 100,000 parts of one byte

    def outcomes() -> list[str]:
        return [item.reason if isinstance(item, Drop) else item["id"] for item in read_all("jsonl", config)]

    whole = outcomes()
    for size in (1, 7, 50, 64, 1_000):
        monkeypatch.setattr(jsonl, "BYTES_PER_PART", size)
        assert outcomes() == whole


def test_a_line_too_long_is_counted_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 100)
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"text": "a" * 1_000}) + "\n" + json.dumps({"text": "b"}) + "\n")
    first, second = read_all("jsonl", CorpusConfig(jsonl=JsonLinesConfig(paths=(str(path),))))
    assert isinstance(first, Drop)
    assert first.reason == "long line"
    assert isinstance(second, dict)
    assert second["text"] == "b"


def test_json_lines_need_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no files given"):
        source("jsonl").parts(CorpusConfig())
    with pytest.raises(UserError, match="no such file"):
        source("jsonl").parts(CorpusConfig(jsonl=JsonLinesConfig(paths=(str(tmp_path / "x"),))))


def test_a_share_is_held_out_by_hash() -> None:
    sides = [split_by_hash(str(number), 0.1) for number in range(5_000)]
    assert 0.08 < sides.count("heldout") / 5_000 < 0.12
    assert sides == [split_by_hash(str(number), 0.1) for number in range(5_000)]
    assert {split_by_hash(str(number), 0.0) for number in range(100)} == {"train"}
