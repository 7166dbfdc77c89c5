"""Parquet and Arrow files, saved data sets, and finished corpora: rows in order, whatever their columns are made of."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import DocumentsConfig, ParquetConfig
from m6.corpus.document import SCHEMA, Document, Image, make_document
from m6.corpus.drop import Drop
from m6.corpus.read import columns
from m6.corpus.sources import documents
from m6.corpus.sources import parquet as source
from m6.shards import write_shards
from tests.unit.corpus.reading import NAME, POEM, outcomes, png, read_all

TEXTS = [f"{POEM}{number}" for number in range(1_000)]


def config(*paths: Path | str, **fields: Any) -> ParquetConfig:
    return ParquetConfig(paths=tuple(map(str, paths)), **fields)


def write(path: Path, table: pa.Table, rows: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


def stream(path: Path, table: pa.Table, rows: int = 100) -> Path:
    """An Arrow file as `datasets` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, rows)
    return path


def feather(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, 100)
    return path


@pytest.fixture
def table() -> pa.Table:
    """Columns of all the types that texts and pictures come in."""
    return pa.table(
        {
            "id": pa.array([1, 2, 3, 4]),
            "text": pa.array(["一", "二", None, "四"], pa.large_string()),
            "title": pa.array(["甲", "乙", "甲", None]).dictionary_encode(),
            "keywords": pa.array([["花", "鸟"], [], None, ["鱼"]], pa.list_(pa.string())),
            "image": pa.array(
                [
                    {"bytes": png(), "path": "a.png"},
                    None,
                    {"bytes": None, "path": "ok.png"},
                    {"bytes": b"", "path": None},
                ],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "meta": pa.array([{"by": "孟"}, {"by": None}, None, {"by": "李"}]),
            "unused": pa.array([b"x" * 1_000] * 4),
        }
    )


@pytest.mark.parametrize("write_as", [write, stream, feather])
def test_columns_of_every_type(tmp_path: Path, table: pa.Table, write_as: Any) -> None:
    (tmp_path / "ok.png").write_bytes(png(1))
    path = write_as(tmp_path / ("a.parquet" if write_as is write else "a.arrow"), table)
    first, second, third, fourth = read_all(config(path, attribute_fields=("meta.by", "id"), group_field="id"))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert isinstance(third, dict)
    assert (first["title"], first["text"], first["keywords"]) == ("甲", "一", ["花", "鸟"])
    assert (first["images"][0]["bytes"], first["attributes"], first["group"]) == (
        png(),
        {"meta.by": "孟", "id": "1"},
        "1",
    )
    assert (second["text"], second["images"], second["attributes"]) == ("二", [], {"id": "2"})
    assert (third["text"], third["images"][0]["bytes"]) == ("", png(1))
    assert fourth == Drop("missing image", f"{path}, row 4, field image", "bytes")


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"text": ["一"], "unused": ["x"]}))
    asked: list[Any] = []
    read_rows = columns.rows

    def noted(*given: Any) -> Any:
        asked.append(given[3])
        return read_rows(*given)

    monkeypatch.setattr(source, "rows", noted)
    assert outcomes(config(path)) == ["一"]
    assert asked == [["text"]]


