"""WebDataset: tar shards whose members of one name are a record, as img2dataset writes Wukong, Zero and LAION.

In: tar files (also .tar.gz) with members KEY.jpg, KEY.txt and KEY.json, one after the other; KEY goes to the first dot
of the base name. The text is the member that `text_field` names ("txt"), or that field of the JSON member, or its
`caption`; all other fields come out of the JSON member. Out: a Document a record, with its web address as the attribute
`url`. A tar file is a part: img2dataset puts 10,000 records into one. It is read as a stream, a record at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from m6.corpus.config import WebDatasetConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read.encodings import decode
from m6.corpus.read.files import READ_ERRORS, find, open_text_bytes, size
from m6.corpus.read.records import document, plain, require_usable
from m6.corpus.read.tar_members import Member, TarDamageError, members
from m6.corpus.sources import Part

ENDINGS = (".tar",)
PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp")
LONGEST_TEXT = 16 * 2**20  # bytes
LARGEST_RECORD = 128 * 2**20  # bytes; members beyond are not kept

Record = dict[str, Member]
"""The members of a record by their endings: "jpg", "txt", "json"."""


def parts(name: str, config: WebDatasetConfig) -> list[Part]:
    """A part a tar file. UserError if there is none."""
    require_usable(name, config)
    paths = find(config.paths, ENDINGS, f"corpus.sources.{name}.paths")
    return [Part(name, 0, size(path), path) for path in paths]


def read(part: Part, config: WebDatasetConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of a tar file. Of one that is damaged those before the damage, and a Drop; the record in which it
    lies is lost with it."""

    def most_bytes(name: str) -> int:
        ending = _split(name)[1]
        if ending.rpartition(".")[2] in PICTURES:
            return config.images.most_bytes
        return LONGEST_TEXT if ending in ("json", config.text_field.lower()) else -1

    some = False
    try:
        with open_text_bytes(part.of) as file:
            for key, record in _records(members(file, most_bytes)):
                some = True
                yield _document(record, f"{part.of}, {key}", part, config)
    except TarDamageError as error:
        yield Drop(str(error), part.of)
    except READ_ERRORS as error:
        yield Drop("truncated file" if isinstance(error, EOFError) else "unreadable file", part.of, str(error))
    else:
        if not some:
            yield Drop("no records", part.of)


def _records(found: Iterator[Member]) -> Iterator[tuple[str, Record]]:
    """Members one after the other that have the same key; an ending that comes again begins another record."""
    key, record = "", Record()
    for member in found:
        name, ending = _split(member.name)
        if not ending:
            continue  # hidden files, and those without an ending
        if name != key or ending in record:
            if record:
                yield key, record
            key, record = name, Record()
        held = sum(len(one.data or b"") for one in record.values())
        record[ending] = member if held + member.size <= LARGEST_RECORD else member._replace(data=None)
    if record:
        yield key, record


def _split(name: str) -> tuple[str, str]:
    """Key and ending: "00012/000120003.jpg" is "00012/000120003" and "jpg"; nothing of a hidden file."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return (folder + slash + stem, ending.lower()) if stem else ("", "")


def _document(record: Record, where: str, part: Part, config: WebDatasetConfig) -> Document | Drop:
    fields = _fields(record, config)
    if isinstance(fields, Drop):
        return fields._replace(where=where)
    pictures = [member for ending, member in record.items() if ending.rpartition(".")[2] in PICTURES]
    if any(member.data is None for member in pictures):
        return Drop("large image file", where, f"{max(member.size for member in pictures)} bytes")
    if not pictures and config.needs_image:
        return Drop("missing image", where)
    if pictures and not fields.get(config.text_field) and not fields.get(config.question_field):
        return Drop("no text beside the picture", where)
    fields[config.image_field] = [member.data or "empty" for member in pictures]
    result = document(fields, where, part, config, _nowhere)
    if not isinstance(result, Drop) and isinstance(fields.get("url"), str):
        result["attributes"].setdefault("url", plain(fields["url"]))
    return result


def _fields(record: Record, config: WebDatasetConfig) -> dict[str, Any] | Drop:
    """The fields of the JSON member, with the text under `text_field`; or why the record is dropped."""
    fields: dict[str, Any] = {}
    if "json" in record:
        text = _text(record["json"], config)
        if isinstance(text, Drop):
            return text
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return Drop("not JSON", "", text[:80])
        if not isinstance(fields, dict):
            return Drop("not a JSON object", "", text[:80])
    if fields.get("status") not in (None, "success"):
        return Drop("not downloaded", "", f"{fields['status']} {fields.get('error_message') or ''}".strip())
    if config.text_field.lower() in record:
        text = _text(record[config.text_field.lower()], config)
        if isinstance(text, Drop):
            return text
        fields[config.text_field] = text
    elif config.text_field not in fields and "caption" in fields:
        fields[config.text_field] = fields["caption"]
    return fields


def _text(member: Member, config: WebDatasetConfig) -> str | Drop:
    if member.data is None:
        return Drop("long text", "", f"{member.size} bytes")
    text = decode(member.data, config.encoding)
    return Drop("wrong encoding", "", member.data[:80].decode(errors="replace")) if text is None else text


def _nowhere(name: str) -> str:
    """Pictures lie in the tar file, never under a name somewhere else."""
    return "unreadable image"
