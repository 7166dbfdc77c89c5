"""What is checked of a command, by its first word, without doing its work.

A command that is not m6's own gets the check that is written beside its name in `CHECKS`; one that has none there is
an error, so that nothing is passed over. In: words. A mistake raises AssertionError, or what the real parser raises.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import inspect
import io
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch
from urllib.parse import urlsplit

import m6
from m6 import flags
from m6.cli import main
from m6.config import UserError, nearest
from m6.serve.config import ServeConfig
from tests.unit.docs.pages import ROOT
from tests.unit.docs.stand_ins import ABLE, OWN_RECIPE

PLACEHOLDERS = {"RECIPE": "quickstart", "RUN": ABLE, "...": None}
"""Words that a reader replaces, and what stands for them."""


class ParsedError(Exception):
    """A command line was understood."""

    def __init__(self, given: argparse.Namespace, rest: list[str]) -> None:
        super().__init__()
        self.given, self.rest = given, rest


def check(words: Sequence[str]) -> None:
    """One command."""
    meant = [PLACEHOLDERS.get(word, word) for word in words]
    first, *rest = [word for word in meant if word is not None]
    first = first.removeprefix(".venv/bin/")
    assert first in CHECKS, f"there is no check for {first!r}{nearest(first, CHECKS)}; write one into CHECKS"
    CHECKS[first](rest)


def check_m6(words: list[str]) -> None:
    """`m6 ...` through the command line itself, the work stood in for. A recipe of the reader's that its page does not
    show is the quickstart's."""
    for word in words:
        if word.endswith(".py") and not Path(word).exists():
            Path(word).write_text(OWN_RECIPE)
    assert main(words) == 0


def check_make(words: list[str]) -> None:
    """Targets are in the Makefile, and so are variables."""
    text = (ROOT / "Makefile").read_text()
    for word in words:
        name, equals, _ = word.partition("=")
        assert re.search(rf"^{name} \?=" if equals else rf"^{name}:(?!=)", text, re.MULTILINE), f"make {word}"


def check_python(words: list[str]) -> None:
    """`python -m MODULE ...` and `python FILE ...`: arguments go through the parser that is in it; where there is none,
    through the signature of its function main."""
    if words[0] != "-m":
        _check_script(words)
        return
    name, *rest = words[1:]
    if name in ("pip", "pytest", "venv"):
        CHECKS[name](rest)
        return
    assert name.split(".")[0] in ("benchmarks", "m6"), f"python -m {name}"
    module = importlib.import_module(name)
    _check_arguments(importlib.import_module(f"{name}.__main__") if hasattr(module, "__path__") else module, rest)


def _check_script(words: list[str]) -> None:
    path = ROOT / words[0]
    assert path.is_file(), words[0]
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {"ray": MagicMock()}):  # which takes seconds to import, and is not asked anything
        spec.loader.exec_module(module)
    rest = _check_arguments(module, words[1:])
    if path.name == "ray_cluster.py":
        check_m6(["pretrain", *rest])
    elif path.name == "ray_serve.py":
        _, named = flags.split(rest)
        ServeConfig().override(flags.values(named, ServeConfig(), "serve"))


def _check_arguments(module: ModuleType, words: list[str]) -> list[str]:
    """Lets the main function of a module parse words, and nothing more; returns those that it leaves to others."""
    function = getattr(module, "main", None) or module.write_run
    parsed: ParsedError | None = None
    real = argparse.ArgumentParser.parse_known_args

    def parse_known_args(self: argparse.ArgumentParser, args: Sequence[str] | None = None, _: None = None) -> None:
        raise ParsedError(*real(self, words if args is None else args))

    def parse_args(self: argparse.ArgumentParser, args: Sequence[str] | None = None) -> None:
        given, unknown = real(self, words if args is None else args)
        assert not unknown, unknown
        raise ParsedError(given, [])

    if "ArgumentParser" not in inspect.getsource(module) and not hasattr(module, "command"):
        inspect.signature(function).bind(*words)
        return []
    with (
        patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        patch.object(argparse.ArgumentParser, "parse_args", parse_args),
    ):
        try:
            function(*([words] if inspect.signature(function).parameters else []))
        except ParsedError as done:
            parsed = done
    assert parsed is not None, f"{module.__name__} parsed nothing"
    known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").rglob("*.py"))
    for key in getattr(parsed.given, "only", ()):
        assert f'"{key}"' in known or f"'{key}'" in known or f"{key}=" in known, f"--only {key}"
    return parsed.rest


