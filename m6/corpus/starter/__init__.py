"""The bundled sample: real pictures with Chinese words, and classical poems.

`manifest.json` holds the SHA-256 of every file; a damaged file is refused when it is read. Where the data comes from
and under which licences stands in NOTICE; `build.py` makes the bundle from its packages again, byte for byte.
"""

from __future__ import annotations

import bz2
import functools
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from m6.config import UserError

HERE = Path(__file__).parent


def read(name: str) -> bytes:
    """A file of the bundle. Raises UserError if it is missing or not the one that was packed."""
    path = HERE / name
    if not path.is_file():
        raise UserError(f"{path}: this file of the package is missing; install open-m6 again")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))[name]:
        raise UserError(f"{path}: this file of the package is damaged; install open-m6 again")
    return data


@functools.cache
def emoji_rows() -> list[dict[str, Any]]:
    """One dict a picture: `file`, `emoji`, `name`, `keywords`, `category`, `colour` and its `colour_share`, `group`,
    `split`."""
    return [json.loads(line) for line in read("emoji.jsonl").splitlines()]


@functools.cache
def english_names() -> dict[str, str]:
    """The English name of every emoji, as file names have it: "red-apple"."""
    found: dict[str, str] = json.loads(read("emoji_english.json"))
    return found


@functools.cache
def emoji_pictures() -> dict[str, bytes]:
    """By file name, the PNG of 64 x 64 pixels with transparency, as its makers encoded it."""
    with zipfile.ZipFile(io.BytesIO(read("emoji.zip"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@functools.cache
def poem_rows() -> list[dict[str, Any]]:
    """One dict a poem: `title`, `author`, `dynasty`, `form`, `collection`, `couplets`, `split`."""
    return [json.loads(line) for line in bz2.decompress(read("poems.jsonl.bz2")).splitlines()]
