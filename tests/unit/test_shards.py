"""Shards: what was written comes back by index; what is damaged is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from m6.config import UserError
from m6.shards import MANIFEST, Shards, is_whole, write_shards, write_table

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("more", pa.map_(pa.string(), pa.string()))])
ROWS = [{"id": i, "text": "诗" * (i % 7), "more": [("n", str(i))]} for i in range(25)]


def tables(*sizes: int) -> list[pa.Table]:
    """The rows in tables of the given sizes."""
    rows = iter(ROWS)
    return [pa.Table.from_pylist([next(rows) for _ in range(size)], SCHEMA) for size in sizes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(tmp_path / "shards", tables(3, 0, 20, 2), SCHEMA, 10, {"recipe": "x"})
    return tmp_path / "shards"


def test_rows_come_back_by_index(folder: Path) -> None:
    shards = Shards(folder)
    assert len(shards) == 25
    assert [shards[i] for i in range(25)] == ROWS
    assert [shards[i] for i in (24, 0, 13, -1, -25)] == [ROWS[i] for i in (24, 0, 13, 24, 0)]
    assert shards.about == {"recipe": "x"}
    assert [shard.rows for shard in shards.files] == [10, 10, 5]
    for beyond in (25, -26):
        with pytest.raises(IndexError):
            shards[beyond]
    shards.verify()


def test_many_rows_are_those_by_index(folder: Path) -> None:
    shards = Shards(folder)
    wanted = [24, 3, 11, 3, 0, 19]
    assert shards.rows(wanted) == [ROWS[i] for i in wanted]
    assert shards.rows([]) == []
    for beyond in (25, -1):
        with pytest.raises(IndexError):
            shards.rows([0, beyond])


def test_columns_are_in_order(folder: Path) -> None:
    table = Shards(folder).columns(["id"])
    assert table.column_names == ["id"]
    assert table["id"].to_pylist() == list(range(25))
    with pytest.raises(UserError, match="no column 'nothing'"):
        Shards(folder).columns(["nothing"])


def test_the_same_rows_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "again", tables(25), SCHEMA, 10, {"recipe": "x"})
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_an_open_reader_can_be_sent_to_a_worker(folder: Path) -> None:
    shards = Shards(folder)
    shards[0]
    assert pickle.loads(pickle.dumps(shards))[12] == ROWS[12]


def test_no_rows_are_one_empty_shard(tmp_path: Path) -> None:
    write_shards(tmp_path, [], SCHEMA, 10)
    assert len(Shards(tmp_path)) == 0
    assert Shards(tmp_path).columns(["text"]).num_rows == 0


def test_fewer_shards_than_before_leave_no_old_ones(folder: Path) -> None:
    write_shards(folder, tables(5), SCHEMA, 10)
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "shard-00000.parquet"]


def test_a_truncated_shard_is_named(folder: Path) -> None:
    path = folder / "shard-00001.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"shard-00001.parquet: \d+ bytes, the manifest says \d+"):
        Shards(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "shard-00002.parquet").unlink()
    with pytest.raises(UserError, match=r"shard-00002.parquet: this shard is missing"):
        Shards(folder)


def test_one_wrong_byte_is_found_by_verify(folder: Path) -> None:
    path = folder / "shard-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"shard-00000.parquet: damaged"):
        Shards(folder).verify()


def test_a_shard_that_is_no_parquet_is_named_on_reading(folder: Path) -> None:
    path = folder / "shard-00000.parquet"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(UserError, match=r"shard-00000.parquet: this shard cannot be read"):
        Shards(folder)[0]


def test_writing_that_was_broken_off_is_not_whole(tmp_path: Path) -> None:
    def breaks() -> object:
        yield tables(12)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, breaks(), SCHEMA, 10)  # type: ignore[arg-type]
    assert not is_whole(tmp_path)
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Shards(tmp_path)


def test_a_manifest_of_another_format_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        Shards(folder)
    (folder / MANIFEST).write_text('{"format":')
    with pytest.raises(UserError, match="damaged"):
        Shards(folder)


def test_a_table_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "old.parquet").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        write_table(tmp_path / "missing" / "new.parquet", pa.table({"x": [1]}))
    assert [path.name for path in tmp_path.iterdir()] == ["old.parquet"]
