"""The page "troubleshooting": what it quotes is what the program says, and the flags that it names are there."""

from __future__ import annotations

import errno
import os
import re
from functools import cache
from pathlib import Path

import pytest

from m6.recipes.recipe import named

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / language / "troubleshooting.md" for language in ("en", "zh")]
OF_OTHERS = ("torch.OutOfMemoryError", "RuntimeError: operator torchvision")
SYSTEM = [os.strerror(number) for number in (errno.EADDRINUSE, errno.ENOSPC)]
LEAST = 4  # characters of a piece that tell anything


@cache
def code() -> str:
    """The texts of the package, those in several literals put together, values left out."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "m6").rglob("*.py")))
    text = re.sub(r'"\s*\n\s*f?"', "", text).replace("\\\"", '"')
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


def test_flags_are_fields_of_a_recipe() -> None:
    flags = set(re.findall(r"--((?:corpus|vqgan|model|pretrain)(?:\.\w+)+)", PAGES[0].read_text(encoding="utf-8")))
    recipe = named("quickstart")
    for flag in flags:
        value: object = recipe
        for name in flag.split("."):
            value = getattr(value, name)
    assert len(flags) > 10