def test_parts_are_row_groups_and_do_not_change_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", pa.table({"text": TEXTS[:500]}), rows=70)
    write(tmp_path / "b.parquet", pa.table({"text": TEXTS[500:]}), rows=1_000)
    whole = read_all(config(tmp_path))
    assert [item["text"] for item in whole if not isinstance(item, Drop)] == TEXTS
    assert len(source.parts(NAME, config(tmp_path))) == 2
    group = max(size for _, size in columns.row_groups(str(tmp_path / "a.parquet")))
    for size, count in ((1, 9), (2 * group, 5)):
        monkeypatch.setattr(source, "BYTES_PER_PART", size)
        assert len(source.parts(NAME, config(tmp_path))) == count
        assert read_all(config(tmp_path)) == whole


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.none() | st.text(max_size=10), max_size=40), rows=st.integers(1, 50), size=st.integers(1, 500))
def test_any_cut_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], rows: int, size: int
) -> None:
    path = write(tmp_path_factory.mktemp("in") / "a.parquet", pa.table({"text": pa.array(texts, pa.string())}), rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BYTES_PER_PART", size)
        patch.setattr(columns, "BYTES_PER_BATCH", size)
        cut = read_all(config(path))
    assert cut == read_all(config(path))
    said = [item["text"] for item in cut if not isinstance(item, Drop)]
    assert said == [text or "" for text in texts]
    assert texts or cut == [Drop("no records", str(path))]


def test_a_saved_data_set_is_what_its_state_lists(tmp_path: Path) -> None:
    for split, texts in (("test", TEXTS[:3]), ("train", TEXTS[3:10])):
        folder = tmp_path / "set" / split
        names = []
        for number, start in enumerate(range(0, len(texts), 3)):
            names.append(f"data-{number:05}-of-00003.arrow")
            stream(folder / names[-1], pa.table({"text": texts[start : start + 3]}))
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
        (folder / "dataset_info.json").write_text("{}")
        stream(folder / "cache-0123.arrow", pa.table({"text": ["left over"]}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for address in (str(tmp_path / "set"), f"file://{tmp_path / 'set'}"):
        assert outcomes(config(address)) == TEXTS[:10]
    (tmp_path / "set" / "train" / "data-00001-of-00003.arrow").unlink()
    with pytest.raises(UserError, match=r"data-00001-of-00003\.arrow is listed in state\.json and missing"):
        read_all(config(tmp_path / "set"))
    assert outcomes(config(tmp_path / "set" / "train" / "data-00002-of-00003.arrow")) == TEXTS[9:10]


def test_a_missing_column_is_refused_at_once_and_in_later_files_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"caption": ["一"], "url": ["x"]}))
    message = rf"corpus\.sources\.{NAME}\.text_field: .*a\.parquet has no column 'text', allowed: caption, url"
    with pytest.raises(UserError, match=message):
        read_all(config(tmp_path))
    stream(tmp_path / "b.arrow", pa.table({"text": ["一"]}))
    assert read_all(config(tmp_path, text_field="caption"))[1:] == [
        Drop("missing column", f"{tmp_path}/b.arrow, column caption", "there are text")
    ]


@pytest.mark.parametrize("name", ["b.parquet", "b.arrow"])
def test_a_truncated_file_is_one_drop_unless_it_is_the_only_one(tmp_path: Path, name: str) -> None:
    write_as = write if name == "b.parquet" else stream
    path = write_as(tmp_path / name, pa.table({"text": TEXTS}))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(UserError, match=rf"{name}: cannot be read as Parquet or Arrow: \S"):
        read_all(config(path))
    write(tmp_path / "a.parquet", pa.table({"text": ["一"]}))
    assert outcomes(config(tmp_path)) == ["一", "(unreadable file)"]
    path.write_bytes(whole[: len(whole) // 2])
    assert outcomes(config(tmp_path))[-1] == "(unreadable file)"


def test_damage_within_a_file_keeps_what_comes_before(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"text": TEXTS}), rows=100)
    where = pq.read_metadata(path).row_group(7).column(0)
    data = bytearray(path.read_bytes())
    start = where.dictionary_page_offset
    data[start : start + where.total_compressed_size] = b"\xff" * where.total_compressed_size
    path.write_bytes(data)
    said = outcomes(config(path))
    assert said[-1] == "(unreadable file)"
    assert said[:-1] == TEXTS[: len(said) - 1]
    assert len(said) >= 500


def test_a_text_that_is_no_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    offsets, data = pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0\6\0\0\0"), pa.py_buffer("一".encode() + b"\xb0\xa1a")
    broken = pa.Array.from_buffers(pa.string(), 3, [None, offsets, data])
    path = stream(tmp_path / "a.arrow", pa.table({"text": broken}))
    assert outcomes(config(path)) == ["一", "(wrong encoding)", "a"]


