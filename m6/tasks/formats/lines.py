"""Lines of text files: JSON objects, tab-separated columns and plain lines, each with its number.

What cannot be read is a UserError with the file and the line. A file is read line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m6.config import UserError


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line that is not blank, with its number from 1. A byte order mark is passed over."""
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                stripped = line.strip("\r\n")
                if stripped and not stripped.isspace():
                    yield number, stripped
    except UnicodeDecodeError as error:
        where = f"{path}, after line {number}" if number else str(path)
        raise UserError(f"{where}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON object of every line, with its number. Of a name that comes twice in one the last counts."""
    for number, line in lines(path):
        try:
            value = json.loads(line)
        except ValueError as error:
            said = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise UserError(f"{path}, line {number}: broken JSON, {said}; a line is one JSON object") from None
        if not isinstance(value, dict):
            raise UserError(f"{path}, line {number}: no JSON object but {type(value).__name__}; a line is one object")
        yield number, value


def columns(path: Path) -> Iterator[tuple[int, str, str]]:
    """The two columns of every line, apart by a tab, with its number."""
    for number, line in lines(path):
        name, tab, rest = line.partition("\t")
        if not tab or not name.strip() or not rest.strip():
            raise UserError(f"{path}, line {number}: no two columns apart by a tab")
        yield number, name.strip(), rest.strip()
