"""Captions of COCO's kind: a file of captions in one place, a folder of pictures in another.

In: COCO's JSON (`images` with id and file_name, `annotations` with image_id and caption), a JSON list of objects with
image_id and caption (a text or a list of them), or lines `NAME#zhm#0 caption` as COCO-CN and Flickr30k-CN have them.
Out: one Document a picture. Its first caption is the text, and all of them, one a line, are its attribute `captions`: a
Document for each caption would be taken for a duplicate, since the picture is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from m6.corpus.config import CaptionsConfig
from m6.corpus.document import Document, Image, make_document
from m6.corpus.drop import Drop
from m6.corpus.read.by_picture import (
    Said,
    Statement,
    described,
    find_picture,
    identity,
    parts_of_files,
    plain,
    said_of_pictures,
    stem,
)
from m6.corpus.read.files import folder_of
from m6.corpus.sources import Part, split_by_hash

# NAME#zhm#0 caption, NAME#0 <tab> caption, NAME <tab> caption; a name without # may have blanks
_LINE = re.compile(r"([^#\t]+)(?:#\S*)?\t(.*)|([^#\s]+)#\S*\s+(.*)", re.DOTALL)
_TAGGED = re.compile(r"(?:[^\s:]+:[a-z]+\d*(?:\s+|$)){2,}")  # 一只:m 猫:n, for sets with parts of speech


def parts(name: str, config: CaptionsConfig) -> list[Part]:
    """Ranges of characters of the files. UserError if there is none."""
    return parts_of_files(name, config, (".json", ".txt"))


def read(part: Part, config: CaptionsConfig, seed: int) -> Iterator[Document | Drop]:
    """A Document for each picture that the file first speaks of in the part."""
    names: dict[str, str] = {}  # of the files of pictures, by id

    def say(array: str, value: Any) -> Statement:
        if not isinstance(value, dict):
            return "not a JSON object"
        if array == "images":
            names.setdefault(identity(value.get("id")), plain(value.get("file_name")))
            return None
        if array not in ("", "annotations") and "image_id" not in value:
            return None  # licenses, categories
        return _caption(value)

    root = config.image_root or folder_of(part.of)
    for item in said_of_pictures(part, config.encoding, say, _caption_of_line):
        if isinstance(item, Drop):
            yield item
        else:
            picture, said = item
            yield _document(names.get(picture) or picture, said, root, part.source, config)


def _caption(annotation: dict[str, Any]) -> Statement:
    picture, captions = identity(annotation.get("image_id")), annotation.get("caption")
    texts = tuple(filter(None, map(plain, captions if isinstance(captions, list) else [captions])))
    if not picture:
        return "no image_id"
    return (picture, texts) if texts else "no caption"


def _caption_of_line(line: str) -> Statement:
    found = _LINE.match(line.strip())
    if not found:
        return "not a line of name and caption"
    name, caption = found[1] or found[3], plain(found[2] or found[4])
    if _TAGGED.fullmatch(caption):
        caption = "".join(word.rpartition(":")[0] for word in caption.split())
    return (name.strip(), (caption,)) if caption else "no caption"


def _document(name: str, said: list[Said], root: str, source: str, config: CaptionsConfig) -> Document | Drop:
    found = find_picture(root, (name,), config.images.most_bytes)
    if isinstance(found, str):
        return Drop(found, said[0].where, name)
    file, picture = found
    captions = list(dict.fromkeys(" ".join(text.split()) for one in said for text in one.texts))
    return make_document(
        source,
        captions[0],
        split=split_by_hash(stem(file), config.heldout_share),
        group=stem(file),
        images=[Image(bytes=picture, width=0, height=0, offset=0)],
        attributes={"file": file, "captions": "\n".join(captions), **described(config)},
        where=said[0].where,
    )