def test_numbers_are_no_texts_and_no_rows_no_records(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"text": [1, 2]}))
    write(tmp_path / "b.parquet", pa.table({"text": pa.array([], pa.string())}))
    stream(tmp_path / "c.arrow", pa.table({"text": pa.array([], pa.string())}))
    assert outcomes(config(tmp_path)) == [*["(a field is not a text)"] * 2, *["(no records)"] * 2]


def test_memory_is_that_of_some_rows(tmp_path: Path) -> None:
    """One row group of 96 MiB of pictures, in pages of 4 MiB."""
    pictures = [bytes([number]) * 2**20 for number in range(96)]
    table = pa.table({"text": ["猫"] * 96, "image": pictures})
    with pq.ParquetWriter(
        tmp_path / "a.parquet", table.schema, use_dictionary=False, compression="none", write_batch_size=4
    ) as writer:
        writer.write_table(table, row_group_size=96)
    del table, pictures
    asked = config(tmp_path)
    (part,) = source.parts(NAME, asked)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    peaks, count = 0, 0
    for item in source.read(part, asked, 0):
        assert not isinstance(item, Drop)
        peaks, count = max(peaks, pa.total_allocated_bytes() - before), count + 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 96
    assert peaks < 48 * 2**20
    assert peak < 48 * 2**20


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, list[Document]]:
    picture = Image(bytes=png(), width=64, height=64, offset=0, url=None)
    made = [
        make_document(
            "emoji" if number % 2 else "poems",
            text,
            title=f"第{number}首",
            split="heldout" if number % 3 else "train",
            images=[picture] if number % 2 else [],
            keywords=["花"],
            questions=[{"kind": "what", "question": "这是什么？", "answer": "花"}],
            attributes={"author": "孟浩然", **({"source": "older"} if number == 4 else {})},
        )
        for number, text in enumerate(TEXTS[:10])
    ]
    rows = [{**document, "attributes": list(document["attributes"].items())} for document in made]
    write_shards(tmp_path / "corpus", [pa.Table.from_pylist(rows, SCHEMA)], SCHEMA, rows_per_shard=4)
    return tmp_path / "corpus", made


def test_a_finished_corpus_comes_out_as_it_is_under_a_new_name(corpus: tuple[Path, list[Document]]) -> None:
    folder, made = corpus
    found = read_all(DocumentsConfig(path=str(folder), licence="CC0-1.0"))
    assert len(found) == len(made) == 10
    for old, new in zip(made, found, strict=True):
        assert not isinstance(new, Drop)
        kept = ("split", "group", "title", "text", "images", "keywords", "questions")
        assert {name: new[name] for name in kept} == {name: old[name] for name in kept}  # type: ignore[literal-required]
        assert (new["source"], new["attributes"]["author"], new["attributes"]["licence"]) == (NAME, "孟浩然", "CC0-1.0")
        assert new["attributes"]["source"] == ("older" if old is made[4] else old["source"])
        again = make_document(NAME, old["text"], title=old["title"], images=old["images"])
        assert new["id"] == again["id"]


def test_a_folder_that_is_no_corpus_is_refused(corpus: tuple[Path, list[Document]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"corpus\.sources\.{NAME}\.path: no folder given"):
        read_all(DocumentsConfig())
    with pytest.raises(UserError, match=r"no manifest\.json"):
        read_all(DocumentsConfig(path=str(tmp_path)))
    other = pa.table({"tokens": [1]})
    write_shards(tmp_path / "other", [other], other.schema, rows_per_shard=4)
    with pytest.raises(UserError, match=r"is no corpus, its shards have no 'id'"):
        read_all(DocumentsConfig(path=str(tmp_path / "other")))
    folder, _ = corpus
    parts = documents.parts(NAME, DocumentsConfig(path=str(folder)))
    shard = folder / parts[1].of
    shard.write_bytes(bytes(shard.stat().st_size))
    (item,) = documents.read(parts[1], DocumentsConfig(path=str(folder)), 0)
    assert isinstance(item, Drop)
    assert item.reason == "unreadable file"
