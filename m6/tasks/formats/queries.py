"""Queries with the pictures that answer them, turned round into pictures with the texts that fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import Record
from m6.tasks.formats.lines import objects
from m6.tasks.formats.table import picture_of, picture_table


def pictures_with_texts(
    queries: Path, pictures: Path, text_field: str, ids_field: str, task: str
) -> Iterator[tuple[str, Record]]:
    """A record for each picture of a table, with the texts of a file of JSON lines that name it; for retrieval also
    those that no text names, since texts are looked for among all. UserError if the file names no picture at all."""
    table = picture_table(pictures)
    texts: dict[str, list[str]] = {name: [] for name in table}
    for number, row in objects(queries):
        where = f"{queries}, line {number}"
        for field in (text_field, ids_field):
            if field not in row:
                raise UserError(f"{where}: {_missing(field, ids_field)}")
        if not isinstance(row[text_field], str) or not row[text_field].strip():
            raise UserError(f'{where}: field "{text_field}": no text')
        if not isinstance(row[ids_field], list):
            raise UserError(f'{where}: field "{ids_field}": no list of ids of pictures')
        for name in row[ids_field]:
            picture_of(table, pictures, name, where)
            texts[str(name)].append(row[text_field])
    if not any(texts.values()):
        raise UserError(f"{queries}: {_missing(ids_field, ids_field)}")
    for name, image in table.items():
        if task == "retrieval" or texts[name]:
            yield f"{pictures.name} {name}", {"image": image, _FIELD[task]: texts[name]}


_FIELD = {"retrieval": "texts", "captioning": "captions"}


def _missing(field: str, ids_field: str) -> str:
    if field == ids_field:
        return f'no "{field}": which pictures fit is not told in a public test split; take validation'
    return f'no field "{field}"'