def check_pip(words: list[str]) -> None:
    """Extras of this package are declared, its wheel has this version; names of others look like names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] in ("install", "download"), words
    for word in words[1:]:
        if found := re.fullmatch(r"(?:open-m6|\.)(?:\[([\w,-]+)\])?", word):
            extras = set(found[1].split(",")) if found[1] else set()
            assert extras <= set(project["optional-dependencies"]), f"{word}: no such extra"
        elif word.endswith(".whl"):
            assert word == f"dist/open_m6-{m6.__version__}-py3-none-any.whl"
        else:
            assert re.fullmatch(r"-\w|--[\w-]+|https?://\S+|[\w.-]+(\[[\w,]+\])?([=<>~]=[\w.]+)?", word), word


def check_npm(words: list[str]) -> None:
    """Packages and versions are those that the builder of the bundle opens."""
    from m6.corpus.starter import build

    assert words[0] == "pack", words
    opened = {build.PICTURES, build.WORDS, build.DERIVED_WORDS, build.POEMS}
    assert {f"{word.replace('@', '-')}.tgz" for word in words[1:]} == opened


def check_curl(words: list[str]) -> None:
    """The path and method are routes of the server, and the body is one that it takes."""
    (url,) = [word for word in words if word.startswith("http")]
    bodies = [words[at + 1] for at, word in enumerate(words) if word in ("-d", "--data")]
    method = "post" if bodies else "get"
    paths = _routes()["paths"]
    path = urlsplit(url).path
    assert path in paths, f"{path}{nearest(path, paths)}"
    assert method in paths[path], f"{method} {path}"
    for body in bodies:
        (content,) = paths[path][method]["requestBody"]["content"].values()
        schema = importlib.import_module("m6.serve.schema")
        getattr(schema, content["schema"]["$ref"].split("/")[-1]).model_validate(json.loads(body))


@functools.cache
def _routes() -> dict[str, Any]:
    from m6.serve.app import make_app

    service = MagicMock(config=ServeConfig())
    return make_app(service).openapi()


def check_torchrun(words: list[str]) -> None:
    """Its own flags through its own parser, the rest as a command of m6."""
    from torch.distributed.run import get_args_parser

    given = get_args_parser().parse_args(words)
    assert given.module
    assert given.training_script == "m6.cli"
    check_m6(given.training_script_args)


def check_sbatch(words: list[str]) -> None:
    """The script exists; what follows it is for `m6 pretrain`."""
    at = next(at for at, word in enumerate(words) if word.endswith(".sh"))
    assert (ROOT / words[at]).is_file(), words[at]
    check_m6(["pretrain", *words[at + 1 :]])


def check_paths(words: list[str]) -> None:
    """Files are there: in the folder in which the page is read, or in the repository. Nothing is done with them."""
    for word in words:
        if not re.match(r"-|\d+$", word):
            path = word.partition("::")[0]
            assert any(Path().glob(path)) or (ROOT / path).exists(), word


def check_apt(words: list[str]) -> None:
    """Packages of Debian have names of the right form; whether there are such is not asked."""
    assert words[0] == "install", words
    assert all(re.fullmatch(r"-y|[a-z0-9][a-z0-9.+-]+", word) for word in words[1:]), words


def check_venv(words: list[str]) -> None:
    """One folder, which is made, or of which the script is read that makes it the active one."""
    (folder,) = words
    assert folder.removesuffix("/bin/activate") == ".venv", folder


def check_docker(words: list[str]) -> None:
    """The file that an image is built from is in the repository; Docker itself is not asked."""
    assert words[0] in ("build", "run"), words
    for at, word in enumerate(words):
        if word in ("-f", "--file"):
            assert (ROOT / words[at + 1]).is_file(), words[at + 1]


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "m6": check_m6,
    "make": check_make,
    "python": check_python,
    "python3": check_python,
    "venv": check_venv,
    "source": check_venv,
    ".": check_venv,
    "pip": check_pip,
    "pytest": check_paths,
    "npm": check_npm,
    "curl": check_curl,
    "torchrun": check_torchrun,
    "sbatch": check_sbatch,
    "examples/launch/node.sh": lambda words: check_m6(["pretrain", *words]),
    **dict.fromkeys(("cat", "tail", "head", "ls", "du", "rm"), check_paths),
    "apt": check_apt,
    "apt-get": check_apt,
    "sudo": lambda words: check(words),
    "docker": check_docker,
}


def check_inline(span: str) -> None:
    """What prose says between backticks, if it is a command of m6 or a flag. Such a command may be shortened, and have
    words that a reader replaces: so its verb has a help page, which names the flags; those with dots are fields of a
    recipe."""
    words = span.split()
    if words[0] == "m6":
        named = [word for word in words if word.startswith("--")]
        told = list(itertools.takewhile(re.compile("[a-z]+").fullmatch, words[1:]))
        if "--task" in named and "generate" in told:  # `m6 generate paint` in other words
            told.append("paint")
            named.remove("--task")
        measures = [word for word in named if word in ("--task", "--all", "--data")] if "evaluate" in told else []
        with contextlib.redirect_stdout(io.StringIO()) as page:
            check_m6([*told, *measures, "--help"])
        for word in named:
            assert "." in word or word in [*re.findall(r"--[\w-]+", page.getvalue()), "--help"], f"{span}: no {word}"
    else:
        named = [span] if re.fullmatch(r"--[a-z_]+\.[\w.]+( [\w.]+)?", span) else []
    for word in named:
        if "." in word and not word.startswith("--section."):
            _check_flag(*word.split())


def _check_flag(name: str, value: str = "") -> None:
    recipe = importlib.import_module("m6.recipes.quickstart").recipe()
    recipe = recipe.override({"corpus.sources.folder": {"kind": "folder"}})
    field = name.removeprefix("--")
    values = flags.values({field: value}, recipe, "VERB")
    try:
        recipe.override(values if value else {})
    except UserError as error:
        if str(error).startswith(f"{field}:"):  # else it is another field that is missing beside this one
            raise
