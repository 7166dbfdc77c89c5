"""Packages fetched through the user's own package clients: pip, npm and apt, those of them that are there.

In: a `Collection` and a folder. Out: its packages in that folder, each fetched once; what is there already is not asked
for, so that a folder carried to a machine without a network works. A client writes into a folder of its own, out of
which the finished file is moved: what a killed download has left is never taken for a package. Nothing is installed, no
code of a package is run, and nobody needs to be root.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from m6.corpus.starter.packages import Collection, Package
from m6.corpus.starter.packages.archive import STORED, PackageError, is_stored, store
from m6.run import duration

SECONDS = 1_800  # that a client may take
DESCRIPTIONS = "descriptions-zh-cn"  # not a package, but the descriptions of all packages that apt shows
_ENDINGS = {"pip": ".whl", "npm": ".tgz", "apt": ".deb"}
_HELPER = "/usr/lib/apt/apt-helper"  # reads lists of apt however they are packed


class FetchError(Exception):
    """Why a package cannot be had, in a few words."""


def packages(name: str, collection: Collection, folder: Path) -> list[tuple[Package, Path]]:
    """The packages of a collection, each with the zip that its files are read from; missing ones are fetched first.

    A package that cannot be had is left out, with a line on stderr that says what is lost.
    """
    found = []
    for package in collection.packages:
        try:
            found.append((package, _stored(package, folder)))
        except (FetchError, OSError) as error:
            part = "a part of " if len(collection.packages) > 1 else ""
            _say(f"{error}; without {label(package)}, {part}{name} is left out: {collection.gives}")
    return found


def label(package: Package, path: Path | None = None) -> str:
    """Client, name and version, as "npm chinese-poetry 2.0.1"; the version of a Debian package is read off its file."""
    version = package.version
    if path is not None and not version:
        version = path.name.split("_")[1].replace("%3a", ":")
    return f"{package.client} {package.name} {version}".strip()


def is_of(package: Package, path: Path) -> bool:
    """Whether a file is this package, or what it has been stored in: named as its client names it."""
    words = re.split(r"[-_.@/]+", package.name.removeprefix("@"))
    version = "-" + re.escape(package.version) if package.version else "_[^_]+"
    ending = r"\.zip" if package.name == DESCRIPTIONS else re.escape(_ENDINGS[package.client])
    pattern = "[-_.]".join(map(re.escape, words)) + version + rf"([-_].*)?{ending}"
    return bool(re.fullmatch(pattern, path.name.removesuffix(STORED), re.IGNORECASE))


def _present(package: Package, folder: Path) -> Path | None:
    """The file of a package; of several versions of a Debian package the last by name."""
    paths = (path for path in folder.iterdir() if not path.name.endswith(STORED) and is_of(package, path))
    return max(paths, default=None)


def _stored(package: Package, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # a second run waits, and then finds the package
        path = _present(package, folder) or _fetch(package, folder)
        if not is_stored(path, package.wanted):
            _say(f"unpacking {path.name}")
        try:
            return store(path, package.wanted)
        except PackageError as error:
            raise FetchError(f"{path} is damaged ({error}), remove it to have it fetched again") from None


def is_there(client: str) -> bool:
    """Whether this machine has the client.

    Pip is looked for on the path alone: setuptools takes `importlib.util.find_spec("pip")` for the start of pip and
    withdraws its distutils from the process, in which `torch.compile` fails from then on.
    """
    if client == "pip":
        return PathFinder.find_spec("pip") is not None
    return shutil.which({"npm": "npm", "apt": "apt-get"}[client]) is not None


def _fetch(package: Package, folder: Path) -> Path:
    if not is_there(package.client):
        raise FetchError(f"{package.client} is not installed")
    _say(f"fetching {label(package)}, {package.megabytes:g} MB")
    started = time.monotonic()
    scratch = folder / ".fetching"
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed call has left
    scratch.mkdir()
    try:
        client: dict[str, Callable[[Package, Path], None]] = {"pip": _pip, "npm": _npm, "apt": _apt}
        client[package.client](package, scratch)
        fetched = _present(package, scratch)
        if fetched is None:
            raise FetchError(f"{package.client} left no file of {label(package)}")
        whole = folder / fetched.name
        os.replace(fetched, whole)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _say(f"fetched {whole.name}, {whole.stat().st_size / 1e6:.1f} MB in {duration(time.monotonic() - started)}")
    return whole


def _pip(package: Package, scratch: Path) -> None:
    quick = ("--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "30")
    only_wheels = ("--no-deps", "--only-binary", ":all:")  # the making of anything else would run its code
    wanted = f"{package.name}=={package.version}"
    _run([sys.executable, "-m", "pip", "download", *quick, *only_wheels, "--dest", ".", wanted], scratch)


def _npm(package: Package, scratch: Path) -> None:
    quick = ("--silent", "--ignore-scripts", "--fetch-retries", "1", "--fetch-timeout", "60000")
    _run(["npm", "pack", *quick, f"{package.name}@{package.version}"], scratch)


def _apt(package: Package, scratch: Path) -> None:
    lists = Path(_apt_lists().name)
    if package.name == DESCRIPTIONS:
        _descriptions(lists, scratch)
    else:
        _run(["apt-get", *_apt_options(lists), "--quiet=2", "download", package.name], scratch)


@functools.cache
def _apt_lists() -> tempfile.TemporaryDirectory[str]:
    """Fresh lists of what the distribution serves, apart from those of the system: these may be missing or old, and
    they are root's. The folder is removed when the process ends."""
    _say("fetching the lists of apt")
    folder = tempfile.TemporaryDirectory(prefix="m6-apt-")
    (Path(folder.name) / "partial").mkdir()
    _run(["apt-get", *_apt_options(Path(folder.name)), "--quiet=2", "update"], Path(folder.name))
    return folder


def _apt_options(lists: Path) -> list[str]:
    options = {
        "Dir::State::Lists": str(lists),
        "Dir::Cache": str(lists / "cache"),
        "Acquire::Languages": "zh_CN",
        "Acquire::Retries": "1",
        "APT::Sandbox::User": "root",  # else root would download as a user who may not write here
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _descriptions(lists: Path, scratch: Path) -> None:
    """Pack the descriptions, under the name and version of the distribution."""
    translations = sorted(path for path in lists.iterdir() if "_Translation-zh" in path.name)
    if not translations:
        raise FetchError("the distribution has no descriptions in Chinese")
    text = "\n\n".join(_run([_HELPER, "cat-file", str(path)], scratch) for path in translations)
    main = translations[0].name
    releases = sorted(path for path in lists.glob("*Release") if main.startswith(path.name.rpartition("_")[0]))
    release = releases[0].read_text("utf-8", "replace") if releases else ""
    about = dict(re.findall(r"^(Codename|Version): *(\S+)", release, re.MULTILINE))
    version = f"{about.get('Codename', 'unknown')}-{about.get('Version', '0')}"
    with zipfile.ZipFile(scratch / f"{DESCRIPTIONS}_{version}_all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Translation-zh_CN", text)


def _run(command: Sequence[str], folder: Path) -> str:
    """What a client prints. FetchError with its last words if it fails."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"{command[0]} took more than {SECONDS // 60} minutes") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise FetchError(f"{Path(command[0]).name} failed: {' '.join(lines[-1:]) or done.returncode}")
    return done.stdout.decode("utf-8", "replace")


def _say(line: str) -> None:
    print(f"starter: {line}", file=sys.stderr, flush=True)
