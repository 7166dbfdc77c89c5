"""`m6 corpus files`: a corpus from any files with the default rules, without a recipe.

In: the words of the command line. Out: a `CorpusConfig` with one source a path, whose kind is told by the ending, and
the folder that will hold the shards and the report. Fields of the config are flags here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from m6 import flags
from m6.config import UserError
from m6.corpus.config import CorpusConfig, DuplicatesConfig, ImageFormat

KINDS = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv", ".tab"),
    "parquet": (".parquet", ".arrow"),
    "webdataset": (".tar",),
    "warc": (".warc", ".wet"),
    "pages": (".html", ".htm"),
    "mediawiki": (".xml",),
}
"""Endings by kind; .gz, .bz2, .xz and .zst behind them do not count."""
PACKED = (".gz", ".bz2", ".xz", ".zst")
RECORDS = ("jsonl", "csv", "parquet", "webdataset")
FIELDS = ("text", "title", "image", "question", "answer", "keywords")
BASE = CorpusConfig(sources={}, image_size=256, image_format=ImageFormat(encoding="jpeg"))
"""What holds unless a flag says otherwise."""

HELP = f"""\
m6 corpus files --paths FILE [FILE ...] --out DIR: clean and deduplicate any files with the default rules.

  --paths FILE ...    files, folders or quoted patterns, each a source of its own, read by its ending:
                      {", ".join(ending for endings in KINDS.values() for ending in endings)}
                      (also {", ".join(PACKED)}), folders of pictures with texts, of Parquet files, of a finished corpus
  --out DIR           the folder for the shards, report.html, report.md and report.json
  --against FILE ...  evaluation files: Documents that contain their texts are dropped
  --text NAME         the field with the text (text); likewise --title, --image, --question, --answer, --keywords
  --check             read 1,000 records of each source, say what does not fit, and write nothing

Any other field is a flag too, such as --rules.text.shortest_text 5 for the rules of all sources:
"""


class Command(NamedTuple):
    """What `m6 corpus files` was asked for."""

    config: CorpusConfig
    folder: Path
    check: bool


def parse(words: Sequence[str]) -> Command:
    """The corpus that a command line describes. UserError for what is missing or unknown."""
    words, check = [word for word in words if word != "--check"], "--check" in words
    words, paths = _list("--paths", words)
    words, against = _list("--against", words)
    alone, given = flags.split(words)
    if alone:
        raise UserError(f"corpus files: {alone[0]!r} stands alone; files follow --paths")
    if not paths:
        raise UserError("corpus files: no files given; name them after --paths")
    out = given.pop("out", None)
    if out is None and not check:
        raise UserError("corpus files: --out DIR is missing, the folder for the shards and the report")
    fields = {f"{name}_field": given.pop(name) for name in FIELDS if name in given}
    rules = {name.removeprefix("rules."): given.pop(name) for name in list(given) if name.startswith("rules.")}
    sources: dict[str, Any] = {}
    for path in paths:
        sources[_name(path, sources)] = _source(path, fields)
    config = BASE.override({"sources": sources, "duplicates": DuplicatesConfig(against=against).model_dump()})
    changed = {f"sources.{name}.{rule}": text for name in sources for rule, text in rules.items()}
    return Command(config.override(flags.values({**given, **changed}, config, "corpus files")), Path(out or "."), check)


def describe() -> str:
    """The help page."""
    return HELP + flags.describe(BASE, ("duplicates", "image_format", "fetch", "engine"))


def _list(flag: str, words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The words without a flag and its values, which go on to the next flag; and these values."""
    rest: list[str] = []
    values: list[str] = []
    taking = False
    for word in words:
        if word == flag or word.startswith(f"{flag}="):
            taking = True
            values += [word.removeprefix(f"{flag}=")] if "=" in word else []
        elif word.startswith("--"):
            taking = False
            rest.append(word)
        elif taking:
            values.append(word)
        else:
            rest.append(word)
    return rest, tuple(values)


def _name(path: str, taken: dict[str, Any]) -> str:
    """A name for the source: that of the file, in letters and digits."""
    stem = re.sub(r"\W+", "_", Path(path.rstrip("/")).name.split(".")[0]).strip("_") or "files"
    stem = f"_{stem}" if stem[0].isdigit() else stem
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    return name


def _source(path: str, fields: dict[str, str]) -> dict[str, Any]:
    kind = _kind(path)
    if kind in ("folder", "documents"):
        return {"kind": kind, "path": path}
    return {"kind": kind, "paths": (path,), **(fields if kind in RECORDS else {})}


def _kind(path: str) -> str:
    folder = Path(path)
    if folder.is_dir():
        return _kind_of_folder(folder)
    ending = _ending(Path(path))
    for kind, endings in KINDS.items():
        if ending in endings:
            return kind
    known = ", ".join(ending for endings in KINDS.values() for ending in endings)
    raise UserError(f"{path}: its ending tells no kind of source; known are {known}, or write a recipe")


def _ending(path: Path) -> str:
    """That of the file as it is when unpacked."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _kind_of_folder(folder: Path) -> str:
    if (folder / "manifest.json").exists():
        return "documents"
    names = {_ending(path) for path in folder.rglob("*") if path.is_file()}
    if names & {".parquet", ".arrow"}:
        return "parquet"
    found = [kind for kind, endings in KINDS.items() if names & set(endings) and kind not in ("jsonl", "parquet")]
    if names & {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"} and "pages" not in found:
        return "folder"
    if not found and names & set(KINDS["jsonl"]):
        return "jsonl"
    if len(found) != 1:
        raise UserError(
            f"{folder}: a folder of {', '.join(found) or 'nothing that is known'}; name its files one by one"
        )
    return found[0]
