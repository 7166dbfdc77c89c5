"""The Dockerfile, read without Docker: bases have a tag, what is copied is there, it runs as nobody in particular."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from m6.serve.config import ServeConfig

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction and what stands behind it, lines that go on joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in whole if line.strip())]


def ignored(name: str, rules: str) -> bool:
    """Whether .dockerignore keeps a file of the top out: the last rule that fits decides."""
    out = False
    for rule in rules.splitlines():
        if rule and not rule.startswith("#") and fnmatch(name, rule.removeprefix("!")):
            out = not rule.startswith("!")
    return out


def complaints(text: str, root: Path) -> Iterator[str]:
    """What is wrong with a Dockerfile whose context is `root`, a line each."""
    stages: dict[str, str] = {}
    users: dict[str, str] = {}
    rules = (root / ".dockerignore").read_text(encoding="utf-8")
    stage = ""
    for word, rest in instructions(text):
        parts = rest.split()
        if word == "FROM":
            base, stage = parts[0], parts[-1]
            if base not in stages and (":" not in base or base.endswith(":latest")):
                yield f"base {base} has no tag"
            stages[stage], users[stage] = base, users.get(base, "root")
        elif word == "USER":
            users[stage] = rest
        elif word == "COPY" and parts[0].startswith("--from="):
            if parts[0].removeprefix("--from=") not in stages:
                yield f"COPY {parts[0]}: no such stage before"
        elif word in ("COPY", "ADD"):
            yield from (f"{word} {name}: not there" for name in parts[:-1] if not (root / name).exists())
            yield from (f"{word} {name}: ignored by .dockerignore" for name in parts[:-1] if ignored(name, rules))
        elif word in ("ENTRYPOINT", "CMD") and not rest.startswith("["):
            yield f"{word}: a list, or signals do not reach m6"
    for name in stages:  # what is built and run, unlike what others copy from
        if name not in re.findall(r"--from=(\w+)", text) and users[name] in ("root", "0"):
            yield f"{name} runs as root"


def test_the_dockerfile_is_in_order() -> None:
    assert list(complaints(TEXT, ROOT)) == []


@pytest.mark.parametrize(
    ("sound", "broken", "line"),
    [
        ("FROM python:3.13-slim-bookworm AS wheel", "FROM python AS wheel", "base python has no tag"),
        ("FROM python:3.13-slim-bookworm AS cpu", "FROM python:latest AS cpu", "base python:latest has no tag"),
        ("COPY m6 m6", "COPY m7 m7", "COPY m7: not there"),
        ("COPY m6 m6", "COPY m6 tests ./", "COPY tests: ignored by .dockerignore"),
        ("--from=packages", "--from=package", "COPY --from=package: no such stage before"),
        ('ENTRYPOINT ["m6"]', "ENTRYPOINT m6", "ENTRYPOINT: a list, or signals do not reach m6"),
        ("USER m6\nEXPOSE", "EXPOSE", "cpu runs as root"),
        ("compute,utility\nUSER m6", "compute,utility", "cuda runs as root"),
    ],
)
def test_what_is_wrong_is_told(sound: str, broken: str, line: str) -> None:
    assert sound in TEXT
    assert line in complaints(TEXT.replace(sound, broken), ROOT)


def test_nothing_comes_along_but_what_the_wheel_is_made_of() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    kept = {path.name for path in ROOT.iterdir() if not ignored(path.name, rules)}
    assert kept == {"LICENSE", "NOTICE", "README.md", "m6", "pyproject.toml"}


def test_it_serves_where_it_is_asked_after() -> None:
    told = dict(instructions(TEXT))
    port = ServeConfig().port
    assert told["EXPOSE"] == str(port)
    assert f"http://127.0.0.1:{port}/healthz" in told["HEALTHCHECK"]
    assert '"/healthz"' in (ROOT / "m6" / "serve" / "app.py").read_text(encoding="utf-8")
    verb, _, flag, _ = json.loads(told["CMD"])
    assert (verb, flag) == ("serve", "--host")


def test_torch_is_pinned_as_in_the_makefile() -> None:
    (pin,) = re.findall(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert f"ARG TORCH={pin}\n" in TEXT
