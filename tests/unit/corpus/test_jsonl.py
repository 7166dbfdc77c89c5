"""JSON lines: every line once however the file is cut, in any encoding, and what is broken is counted."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import JsonLinesConfig
from m6.corpus.drop import Drop
from m6.corpus.read import lines as line_reader
from m6.corpus.sources import jsonl
from tests.unit.corpus.reading import NAME, POEM, outcomes, png, read_all, same
from tests.unit.corpus.test_files import COMPRESSORS

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
    ('["text"]', "not a JSON object"),
    ('{"text": 3}', "a field is not a text"),
    ('{"id": 3}', "missing field"),
    ('{"text": null}', None),  # an empty text is for the rules to drop
    ('{"text": "\\ud800"}', None),
    ("", None),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ok.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    content = "\n".join(line for line, _ in LINES).encode() + b'\n{"text": "\xb0\xa1"}\n{"text": "last line, no end"}'
    (tmp_path / "in" / "data.jsonl").write_bytes(content)
    return tmp_path / "in" / "data.jsonl"


def config(*paths: Path | str, **fields: Any) -> JsonLinesConfig:
    return JsonLinesConfig(paths=tuple(map(str, paths)), **fields)


def write(path: Path, texts: list[str], encoding: str = "utf-8") -> Path:
    content = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    path.write_bytes(content.encode(encoding))
    return path


def test_lines_give_documents_and_count_the_rest(data: Path) -> None:
    items = read_all(config(data))
    expected = [reason for line, reason in LINES if line] + ["wrong encoding", None]
    assert [item.reason if isinstance(item, Drop) else None for item in items] == expected
    assert isinstance(items[1], dict)
    assert items[1]["images"][0]["bytes"] == png()
    starts = [0]
    for line, _ in LINES[:3]:
        starts.append(starts[-1] + len(line.encode()) + 1)
    assert isinstance(items[2], Drop)
    assert items[2].where == f"{data}, byte {starts[2]}, field image"


def test_parts_of_a_file_have_each_line_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.write_bytes(data.read_bytes().replace(b"[" * 100_000, b"[["))  # else 100,000 parts of one byte
    whole = read_all(config(data))
    for size in (1, 7, 50, 64, 1_000):
        monkeypatch.setattr(jsonl, "BYTES_PER_PART", size)
        assert read_all(config(data)) == whole, "Documents, and the bytes that Drops name"


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(max_size=20) | st.just(POEM), max_size=12),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
    size=st.integers(1, 300),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_any_cut_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], encoding: str, size: int, end: str
) -> None:
    path = tmp_path_factory.mktemp("in") / "a.jsonl"
    lines = [json.dumps({"text": text}, ensure_ascii=False) + end for text in texts]
    path.write_bytes("".join(lines).encode(encoding, "replace"))
    asked = config(path, encoding=encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "BYTES_PER_PART", size)
        cut = read_all(asked)
    assert cut == read_all(asked)
    said = [item["text"] for item in cut if not isinstance(item, Drop)]
    assert said == [json.loads(line.encode("utf-8", "replace"))["text"] for line in lines]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "big5", "utf-16", "utf-16-le"])
def test_encodings_are_told_by_the_beginning_of_the_file(tmp_path: Path, encoding: str) -> None:
    text = "這個國家的經濟發展，許功蓋世。" if encoding == "big5" else POEM  # 許功蓋 end in a backslash in Big5
    path = write(tmp_path / "a.jsonl", [text, "OK", text * 3], encoding)
    asked = config(path, encoding="utf-16-le") if encoding == "utf-16-le" else config(path)
    assert outcomes(asked) == [text, "OK", text * 3]


def test_a_file_in_no_encoding_is_one_drop_and_the_named_one_is_held_to(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [POEM], "gbk")
    assert outcomes(config(path, encoding="utf-8")) == ["(wrong encoding)"]
    path.write_bytes(bytes(range(128, 256)) * 100)
    assert outcomes(config(path)) == ["(wrong encoding)"]
    with pytest.raises(UserError, match=f"corpus.sources.{NAME}.encoding: no encoding 'utf-9'"):
        read_all(config(path, encoding="utf-9"))


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_compressed_files_are_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(jsonl, "BYTES_PER_PART", 10)
    plain = write(tmp_path / "a.jsonl", [POEM, "二"])
    path = tmp_path / f"b.jsonl{ending}"
    path.write_bytes(COMPRESSORS[ending](plain.read_bytes() + b"{\n"))
    assert len(jsonl.parts(NAME, config(path))) == 1
    first, second, broken = read_all(config(path))
    assert [same(first), same(second)] == list(map(same, read_all(config(plain))))
    assert isinstance(broken, Drop)
    assert broken.where == f"{path}, line 3"


def test_a_truncated_compressed_file_gives_what_it_has(tmp_path: Path) -> None:
    texts = [f"{POEM}{number * number}" for number in range(20_000)]
    whole = gzip.compress(write(tmp_path / "a.jsonl", texts).read_bytes())
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    said = outcomes(config(path))
    assert said[-1] == "(truncated file)"
    assert said[:-2] == texts[: len(said) - 2]
    path.write_bytes(b"no gzip at all")
    assert outcomes(config(path)) == ["(unreadable file)"]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk"])
def test_a_file_that_is_one_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None, encoding: str
) -> None:
    path = tmp_path / "a.json"
    records = [{"text": POEM}, {"text": "二", "image": None}, 3, {"text": 4}]
    path.write_bytes(json.dumps(records, ensure_ascii=False, indent=indent).encode(encoding))
    expected = [POEM, "二", "(not a JSON object)", "(a field is not a text)"]
    assert outcomes(config(path)) == expected
    monkeypatch.setattr(jsonl, "BYTES_PER_PART", 16)
    assert outcomes(config(path)) == expected
    path.write_text(path.read_bytes().decode(encoding)[:-12])
    assert outcomes(config(path)) == [*expected[:-1], "(truncated file)"]
    path.write_text("[]")
    assert outcomes(config(path)) == ["(no records)"]


def test_lines_of_arrays_are_not_one_array(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["id", "text"]\n{"text": "二"}\n')
    assert outcomes(config(path)) == ["(not a JSON object)", "二"]


def test_a_line_too_long_is_passed_over_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BYTES_PER_PART", 2**20)
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"text": "a"}\n{"text": "')
        for _ in range(100):
            file.write(b"a" * 2**20)
        file.write(b'"}\n{"text": "b"}\n')
    tracemalloc.start()
    items = [same(item) if isinstance(item, Drop) else item["text"] for item in read_all(config(path))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert items == ["a", "long line", "b"]
    assert peak < 4 * line_reader.LONGEST_LINE


def test_empty_files_and_double_records(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    path = write(tmp_path / "b.jsonl", ["一", "一"])
    nothing, *both = read_all(config(tmp_path))
    assert nothing == Drop("no records", str(tmp_path / "a.jsonl"))
    assert [item["id"] for item in both if not isinstance(item, Drop)] == 2 * [read_all(config(path))[0]["id"]]  # type: ignore[call-overload]


def test_files_must_be_given_and_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"corpus.sources.{NAME}.paths: no files given"):
        read_all(config())
    with pytest.raises(UserError, match="no such file"):
        read_all(config(tmp_path / "x"))


def test_a_file_that_goes_away_while_it_is_read_is_a_drop(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["一"])
    (part,) = jsonl.parts(NAME, config(path))
    path.unlink()
    (item,) = jsonl.read(part, config(path), 0)
    assert isinstance(item, Drop)
    assert item.reason == "unreadable file"


def test_files_are_read_through_urls(data: Path) -> None:
    local = read_all(config(data))
    remote = read_all(config(f"file://{data.parent}"))
    assert list(map(same, remote)) == list(map(same, local))
