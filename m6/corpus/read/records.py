"""Records with named fields, as Documents: what JSON lines, CSV, Parquet and tar shards have in common.

In: a dict of fields, with names given by `RecordsConfig`. A name with dots reaches into nested fields: `json.caption`.
Out: a Document, or a Drop that names the field. How fields become a Document:

    text        a text; a list of texts is captions if there is a picture (the first one counts, all of them stand in
                the attribute `captions`, one a line), else the lines of one text
    image       one picture or a list of them, see `m6/corpus/read/picture_values.py`; they stand before the text
    question    with its answer: a question of kind "vqa" (with a picture) or "qa". A record without a text has the
                pair as its text, "问：…答：…"; if it has no picture either, the question is its title and the answer
                its text
    keywords    a list of texts, or one text with commas
    group       decides the split together with `heldout_share`; without one it is a hash of all that the record says

Null is the same as a field that is not there. A number where a text should be is a mistake, not a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from m6.config import UserError, nearest
from m6.corpus.config import RecordsConfig
from m6.corpus.document import Document, Image, Question, content_id, make_document
from m6.corpus.drop import Drop, safely
from m6.corpus.read.encodings import require_known
from m6.corpus.read.files import compression, find, is_url
from m6.corpus.read.picture_values import NO_IMAGE, Pictures, pictures_of
from m6.corpus.sources import Part, split_by_hash

LONGEST_RECORD = 16 * 2**20  # characters of text; bytes of a line

_FIELDS = ("text", "title", "image", "question", "answer", "keywords", "group")
_SURROGATES = re.compile("[\ud800-\udfff]")
_COMMAS = re.compile(r"[,，、;；\n|]")


class _FieldError(Exception):
    """Why a record is dropped, and by which field."""


def document(
    record: Mapping[str, Any], where: str, part: Part, config: RecordsConfig, pictures: Pictures
) -> Document | Drop:
    """The Document of a record that stands at `where`; `pictures` finds those that the record only names.

    If none of its pictures can be had and the source needs them, the record is dropped; otherwise a picture that cannot
    be had stays as one without bytes, for the rules to count.
    """
    return safely(where, _document, record, where, part, config, pictures)


def require_usable(name: str, config: RecordsConfig) -> None:
    """UserError for an unknown encoding, and for an image table that is missing or compressed."""
    field = f"corpus.sources.{name}"
    require_known(config.encoding, f"{field}.encoding")
    if config.image_table:
        find((config.image_table,), (".tsv", ".csv"), f"{field}.image_table")
        if compression(config.image_table):
            raise UserError(f"{field}.image_table: {config.image_table}: unpack it, rows of it are read out of order")
    if config.image_root and not is_url(config.image_root) and not Path(config.image_root).is_dir():
        raise UserError(f"{field}.image_root: {config.image_root!r} is no folder; give the one with the pictures")


def field_names(config: RecordsConfig) -> list[str]:
    """The names of all fields that are asked for, each once; a nested one is in that of its first piece."""
    names = [*(getattr(config, f"{field}_field") for field in _FIELDS), *config.attribute_fields]
    return list(dict.fromkeys(piece for name in names for piece in (name, name.split(".")[0]) if piece))


def missing_column(columns: Collection[str], config: RecordsConfig) -> tuple[str, str] | None:
    """The first column that a table lacks, as (field of the config, column): the text, unless there are questions and
    answers; the group and attributes; and whatever has another name than by default, so that a slip is noticed."""

    def is_there(name: str) -> bool:
        return name in columns or name.split(".")[0] in columns

    by_questions = is_there(config.question_field) and is_there(config.answer_field)
    for field in (f"{name}_field" for name in _FIELDS):
        name = getattr(config, field)
        needed = name != type(config).model_fields[field].default or (field == "text_field" and not by_questions)
        if name and needed and not is_there(name):
            return field, name
    return next((("attribute_fields", name) for name in config.attribute_fields if not is_there(name)), None)


def require_columns(columns: Collection[str], path: str, name: str, config: RecordsConfig) -> None:
    """UserError naming what is missing in a table, and the columns that there are."""
    missing = missing_column(columns, config)
    if missing:
        field, wanted = missing
        raise UserError(f"corpus.sources.{name}.{field}: {path} has no column {wanted!r}{nearest(wanted, columns)}")


def plain(text: str) -> str:
    """A text without halves of characters, which JSON can say and UTF-8 cannot."""
    return _SURROGATES.sub("\ufffd", text)


def _document(
    record: Mapping[str, Any], where: str, part: Part, config: RecordsConfig, pictures: Pictures
) -> Document | Drop:
    try:
        return _composed(record, where, part, config, pictures)
    except _FieldError as error:
        reason, field, value = error.args
        return Drop(reason, f"{where}, field {field}", _sample(value))


def _composed(record: Mapping[str, Any], where: str, part: Part, config: RecordsConfig, pictures: Pictures) -> Document:
    images, sources = _images(record, config, pictures)
    texts = _texts(record, config.text_field)
    title = "\n".join(_texts(record, config.title_field))
    keywords = [word for text in _texts(record, config.keywords_field) for word in _split_keywords(text)]
    question = "\n".join(_texts(record, config.question_field))
    answer = next(iter(_texts(record, config.answer_field)), "")
    attributes = _attributes(record, config)
    questions = []
    if images and len(texts) > 1:
        attributes["captions"] = "\n".join(texts)
        texts = texts[:1]
    text = "\n".join(texts)
    if question and answer:
        questions.append(Question(kind="vqa" if images else "qa", question=question, answer=answer))
        if not text and not images and not title:
            title, text, questions = question, answer, []
        text = text or f"问：{question}答：{answer}"
    if not text and _value(record, config.text_field) is _MISSING:
        raise _FieldError("missing field", config.text_field, "there are " + ", ".join(map(str, record)))
    group = _group(record, config) or content_id("", title, text, sources)
    split = split_by_hash(group, config.heldout_share)
    return make_document(
        part.source,
        text,
        title=title,
        split=split,
        group=group,
        images=images,
        keywords=keywords,
        questions=questions,
        attributes=attributes,
        where=where,
    )


_MISSING = object()


def _value(record: Mapping[str, Any], name: str) -> Any:
    """The value of a field, which may be nested: `json.caption`."""
    if name in record:
        return record[name] if name else _MISSING
    first, _, rest = name.partition(".")
    inner = record.get(first) if rest else None
    return _value(inner, rest) if isinstance(inner, Mapping) else _MISSING


def _texts(record: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a field, those that are empty or null left out."""
    value = _value(record, name)
    if value is _MISSING or value is None:
        return []
    values = value if isinstance(value, list | tuple) else (value,)
    texts = []
    length = 0
    for one in values:
        if isinstance(one, str):
            length += len(one)
            if one:
                texts.append(plain(one))
        elif one is not None:
            raise _FieldError("a field is not a text", name, value)
    if length > LONGEST_RECORD:
        raise _FieldError("long record", name, texts[0])
    return texts


