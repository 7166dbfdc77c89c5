"""Files: what a recipe's paths find, in which order, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from m6.config import UserError
from m6.corpus.read import files
from m6.corpus.read.files import (
    READ_ERRORS,
    compression,
    find,
    folder_of,
    join,
    open_file,
    open_text_bytes,
    picture_bytes,
    size,
)
from tests.unit.corpus.reading import png

FIELD = "corpus.sources.shop.paths"
NAMES = ("b.jsonl", "a/c.jsonl.gz", "a/d.JSONL", "a/e.txt", "_SUCCESS.jsonl", ".hidden/f.jsonl", "数据 1.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_folders_patterns_and_files_are_found_in_order(folder: Path, scheme: str) -> None:
    root = f"{scheme}{folder}"

    def found(*paths: str) -> list[str]:
        return [path.removeprefix(root + "/") for path in find(paths, (".jsonl",), FIELD)]

    everything = ["a/c.jsonl.gz", "a/d.JSONL", "b.jsonl", "数据 1.jsonl"]
    assert found(root) == everything
    assert found(f"{root}/b.jsonl", root) == ["b.jsonl", "a/c.jsonl.gz", "a/d.JSONL", "数据 1.jsonl"], "each once"
    assert found(f"{root}/a/e.txt") == ["a/e.txt"], "named by the user"
    assert found(f"{root}/*.jsonl") == ["_SUCCESS.jsonl", "b.jsonl", "数据 1.jsonl"]
    assert found(f"{root}/**/*.jsonl.gz") == ["a/c.jsonl.gz"]
    for path in find((root,), (".jsonl",), FIELD):
        with open_file(path) as file:
            assert file.read().decode() == path.removeprefix(root + "/")
        assert size(path) == len(path.removeprefix(root + "/").encode())


def test_ranges_keep_their_width(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        (tmp_path / f"{number:03}.tar").touch()
    assert find((f"{tmp_path}/{{009..011}}.tar",), (".tar",), FIELD) == [
        f"{tmp_path}/{name}.tar" for name in ("009", "010", "011")
    ]
    assert files._expand_range("{1..2}-{09..10}") == ["1-09", "1-10", "2-09", "2-10"]
    with pytest.raises(UserError, match=r"012\.tar: no such file or folder"):
        find((f"{tmp_path}/{{010..012}}.tar",), (".tar",), FIELD)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", "no such file or folder"),
        ("in/*.csv", r"nothing found there; looked for files that end in .jsonl .json"),
        ("empty", r"nothing found there; looked for files that end in .jsonl .json"),
        ("file:///no/such/folder", "no such file or folder"),
        ("http://example.org/a.jsonl", "web addresses are not read"),
        ("nfs4://host/a.jsonl", "cannot be read: Unrecognized filesystem type"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        find((path,), (".jsonl", ".json"), FIELD)
    assert str(caught.value).startswith(f"{FIELD}: {path}: ")
    assert "\n" not in str(caught.value)


def test_no_paths_say_what_is_wanted() -> None:
    with pytest.raises(UserError, match=r"corpus.sources.shop.paths: no files given; .*\.jsonl"):
        find((), (".jsonl",), FIELD)


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": partial(bz2.compress, compresslevel=1),
    ".xz": partial(lzma.compress, preset=0),
    ".zst": zstd,
}


@pytest.mark.parametrize("ending", COMPRESSORS)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_compressed_files_are_unpacked_as_a_stream(tmp_path: Path, ending: str, scheme: str) -> None:
    path = tmp_path / f"a.txt{ending}"
    pieces = [b"one\ntwo\n" * 1_000, b"three\n" * 10]
    path.write_bytes(b"".join(map(COMPRESSORS[ending], pieces)))  # several members, as parallel compressors write them
    assert compression(str(path)) == ending
    with open_text_bytes(f"{scheme}{path}") as file:
        assert file.readline() == b"one\n"
        assert b"one\n" + file.read() == b"".join(pieces)


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_a_truncated_compressed_file_raises_what_readers_catch(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.txt{ending}"
    whole = COMPRESSORS[ending](random.Random(0).randbytes(2**20))
    for length in (len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with open_text_bytes(str(path)) as file:
            for _ in range(length // 2 // 2**12 - 20):
                assert len(file.read(2**12)) == 2**12, "what comes before the damage is read"
            with pytest.raises(READ_ERRORS):
                file.read()


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FREE_BYTES", 2**20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(8 * 2**20)))
    most = 200 * path.stat().st_size
    with open_text_bytes(str(path)) as file:
        for _ in range(most // 2**16 - 16):
            assert len(file.read(2**16)) == 2**16
        with pytest.raises(OSError, match="unpacks to more than"):
            file.read()


def test_names_within_folders_and_urls() -> None:
    assert folder_of("a/b.jsonl") == "a"
    assert folder_of("b.jsonl") == "."
    assert folder_of("s3://shop/in/b.jsonl?region=x") == "s3://shop/in?region=x"
    assert join("s3://shop/in?region=x", "c.png") == "s3://shop/in/c.png?region=x"
    assert join("a", "c.png") == "a/c.png"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "in" / "inner.png").symlink_to("deep/a.png")
    (tmp_path / "in" / "outer.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    return tmp_path / "in"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_pictures_do_not_come_from_outside(pictures: Path, scheme: str) -> None:
    root = f"{scheme}{pictures}"
    for name in ("deep/a.png", "inner.png", "deep/../deep/a.png", f"{pictures}/deep/a.png"):
        assert picture_bytes(root, name, 10**6) == png()
    for name in ("outer.png", "up/secret.png", "../secret.png", "deep/../../secret.png", "/etc/hostname"):
        assert picture_bytes(root, name, 10**6) == "image outside the folder"
    for name in ("none.png", "deep", "a\0b.png", "x" * 5_000):
        assert picture_bytes(root, name, 10**6) == "missing image"
    assert picture_bytes(root, "deep/a.png", len(png()) - 1) == "large image file"


def test_pictures_in_object_storage(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through a file system of pyarrow, with the local one in the place of S3."""
    root = f"file://{pictures}"
    assert files._remote_picture(root, "deep/a.png", 10**6) == png()
    assert files._remote_picture(root, "deep/a.png", 10) == "large image file"
    assert files._remote_picture(root, "none.png", 10**6) == "missing image"
    for name in ("../secret.png", "/etc/hostname", "deep/../../secret.png", "file:///etc/hostname"):
        assert files._remote_picture(root, name, 10**6) == "image outside the folder"
