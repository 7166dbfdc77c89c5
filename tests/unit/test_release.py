"""The check-list before a release, on a small sound tree and on what can be wrong with it."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import release

METADATA = "Name: open-m6\nVersion: 1.2.0\nLicense-File: LICENSE\nClassifier: Typing :: Typed\n"
FILES = {
    "m6/__init__.py": '__version__ = "1.2.0"\n',
    "CHANGELOG.md": "# Changelog\n\n## 1.2.0\n\n## 1.1.0\n",
    "CITATION.cff": 'title: "Open M6"\nversion: 1.2.0\n',
    "docs/en/start.md": "# Start\n",
    "docs/zh/start.md": "# 开始\n",
    **dict.fromkeys(release.MUST, ""),
}


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def put(root: Path, name: str, text: str) -> None:
    """Writes a file that is tracked."""
    write(root, name, text)
    git(root, "add", name)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree without a fault, committed."""
    root = tmp_path_factory.mktemp("committed")
    for name, text in FILES.items():
        write(root, name, text)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "all")
    return root


@pytest.fixture
def tree(committed: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    return shutil.copytree(committed, tmp_path / "tree")


def zipped(root: Path, path: Path, left_out: str = "", beside: str = "", metadata: str = METADATA) -> Path:
    """The wheel of a tree."""
    names = {name for name in release.tracked(root) if name.startswith("m6/")} - {left_out}
    with zipfile.ZipFile(path, "w") as file:
        for name in names | ({beside} if beside else set()):
            file.writestr(name, "")
        file.writestr("open_m6-1.2.0.dist-info/METADATA", metadata)
    return path


def packed(root: Path, path: Path, left_out: str = "") -> Path:
    """The source archive of a tree."""
    with tarfile.open(path, "w:gz") as file:
        for name in (name for name in release.tracked(root) if name != left_out):
            file.add(root / name, f"open_m6-1.2.0/{name}")
    return path


def test_a_sound_tree_passes(tree: Path, tmp_path: Path) -> None:
    assert [check(tree) for check in (release.versions, release.clean, release.languages, release.paths)] == [""] * 4
    assert release.style(tree, [("ruff", "check", "--isolated", ".")]) == ""
    assert release.wheel(tree, zipped(tree, tmp_path / "a.whl")) == ""
    assert release.source(tree, packed(tree, tmp_path / "a.tar.gz")) == ""


@pytest.mark.parametrize(
    ("check", "name", "text", "line"),
    [
        (
            release.versions,
            "CHANGELOG.md",
            "## Unreleased\n",
            "CHANGELOG.md begins with 'Unreleased', the package is 1.2.0: rename the heading to 1.2.0 with the date"
            " when you release",
        ),
        (
            release.versions,
            "CITATION.cff",
            "version: 1.1.0\n",
            "CITATION.cff begins with '1.1.0', the package is 1.2.0: write 1.2.0 there when you release",
        ),
        (release.clean, "m6/new.py", "", "1 not committed, the first: m6/new.py"),
        (release.languages, "docs/en/more/new.md", "", "in one language only: more/new.md"),
        (
            release.paths,
            "docs/en/start.md",
            "a\nin /" + "home/ann/m6\n",
            "names a path of a machine: docs/en/start.md:2",
        ),
    ],
)
def test_what_is_wrong_with_a_tree_is_told(
    tree: Path, check: Callable[[Path], str], name: str, text: str, line: str
) -> None:
    put(tree, name, text)
    assert check(tree) == line


def test_setting_up_says_first_what_takes_so_long(tmp_path: Path) -> None:
    words = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", "setup"]
    root = Path(release.__file__).parents[1]
    lines = subprocess.run(words, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    told = next(number for number, line in enumerate(lines) if line.startswith("echo ") and "minutes" in line)
    assert told < next(number for number, line in enumerate(lines) if "pip install" in line)


def test_the_last_line_of_a_linter_is_told(tree: Path) -> None:
    put(tree, "m6/new.py", "import os\n")
    assert release.style(tree, [("ruff", "check", "--isolated", ".")]).startswith(
        "ruff check --isolated .: [*] 1 fixable"
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"left_out": "m6/py.typed"}, "missing: m6/py.typed"),
        ({"beside": "m6/notes.txt"}, "not of the tree: m6/notes.txt"),
        ({"metadata": "Version: 1.2.0\n"}, "its metadata names no licence file, or no types"),
    ],
)
def test_what_is_wrong_with_a_wheel_is_told(tree: Path, tmp_path: Path, given: dict[str, str], line: str) -> None:
    assert release.wheel(tree, zipped(tree, tmp_path / "a.whl", **given)) == line


def test_a_wheel_needs_more_than_what_is_tracked(tree: Path, tmp_path: Path) -> None:
    git(tree, "rm", "--quiet", "m6/py.typed")
    assert release.wheel(tree, zipped(tree, tmp_path / "a.whl")) == "missing: m6/py.typed"


def test_a_wheel_of_another_version_is_told(tree: Path, tmp_path: Path) -> None:
    put(tree, "m6/__init__.py", '__version__ = "1.3.0"\n')
    assert release.wheel(tree, zipped(tree, tmp_path / "a.whl")) == "no open_m6-1.3.0.dist-info/METADATA"


def test_what_a_source_archive_lacks_is_told(tree: Path, tmp_path: Path) -> None:
    assert release.source(tree, packed(tree, tmp_path / "a.tar.gz", "docs/zh/start.md")) == "missing: docs/zh/start.md"


def test_archives_that_are_too_large_are_told(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "WHEEL_MB", 1e-5)
    monkeypatch.setattr(release, "SOURCE_MB", 1e-5)
    assert release.wheel(tree, zipped(tree, tmp_path / "a.whl")).endswith("MB, more than 1e-05")
    assert release.source(tree, packed(tree, tmp_path / "a.tar.gz")).endswith("MB, more than 1e-05")


def test_a_failed_build_ends_the_list(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "build", lambda root, folder: "no backend")
    monkeypatch.setattr(release, "style", lambda root: "")
    assert list(release.checks(tree, tmp_path))[-1] == ("build", "no backend")


@pytest.mark.parametrize(("wrong", "code"), [("", 0), ("no page", 1)])
def test_one_line_a_check_and_the_exit_code(
    wrong: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "checks", lambda root, folder: [("versions", ""), ("languages", wrong)])
    assert release.main() == code
    assert (
        capsys.readouterr().out == f"holds  versions\n{'fails  languages: no page' if wrong else 'holds  languages'}\n"
    )