def _split_keywords(text: str) -> list[str]:
    return [word.strip() for word in _COMMAS.split(text) if word.strip()]


def _images(record: Mapping[str, Any], config: RecordsConfig, pictures: Pictures) -> tuple[list[Image], list[bytes]]:
    """The pictures of a record; and what each is known by: its bytes, or its address."""
    value = _value(record, config.image_field)
    found = [] if value is _MISSING else pictures_of(value, pictures, config.images.most_bytes)
    reasons = [one for one in found if isinstance(one, str)]
    if reasons and (NO_IMAGE in reasons or (len(reasons) == len(found) and config.needs_image)):
        raise _FieldError(NO_IMAGE if NO_IMAGE in reasons else reasons[0], config.image_field, value)
    images = [
        Image(bytes=b"", width=0, height=0, offset=0, missing=one)
        if isinstance(one, str)
        else Image(bytes=one.data, width=0, height=0, offset=0, url=one.url)
        for one in found
    ]
    return images, [image["bytes"] or (image.get("url") or "").encode() for image in images]


def _group(record: Mapping[str, Any], config: RecordsConfig) -> str:
    """The value of the group field as a text; numbers are as good as texts here."""
    value = _value(record, config.group_field)
    if value is _MISSING or value is None:
        return ""
    if not isinstance(value, str | int):
        raise _FieldError("a field is not a text", config.group_field, value)
    return plain(str(value))


def _attributes(record: Mapping[str, Any], config: RecordsConfig) -> dict[str, str]:
    """Fields to keep: texts as they are, other values as JSON has them."""
    attributes = {"licence": config.licence} if config.licence else {}
    for name in config.attribute_fields:
        value = _value(record, name)
        if value is not _MISSING and value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            attributes[name] = plain(text)
    return attributes


def _sample(value: Any) -> str:
    """The beginning of a value, for the report."""
    if isinstance(value, Mapping):
        value = value.get("path") or value.get("url") or "bytes"
    if isinstance(value, list | tuple):
        return ", ".join(map(_sample, value[:3]))
    return value[:80].decode(errors="replace") if isinstance(value, bytes) else plain(str(value)[:80])
