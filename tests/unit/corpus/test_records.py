"""Records: which fields make which Document, and which are refused by name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import JsonLinesConfig, RecordsConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read import image_table as tables
from m6.corpus.read import records
from m6.corpus.read.image_table import ImageTable
from m6.corpus.read.picture_values import finder
from m6.corpus.read.records import document, require_columns, require_usable
from m6.corpus.sources import Part, split_by_hash
from tests.unit.corpus.reading import POEM, png

PART = Part("shop", 0, 1, "in/data.jsonl")
HTML = b"\xef\xbb\xbf\n <!DOCTYPE HTML>\n<html><body>404</body></html>" + b" " * 2_000
BASE64 = base64.b64encode(png()).decode()


def make(record: dict[str, Any], folder: Path = Path("/none"), **fields: Any) -> Document | Drop:
    config = JsonLinesConfig(**fields)
    return document(record, "in/data.jsonl, line 7", PART, config, finder(f"{folder}/data.jsonl", config))


def kept(record: dict[str, Any], folder: Path = Path("/none"), **fields: Any) -> Document:
    made = make(record, folder, **fields)
    assert not isinstance(made, Drop), made
    return made


def test_named_fields_become_a_document() -> None:
    record = {
        "content": POEM,
        "name": "春晓",
        "tags": "春天, 鸟、花；",
        "shop": 7,
        "meta": {"by": "孟浩然", "year": 730, "tags": ["唐"]},
        "price": None,
    }
    made = kept(
        record,
        text_field="content",
        title_field="name",
        keywords_field="tags",
        group_field="shop",
        attribute_fields=("meta.by", "meta.year", "meta.tags", "price", "none"),
        licence="CC0-1.0",
        heldout_share=0.5,
    )
    assert (made["source"], made["title"], made["text"], made["group"]) == ("shop", "春晓", POEM, "7")
    assert made["keywords"] == ["春天", "鸟", "花"]
    assert made["attributes"] == {
        "licence": "CC0-1.0",
        "meta.by": "孟浩然",
        "meta.year": "730",
        "meta.tags": '["唐"]',
    }
    assert made["split"] == split_by_hash("7", 0.5)
    assert kept({"text": POEM}, keywords_field="k")["keywords"] == []
    assert kept({"text": POEM, "keywords": ["甲", "乙，丙"]})["keywords"] == ["甲", "乙", "丙"]


def test_the_split_of_a_record_without_a_group_is_made_by_what_it_says() -> None:
    texts = [f"{POEM}{number}" for number in range(400)]
    sides = [kept({"text": text}, heldout_share=0.2)["split"] for text in texts]
    assert 40 < sides.count("heldout") < 120
    assert sides == [kept({"text": text}, heldout_share=0.2)["split"] for text in texts]
    grouped = {kept({"text": text, "shop": "a"}, group_field="shop", heldout_share=0.5)["split"] for text in texts}
    assert len(grouped) == 1


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        ({"text": 3}, "a field is not a text", "text"),
        ({"text": ["一", 2]}, "a field is not a text", "text"),
        ({"text": {"zh": "一"}}, "a field is not a text", "text"),
        ({"text": POEM, "title": 1.5}, "a field is not a text", "title"),
        ({"text": POEM, "keywords": [1]}, "a field is not a text", "keywords"),
        ({"text": POEM, "image": 1.5}, "a field is no image", "image"),
        ({"text": POEM, "image": [True]}, "a field is no image", "image"),
        ({"caption": POEM, "image": ""}, "missing field", "text"),
        ({"question": "谁？"}, "missing field", "text"),
        ({"text": POEM, "shop": [1]}, "a field is not a text", "shop"),
    ],
)
def test_what_does_not_fit_is_named(record: dict[str, Any], reason: str, field: str) -> None:
    made = make(record, group_field="shop")
    assert isinstance(made, Drop)
    assert (made.reason, made.where) == (reason, f"in/data.jsonl, line 7, field {field}")


def test_a_record_longer_than_any_text_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_RECORD", 10)
    made = make({"text": ["一" * 6, "二" * 5]})
    assert made == Drop("long record", "in/data.jsonl, line 7, field text", "一" * 6)
    assert kept({"text": ["一" * 5, "二" * 5]})


def test_null_is_nothing_and_a_null_text_is_for_the_rules() -> None:
    made = kept({"text": None, "title": None, "image": None, "keywords": None, "question": None})
    assert (made["text"], made["title"], made["images"], made["keywords"]) == ("", "", [], [])


def test_halves_of_characters_do_not_break_anything() -> None:
    made = kept({"text": "一\ud800二", "title": "\udfff", "id": "\ud800"}, group_field="id", attribute_fields=("id",))
    assert (made["text"], made["title"], made["group"]) == ("一\ufffd二", "\ufffd", "\ufffd")


def test_questions_and_answers() -> None:
    pair = {"question": "这是什么？", "answer": ["一只猫", "猫"]}
    alone = kept(pair)
    assert (alone["title"], alone["text"], alone["questions"]) == ("这是什么？", "一只猫", [])
    seen = kept({**pair, "image": png()})
    assert seen["questions"] == [{"kind": "vqa", "question": "这是什么？", "answer": "一只猫"}]
    assert (seen["title"], seen["text"]) == ("", "问：这是什么？答：一只猫")
    about = kept({**pair, "text": POEM})
    assert (about["text"], about["questions"][0]["kind"], about["questions"][0]["answer"]) == (POEM, "qa", "一只猫")
    titled = kept({**pair, "title": "猫"})
    assert (titled["title"], titled["text"]) == ("猫", "问：这是什么？答：一只猫")
    assert kept({"text": POEM, "question": "谁？", "answer": None})["questions"] == []


def test_a_list_of_texts_is_captions_beside_a_picture_and_lines_without() -> None:
    texts = ["一只猫", None, "", "猫在睡觉"]
    seen = kept({"text": texts, "image": png()})
    assert (seen["text"], seen["attributes"]) == ("一只猫", {"captions": "一只猫\n猫在睡觉"})
    assert kept({"text": texts})["text"] == "一只猫\n猫在睡觉"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ok.png").write_bytes(png())
    (tmp_path / "in" / "page.jpg").write_bytes(HTML)
    (tmp_path / "secret.png").write_bytes(png())
    return tmp_path / "in"


@pytest.mark.parametrize(
    "value",
    [
        "ok.png",
        png(),
        BASE64,
        "\n".join(BASE64[start : start + 76] for start in range(0, len(BASE64), 76)),
        BASE64.rstrip("="),
        base64.urlsafe_b64encode(png()).decode(),
        f"data:image/png;base64,{BASE64}",
        {"bytes": png(), "path": None},
        {"bytes": None, "path": "ok.png"},
        [{"bytes": png(), "path": "ok.png"}],
        [None, "ok.png", ""],
    ],
    ids=["path", "bytes", "base64", "lines", "unpadded", "url alphabet", "data", "hf", "hf path", "hf list", "nulls"],
)
def test_a_picture_in_every_form(folder: Path, value: Any) -> None:
    images = kept({"text": POEM, "image": value}, folder)["images"]
    assert [image["bytes"] for image in images] == [png()]


def test_a_picture_by_url_waits_to_be_fetched() -> None:
    for value in ("https://example.org/a.png", {"bytes": None, "path": "HTTP://example.org/a.png"}):
        (image,) = kept({"text": POEM, "image": value})["images"]
        assert image["bytes"] == b""
        assert (image["url"] or "").lower().endswith("://example.org/a.png")
    one, other = (kept({"text": POEM, "image": f"http://example.org/{name}"}) for name in "ab")
    assert one["group"] != other["group"], "pictures that are not there yet are told apart by their addresses"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("none.png", "missing image"),
        ("../secret.png", "image outside the folder"),
        ("/etc/hostname", "image outside the folder"),
        ("a\0b.png", "missing image"),
        (7, "missing image"),
        ({"path": None}, "missing image"),
        ("page.jpg", "image is HTML"),
        (HTML, "image is HTML"),
        (base64.b64encode(HTML).decode(), "image is HTML"),
        (f"data:text/html;base64,{base64.b64encode(HTML).decode()}", "image is HTML"),
        ("data:image/svg+xml,<svg/>", "image is not base64"),
        (BASE64[:-5] + "?" * 5 + "a" * 2_000, "image is not base64"),
        ("图" * 2_000, "image is not base64"),
        (bytes(50_000), "large image file"),
        ("iVBORw0KGgo" + "A" * 80_000, "large image file"),
    ],
)
def test_a_picture_that_cannot_be_had_drops_the_record_and_says_why(folder: Path, value: Any, reason: str) -> None:
    images = JsonLinesConfig().images.model_copy(update={"most_bytes": 20_000})
    made = make({"text": POEM, "image": value}, folder, images=images)
    assert isinstance(made, Drop)
    assert (made.reason, made.where) == (reason, "in/data.jsonl, line 7, field image")
    assert len(made.sample) <= 80


def test_one_picture_of_several_that_cannot_be_had_is_left_to_the_rules(folder: Path) -> None:
    images = kept({"text": POEM, "image": ["none.png", "ok.png"]}, folder)["images"]
    assert [image["bytes"] for image in images] == [b"", png()]
    assert kept({"text": POEM, "image": "none.png"}, folder, needs_image=False)["images"][0]["bytes"] == b""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{number}\t{base64.urlsafe_b64encode(png(number)).decode()}" for number in range(20)]
    rows += ["3\tAAAA", "bad\t!!!!", "no tab in this line", f"page\t{base64.b64encode(HTML).decode()}", ""]
    path = tmp_path / "images.tsv"
    path.write_text("\n".join(rows))
    return path


def test_pictures_in_a_table_as_muge_has_them(table: Path) -> None:
    fields: dict[str, Any] = {"image_field": "image_ids", "image_table": str(table)}
    made = kept({"text": "高级感托特包斜挎", "image_ids": [7, "13", 3]}, **fields)
    assert [image["bytes"] for image in made["images"]] == [png(7), png(13), png(3)], "of two rows the first counts"
    for name, reason in (("99", "missing image"), ("bad", "image is not base64"), ("page", "image is HTML")):
        dropped = make({"text": POEM, "image_ids": [name]}, **fields)
        assert isinstance(dropped, Drop)
        assert dropped.reason == reason


def test_ids_of_a_table_with_the_same_hash_are_told_apart(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tables._hash(b"0")
    monkeypatch.setattr(tables, "_hash", lambda identity: right)
    assert [ImageTable(str(table)).read(str(number)) for number in range(20)] == [png(number) for number in range(20)]
    assert ImageTable(str(table)).read("99") == "missing image"


def test_configs_that_cannot_work_are_refused(tmp_path: Path) -> None:
    for fields, message in (
        ({"encoding": "utf-9"}, "encoding: no encoding 'utf-9'"),
        ({"image_table": str(tmp_path / "none.tsv")}, "image_table: .*no such file"),
        ({"image_root": str(tmp_path / "none")}, "image_root: .* is no folder"),
    ):
        with pytest.raises(UserError, match=f"corpus.sources.shop.{message}"):
            require_usable("shop", JsonLinesConfig(**fields))
    (tmp_path / "a.tsv.gz").touch()
    with pytest.raises(UserError, match="unpack it"):
        require_usable("shop", JsonLinesConfig(image_table=str(tmp_path / "a.tsv.gz")))


def test_a_missing_column_is_named_beside_those_there_are() -> None:
    def refused(columns: list[str], **fields: Any) -> str:
        with pytest.raises(UserError) as caught:
            require_columns(columns, "a.csv", "shop", RecordsConfig(**fields))
        return str(caught.value)

    said = "corpus.sources.shop.text_field: a.csv has no column 'text', did you mean 'texts'? allowed: id, texts"
    assert refused(["id", "texts"]) == said
    assert "title_field: a.csv has no column 'name'" in refused(["text"], title_field="name")
    assert "attribute_fields: a.csv has no column 'by'" in refused(["text", "meta"], attribute_fields=("meta.x", "by"))
    assert "group_field" in refused(["text"], group_field="shop")
    require_columns(["question", "answer"], "a.csv", "shop", RecordsConfig())
    require_columns(["text"], "a.csv", "shop", RecordsConfig())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text() | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bytes", "path", "x"]), inner),
    max_leaves=6,
)
names = st.sampled_from(["text", "title", "image", "question", "answer", "keywords", "shop", "meta"])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, json_values))
def test_any_record_is_a_document_or_a_drop(record: dict[str, Any]) -> None:
    made = make(record, group_field="shop", attribute_fields=("meta", "meta.x"))
    if isinstance(made, Drop):
        assert made.reason in {"a field is not a text", "a field is no image", "missing field", "missing image"} | {
            "image outside the folder"
        }
        assert made.sample.encode() is not None
    else:
        assert all(isinstance(made[key], str) and made[key].encode() is not None for key in ("text", "title", "group"))
