"""Small lists of words and patterns, one a line, that the text rules look for. All were written for this project.

A line that begins with # is a comment. `boilerplate.txt`, `advertising.txt`, `hints.txt` and `captions.txt` hold
regular expressions over text in lower case: each begins with a letter that stands for itself, by which the one scan for
all of them is fast, and has no capturing group. `navigation.txt` and `sensitive.txt` hold plain words.
"""

from __future__ import annotations

import functools
from pathlib import Path

from m6.config import UserError


@functools.cache
def bundled(name: str) -> tuple[str, ...]:
    """The entries of the list `name` of this folder."""
    return read_list(Path(__file__).parent / f"{name}.txt")


def read_list(path: Path | str) -> tuple[str, ...]:
    """The entries of a UTF-8 file, one a line, without comments and empty lines. UserError if it cannot be read."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot read this list of words, {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: a list of words must be UTF-8; convert it and try again") from None
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))
