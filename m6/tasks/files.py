"""Data of tasks: a folder or a file -> the Examples of a split, each checked.

A path is a folder with train.jsonl, validation.jsonl and test.jsonl (also valid, dev or val), one file of JSON lines,
or a folder of a public format (`m6.tasks.formats`). What is wrong is one line: file, line, field, what is allowed.
Pictures have to be there; whether they can be decoded shows when they are used, since that takes hours for many.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from m6.config import UserError
from m6.tasks import fields
from m6.tasks.example import IDS, Example, Record
from m6.tasks.formats import FORMATS, SPLITS, files_of, format_of, splits_of
from m6.tasks.formats.lines import lines, objects
from m6.tasks.names import SUMMARIES
from m6.tasks.task import Task, named

NAMES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}
"""What the file of a split may be called."""
PART = "test-"
"""What the names of parts of a test split begin with: test-concept is test-concept.jsonl, beside test.jsonl."""
LABELLED = ("classification",)
"""Tasks whose answers are a set of labels, that of the training split or of `LABELS`."""
LABELS = "labels.txt"


def read_split(name: str, path: Path, split: str) -> list[Example]:
    """The Examples of a split for a task; a single file is the split, whichever it is.

    UserError for a path that is missing or holds no data of this task, for a split that is not there or is empty, and
    for the first record that is wrong."""
    wanted = split_name(split)
    examples = list(_examples(name, path, wanted))
    if not examples:
        raise UserError(f"{path}: the {wanted} split is empty")
    if wanted in ("train", "validation"):
        told = [example for example in examples if is_told(name, example)]
        if not told or (len(told) < len(examples) and named(name).KIND != "ranked"):
            first = next(example.key for example in examples if not is_told(name, example))
            raise UserError(f"{path}: {first}: no answer is told; only a test split may leave it so")
        examples = told if wanted == "train" else examples  # nothing is learnt from a picture without texts
    return _closed(examples, labels_of(name, path, wanted, examples), path) if name in LABELLED else examples


def is_told(name: str, example: Example) -> bool:
    """Whether what is right is told: an answer, or the picture that is meant."""
    return example.picture is not None if named(name).KIND == "painted" else bool(example.answers)


def has_split(name: str, path: Path, split: str) -> bool:
    """Whether a folder has a split for a task. A single file is whatever it is taken for, and has no splits, lest it be
    known and asked at once. UserError for a name that is no split's."""
    wanted = split_name(split)
    found = format_of(path)
    public = found and name in found.TASKS and wanted in SPLITS and files_of(found, path, wanted)
    return bool(_plain_file(path, wanted)) or bool(public)


def split_name(split: str) -> str:
    """A split by its own name or another: "dev" is "validation"; a part of test by its name. UserError for one that is
    none."""
    for name, others in NAMES.items():
        if split in others:
            return name
    if split.startswith(PART) and Path(split).name == split:
        return split
    raise UserError(f"no split {split!r}; allowed: {', '.join(SPLITS)}, and test-... where there is such a file")


def labels_of(name: str, path: Path, split: str, examples: list[Example]) -> tuple[str, ...]:
    """All labels in the order of `LABELS`, or sorted, of the training split. UserError if neither is there."""
    folder = path if path.is_dir() else path.parent
    if (folder / LABELS).is_file():
        found = tuple(dict.fromkeys(line.strip() for _, line in lines(folder / LABELS)))
        if len(found) < 2:
            raise UserError(f"{folder / LABELS}: {len(found)} labels; there have to be two, a line each")
        return found
    train = path
    if split != "train":
        beside = _plain_file(folder, "train")
        if beside is None:
            raise UserError(f"{path}: which labels there are is not told; put {LABELS}, a label a line, into {folder}")
        train, examples = beside, list(_examples(name, beside, "train"))
    labels = tuple(sorted({answer for example in examples for answer in example.answers}))
    if len(labels) < 2:
        raise UserError(f"{train}: all labels are {', '.join(labels)!r}; there have to be two")
    return labels


