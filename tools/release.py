"""The check-list before a release: `make release-check`, or `python -m tools.release`.

Each check is a function of the tree, or of an archive that was built of it, which returns what is wrong, "" if nothing
is. One line a check is printed; exit code 1 if one fails. `make test` is not part of it. The build needs a network, or
an index nearby, for its backend.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

WHEEL_MB, SOURCE_MB = 45.0, 60.0
"""Most of each archive. A small trained model is in them; 100 MB is what PyPI takes."""
MUST = (
    "m6/py.typed",
    "m6/serve/studio/index.html",
    "m6/corpus/starter/emoji.zip",
    "m6/corpus/starter/NOTICE",
    "m6/recipes/quickstart.py",
    "m6/mini/config.json",
    "m6/mini/README.md",
)
"""Without which an installed package would not do what it promises."""
MACHINE = re.compile(r"/(?:home|root|Users|work)/\w")
"""Begins a path of somebody's machine."""
LINT = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))


def version(root: Path) -> str:
    """The version of the package."""
    return _first(root / "m6" / "__init__.py", r'^__version__ = "(.+)"$')


def versions(root: Path) -> str:
    """The changelog begins with the version of the package, and the citation has it."""
    own = version(root)
    told = {
        "CHANGELOG.md": _first(root / "CHANGELOG.md", r"^## \[?([^\]\s]+)"),
        "CITATION.cff": _first(root / "CITATION.cff", r'^version: "?([^"\s]+)'),
    }
    advice = {
        "CHANGELOG.md": f"rename the heading to {own} with the date when you release",
        "CITATION.cff": f"write {own} there when you release",
    }
    return "; ".join(
        f"{name} begins with {found!r}, the package is {own}: {advice[name]}"
        for name, found in told.items()
        if found != own
    )


def clean(root: Path) -> str:
    """Nothing is changed or untracked."""
    left = _git(root, "status", "--porcelain").splitlines()
    return f"{len(left)} not committed, the first: {left[0][3:]}" if left else ""


def languages(root: Path) -> str:
    """Every page of the docs is there in both languages."""
    english, chinese = (
        {str(page.relative_to(root / "docs" / name)) for page in (root / "docs" / name).rglob("*.md")}
        for name in ("en", "zh")
    )
    return _listed("in one language only", english ^ chinese)


def paths(root: Path) -> str:
    """No file names a path of the machine that it was written on."""
    found = []
    for name in tracked(root):
        try:
            lines = (root / name).read_text(encoding="utf-8").splitlines()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found += [f"{name}:{number}" for number, line in enumerate(lines, start=1) if MACHINE.search(line)]
    return _listed("names a path of a machine", found)


def style(root: Path, commands: Sequence[Sequence[str]] = LINT) -> str:
    """Style, format and types."""
    for command in commands:
        done = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()
            return f"{' '.join(command)}: {said[-1] if said else done.returncode}"
    return ""


def wheel(root: Path, archive: Path) -> str:
    """The wheel has just the files of the package that are tracked, the licences, and the version."""
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        about = f"open_m6-{version(root)}.dist-info"
        metadata = file.read(f"{about}/METADATA").decode() if f"{about}/METADATA" in names else ""
    wrong = _differs({name for name in tracked(root) if name.startswith("m6/")}, {n for n in names if n[:3] == "m6/"})
    if not metadata:
        wrong = wrong or f"no {about}/METADATA"
    elif "\nLicense-File: LICENSE\n" not in metadata or "\nClassifier: Typing :: Typed\n" not in metadata:
        wrong = wrong or "its metadata names no licence file, or no types"
    return wrong or _listed("missing", set(MUST) - set(names)) or _too_large(archive, WHEEL_MB)


def source(root: Path, archive: Path) -> str:
    """The source archive has just what is tracked."""
    with tarfile.open(archive) as file:
        names = {entry.name.partition("/")[2] for entry in file if entry.isfile()}
    return _differs(set(tracked(root)), names - {"PKG-INFO"}) or _too_large(archive, SOURCE_MB)


def tracked(root: Path) -> list[str]:
    """The files of the tree, as git knows them."""
    return [name for name in _git(root, "ls-files", "-z").split("\0") if name]


def build(root: Path, folder: Path) -> str:
    """Writes the wheel and the source archive into a folder."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr + done.stdout).strip().splitlines()[-1] if done.returncode else ""


def checks(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """The name of each check, and what is wrong; archives are built into the folder."""
    for check in (versions, clean, languages, paths, style):
        yield check.__name__, check(root)
    wrong = build(root, folder)
    yield "build", wrong
    if not wrong:
        yield "wheel", wheel(root, next(folder.glob("*.whl")))
        yield "source", source(root, next(folder.glob("*.tar.gz")))


def _first(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.M) if path.is_file() else None
    return found[1] if found else "nothing"


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


def _differs(wanted: set[str], found: set[str]) -> str:
    return _listed("missing", wanted - found) or _listed("not of the tree", found - wanted)


def _listed(what: str, names: Collection[str]) -> str:
    more = f", and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}: {', '.join(sorted(names)[:3])}{more}" if names else ""


def _too_large(archive: Path, most: float) -> str:
    size = archive.stat().st_size / 1e6
    return f"{archive.name} has {size:.1f} MB, more than {most:g}" if size > most else ""


def main() -> int:
    """The exit code."""
    failed = False
    with TemporaryDirectory() as folder:
        for name, wrong in checks(Path(__file__).parents[1], Path(folder)):
            print(f"{'fails' if wrong else 'holds'}  {name}{f': {wrong}' if wrong else ''}", flush=True)
            failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
