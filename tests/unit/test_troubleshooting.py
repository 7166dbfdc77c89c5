"""The page "troubleshooting": what it quotes is what the program says, and the flags that it names are there."""

from __future__ import annotations

import errno
import os
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from m6 import flags, generate_flags
from m6.recipes.recipe import named
from m6.serve.config import ServeConfig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / language / "troubleshooting.md" for language in ("en", "zh")]
OF_OTHERS = ("torch.OutOfMemoryError", "RuntimeError: operator torchvision")
SYSTEM = [os.strerror(number) for number in (errno.EADDRINUSE, errno.ENOSPC)]
LEAST = 4  # characters of a piece that tell anything


@cache
def code() -> str:
    """The texts of the package, those in several literals put together, values left out."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "m6").rglob("*.py")))
    text = re.sub(r'"\s*\n\s*f?"', "", text).replace('\\"', '"')
    return re.sub(r"\{[^{}]*\}", "...", text)


def messages(page: Path) -> list[str]:
    blocks = re.findall(r"```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("m6: ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith(OF_OTHERS)]


@pytest.mark.parametrize("message", messages(PAGES[0]))
def test_a_quoted_message_is_one_of_the_program(message: str) -> None:
    said = code()
    for name in SYSTEM:
        message = message.replace(name, "...")
    for clause in re.split(r"\.\.\.|[;(),]", message):  # a clause may be a value of its own in the code
        assert len(clause.strip()) < LEAST or clause.strip() in said, clause


def test_both_languages_quote_the_same() -> None:
    assert messages(PAGES[0]) == messages(PAGES[1])


def commands(verb: str) -> list[list[str]]:
    """The words behind `m6 VERB` of each line of the shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [words[2:] for words in lines if words[:2] == ["m6", verb]]


def test_commands_with_a_trained_run_are_understood() -> None:
    for words in commands("generate"):
        assert generate_flags.parse(words)
    for words in commands("serve"):
        _, given = flags.split(words)
        ServeConfig().override(flags.values(given, ServeConfig(), "serve"))
    assert [len(commands(verb)) for verb in ("generate", "serve")] == [5, 2]


def test_flags_are_fields_of_a_recipe() -> None:
    named_flags = set(
        re.findall(r"--((?:corpus|vqgan|model|pretrain)(?:\.\w+)+)", PAGES[0].read_text(encoding="utf-8"))
    )
    recipe = named("quickstart")
    for flag in named_flags:
        value: object = recipe
        for name in flag.split("."):
            value = getattr(value, name)
    assert len(named_flags) > 10
