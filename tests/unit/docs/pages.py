"""The pages that a reader sees, their blocks of code, and the commands of a block.

In: the READMEs, the guides to contributing and everything in docs but its Chinese half, whose code is held equal to
the English one by test_docs.py. Out: blocks with their language and line, and commands as the words that a shell would
make.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("README*.md"), *ROOT.glob("CONTRIBUTING*.md"), *DOCS.rglob("*.md"))
    if DOCS / "zh" not in path.parents
)
GUIDES = sorted(path.relative_to(ROOT) for folder in ("en", "zh") for path in (DOCS / folder).rglob("*.md"))
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
JOINS = "&|;"
"""What joins commands on a line."""


class Block(NamedTuple):
    """A fenced block of code."""

    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(text[: found.start()].count("\n") + 2, found[2], found[3]) for found in FENCE.finditer(text)]


def spans(page: Path) -> list[str]:
    """What stands between backticks in the prose of a page, on one line."""
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def commands(block: str) -> Iterator[list[str]]:
    """The words of each command, without comments and without the environment that is set before it. A command goes on
    over a line that ends in a backslash, and over one within quotes."""
    pending = ""
    for line in block.replace("\\\n", " ").splitlines():
        pending += line
        lexer = shlex.shlex(pending, posix=True, punctuation_chars=JOINS)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # within quotes
            pending += "\n"
            continue
        pending = ""
        command: list[str] = []
        for word in [*words, JOINS]:
            if set(word) <= set(JOINS):
                yield from [command] if command else []
                command = []
            elif command or not re.match(r"[A-Z_0-9]+=", word):
                command.append(word)
    assert not pending, f"quotes that are not closed: {pending}"
