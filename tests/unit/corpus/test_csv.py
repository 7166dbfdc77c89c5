"""CSV and TSV: rows as the csv module has them, cut only where that is safe; broken ones are counted."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import CsvConfig, JsonLinesConfig
from m6.corpus.drop import Drop
from m6.corpus.sources import csv as source
from tests.unit.corpus.reading import NAME, POEM, outcomes, png, read_all, same

BASE64 = base64.b64encode(png()).decode()


def config(*paths: Path | str, **fields: Any) -> CsvConfig:
    return CsvConfig(paths=tuple(map(str, paths)), **fields)


def test_a_spreadsheet_with_quotes_and_texts_over_several_lines(tmp_path: Path) -> None:
    rows = [
        ["春晓", '他说："春眠不觉晓，处处闻啼鸟。"\n夜来风雨声，\r\n花落知多少。', "花,鸟"],
        ["", 'a "b", c', ""],
        ["", "", ""],
    ]
    stream = io.StringIO()
    csv.writer(stream).writerows([["title", " text ", "keywords"], *rows])
    path = tmp_path / "a.csv"
    path.write_bytes(("\ufeff" + stream.getvalue()).encode())
    items = read_all(config(path))
    assert [(item["title"], item["text"]) for item in items if not isinstance(item, Drop)] == [
        tuple(row[:2]) for row in rows
    ]
    assert not isinstance(items[0], Drop)
    assert items[0]["keywords"] == ["花", "鸟"]


def test_broken_rows_are_counted_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,title\n一,甲\n二\n三,乙,丙\n\n四\0,丁\n".encode() + b"\xb0\xa1,x\n" + "五,戊".encode())
    items = read_all(config(path))
    assert list(map(same, items))[1:3] == ["wrong number of fields"] * 2
    assert outcomes(config(path)) == ["一", *["(wrong number of fields)"] * 2, "四\0", "(wrong encoding)", "五"]
    drops = [item for item in items if isinstance(item, Drop)]
    assert [drop.where.rpartition(", ")[2] for drop in drops] == ["line 3", "line 4", "line 7"]
    assert drops[1].sample == "3, not 2: 三 | 乙 | 丙"


def test_pictures_as_paths_urls_and_base64(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ok.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    images = [
        "ok.png",
        BASE64,
        "http://example.org/a.png",
        "",
        "../secret.png",
        base64.b64encode(b"<html>" * 400).decode(),
    ]
    path = tmp_path / "in" / "a.csv"
    path.write_text("text,image\n" + "".join(f"猫,{image}\n" for image in images))
    items = read_all(config(path))
    found = [item.reason if isinstance(item, Drop) else [image["bytes"] for image in item["images"]] for item in items]
    assert found == [[png()], [png()], [b""], [], "image outside the folder", "image is HTML"]


def test_a_field_of_base64_may_be_long(tmp_path: Path) -> None:
    picture = b"\x89PNG" + bytes(3 * 2**20)  # 4 MiB in base64; the csv module takes 128 KiB unless told otherwise
    path = tmp_path / "a.csv"
    path.write_text(f'text,image\n猫,"{base64.b64encode(picture).decode()}"\n')
    (item,) = read_all(config(path))
    assert not isinstance(item, Drop)
    assert item["images"][0]["bytes"] == picture


def test_muge_has_captions_in_json_lines_and_pictures_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "train_imgs.tsv").write_text(f"1001\t{BASE64}\n1002\t{base64.b64encode(png(1)).decode()}\n")
    records = [{"text_id": 1, "text": "高级感托特包斜挎", "image_ids": [1002, 1001]}]
    (tmp_path / "train_texts.jsonl").write_text("\n".join(map(json.dumps, records)))
    (item,) = read_all(
        JsonLinesConfig(
            paths=(str(tmp_path / "train_texts.jsonl"),),
            image_field="image_ids",
            image_table=str(tmp_path / "train_imgs.tsv"),
        )
    )
    assert not isinstance(item, Drop)
    assert [image["bytes"] for image in item["images"]] == [png(1), png()]


def test_ofa_has_five_columns_without_a_header_and_quotes_that_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "caption.tsv"
    path.write_text(f'1\t12\t一只"猫\tcat&&animal\t{BASE64}\n2\t13\t"狗\tdog\t{BASE64}\n')
    items = read_all(
        config(path, columns=("id", "image_id", "text", "objects", "image"), attribute_fields=("objects",))
    )
    said = [
        (item["text"], item["attributes"], item["images"][0]["bytes"]) for item in items if not isinstance(item, Drop)
    ]
    assert said == [('一只"猫', {"objects": "cat&&animal"}, png()), ('"狗', {"objects": "dog"}, png())]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_encodings_are_told_by_the_beginning_of_the_file(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    mark = "\t" if name.endswith(".tsv") else ","
    path.write_bytes(f"title{mark}text\r\n春晓{mark}{POEM}\r\n无题{mark}二\r\n".encode(encoding))
    assert outcomes(config(path)) == [POEM, "二"]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert outcomes(config(packed)) == [POEM, "二"]
    packed.write_bytes(packed.read_bytes()[:-9])
    assert outcomes(config(packed))[-1] == "(truncated file)"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from(["", "猫", '"', "x y", POEM]), min_size=1, max_size=3), max_size=10),
    size=st.integers(1, 200),
    end=st.sampled_from(["\n", "\r\n"]),
    header=st.booleans(),
)
def test_any_cut_of_a_tsv_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], size: int, end: str, header: bool
) -> None:
    path = tmp_path_factory.mktemp("in") / "a.tsv"
    lines = [["title", "text"], *rows] if header else rows
    path.write_bytes("".join("\t".join(row) + end for row in lines).encode())
    asked = config(path) if header else config(path, columns=("title", "text"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BYTES_PER_PART", size)
        cut = read_all(asked)
    assert cut == read_all(asked)
    full = [row for row in rows if "\t".join(row)]
    expected = [row[1] if len(row) == 2 else "wrong number of fields" for row in full] or ["no records"]
    assert [item.reason if isinstance(item, Drop) else item["text"] for item in cut] == expected


def test_a_csv_is_one_part_and_a_tsv_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BYTES_PER_PART", 10)
    for name in ("a.csv", "a.tsv"):
        (tmp_path / name).write_text("text\n" + "一\n" * 20)
    assert len(source.parts(NAME, config(tmp_path / "a.csv"))) == 1
    assert len(source.parts(NAME, config(tmp_path / "a.csv", quote=""))) == 9
    assert len(source.parts(NAME, config(tmp_path / "a.tsv"))) == 9
    assert len(source.parts(NAME, config(tmp_path / "a.tsv", quote='"'))) == 1


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_rows_too_long_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(source, "LONGEST_ROW", 1_000)
    path = tmp_path / name
    path.write_text("text\na\n" + "b" * 50_000 + "\nc\n")
    assert outcomes(config(path)) == ["a", "(long row)", "c"]


def test_a_quote_that_nobody_closes_takes_in_no_more_than_a_row_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LONGEST_ROW", 1_000)
    path = tmp_path / "a.csv"
    path.write_text('text\na\n"b\n' + "c\n" * 1_000)
    said = outcomes(config(path))
    assert said[:2] == ["a", "(long row)"]
    assert said[2:] == ["c"] * (1_000 - 500 + 1)


def test_columns_are_asked_for_at_once_and_in_later_files_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;content\n1;一\n")
    with pytest.raises(UserError, match=rf"corpus\.sources\.{NAME}\.text_field: .*a.csv has no column 'text'"):
        source.parts(NAME, config(tmp_path))
    assert outcomes(config(tmp_path, text_field="content", delimiter=";")) == ["一"]
    (tmp_path / "b.csv").write_text("id;text\n1;一\n")
    (tmp_path / "c.csv").write_text("id;content\n")
    (tmp_path / "d.csv").touch()
    items = read_all(config(tmp_path, text_field="content", delimiter=";"))
    assert items[1:] == [
        Drop("missing column", f"{tmp_path}/b.csv, column content", "there are id, text"),
        Drop("no records", f"{tmp_path}/c.csv"),
        Drop("no records", f"{tmp_path}/d.csv"),
    ]
    (tmp_path / "0.csv.gz").write_text("no gzip")
    assert outcomes(config(tmp_path, text_field="content", delimiter=";"))[:2] == ["(unreadable file)", "一"]
    with pytest.raises(UserError, match=r"0\.csv\.gz: cannot be read: Not a gzipped file"):
        source.parts(NAME, config(tmp_path / "0.csv.gz"))
    for field in ("delimiter", "quote"):
        with pytest.raises(UserError, match=f"{field}: '::' has to be one character"):
            source.parts(NAME, config(tmp_path / "b.csv", **{field: "::"}))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), name=st.sampled_from(["a.csv", "a.tsv"]))
def test_any_bytes_are_documents_or_drops(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("in") / name
    path.write_bytes(b"text,title\n" + data)
    for item in read_all(config(path, columns=("text", "title"), delimiter=",")):
        assert isinstance(item, Drop) or item["text"].encode() is not None