def _closed(examples: list[Example], labels: tuple[str, ...], path: Path) -> list[Example]:
    """The same with the labels as their choices. UserError for a label outside."""
    allowed = set(labels)
    for example in examples:
        for answer in example.answers:
            if answer not in allowed:
                some = ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")
                raise UserError(f'{path}: {example.key}: field "label": {answer!r} is no label; allowed: {some}')
    return [replace(example, choices=labels) for example in examples]


def _examples(name: str, path: Path, split: str) -> Iterator[Example]:
    reader = named(name)
    for where, key, record, folder in _records(name, path, split):
        better = _looks_like(name, frozenset(record))
        if better:
            raise UserError(f"{where}: {_other(name, reader, better)}")
        try:
            group = fields.optional_text(record, "group")
            ids = {name: str(record[name]) for name in IDS if record.get(name) is not None}
            for each in reader.read(record, folder, key):
                yield replace(each, group=group, about={**each.about, **ids}) if group or ids else each
        except ValueError as error:
            raise UserError(f"{where}: {error}; a record of {name} has {_listed(reader)}") from None


def _records(name: str, path: Path, split: str) -> Iterator[tuple[str, str, Record, Path]]:
    """Every record with where it stands, its key, and the folder that its pictures are looked for in."""
    file = path if path.is_file() else _plain_file(path, split) if path.is_dir() else None
    if file:
        for number, line in objects(file):
            yield f"{file}, line {number}", f"{file.name} line {number}", line, file.parent
        return
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; give {_allowed()}")
    found = format_of(path)
    if found is None or split not in SPLITS:
        there = splits_of(found, path) if found else _plain_splits(path)
        if there:
            raise UserError(f"{path}: no {split} split; there is {', '.join(there)}")
        raise UserError(f"{path}: no data of a task is recognised; give {_allowed()}")
    if name not in found.TASKS:
        fits = ", ".join(found.TASKS)
        raise UserError(f"{path}: this is {found.SUMMARY}, data for {fits}, not for {name}")
    files = files_of(found, path, split)
    if not files:
        there_is = ", ".join(splits_of(found, path))
        raise UserError(f"{path}: no {split} split of {found.SUMMARY}; there is {there_is}")
    for key, record in found.records(files, path, split, name):
        yield f"{path}/{key}", key, record, path


def _plain_file(folder: Path, split: str) -> Path | None:
    """The file of JSON lines of a split."""
    files = (folder / f"{name}.jsonl" for name in NAMES.get(split, (split,)))
    return next((file for file in files if file.is_file()), None)


def _plain_splits(folder: Path) -> list[str]:
    """The splits of a folder of such files, parts of test among them."""
    return [split for split in SPLITS if _plain_file(folder, split)] + sorted(
        part.stem for part in folder.glob(f"{PART}*.jsonl")
    )


def _allowed() -> str:
    return (
        "a file of JSON lines, a folder with train.jsonl, validation.jsonl and test.jsonl, or one in the format of "
        + ", ".join(FORMATS)
    )


@functools.cache
def _looks_like(name: str, given: frozenset[str]) -> str:
    """Another task that fields fit, if they fit it better than this one; "" if they do not."""
    own = _fit(named(name), given)
    fits = {other: _fit(named(other), given) for other in SUMMARIES if other != name}
    best = max(fits, key=lambda other: fits[other])
    return best if fits[best] > max(own, 0) else ""


def _fit(reader: Task, given: frozenset[str]) -> int:
    """How many fields of a task are given, -1 if one is missing that it needs."""
    count = 0
    for field in reader.FIELDS:
        names = set(field.rstrip("?").split("|"))
        if names & given:
            count += 1
        elif not field.endswith("?"):
            return -1
    return count


def _other(name: str, reader: Task, better: str) -> str:
    return f"this looks like data of {better} ({_listed(named(better))}); a record of {name} has {_listed(reader)}"


def _listed(reader: Task) -> str:
    """The fields of a record in a line: image, question, answer or answers, kind (optional)."""
    names = (field.replace("|", " or ") for field in reader.FIELDS)
    return ", ".join(f"{field[:-1]} (optional)" if field.endswith("?") else field for field in names)
