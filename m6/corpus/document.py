"""Document: a passage of text with its images, the one value type of the corpus.

Sources write Documents, rules read them, shards hold them, objectives and tasks turn them into Samples. A Document
is one row of an Arrow table with the columns of `SCHEMA`; in Python it is a plain dict with the same keys.
"""

from __future__ import annotations

import hashlib
from typing import Any, NotRequired, TypedDict, cast

import pyarrow as pa

SPLITS = ("train", "heldout")

QUESTION = pa.struct([("kind", pa.string()), ("question", pa.string()), ("answer", pa.string())])
IMAGE = pa.struct(
    [
        ("bytes", pa.binary()),  # an encoded picture (PNG, JPEG, WebP), never raw pixels
        ("width", pa.int32()),  # pixels
        ("height", pa.int32()),  # pixels
        ("offset", pa.int32()),  # the character of `text` before which the picture stands
        ("url", pa.string()),  # where it came from, if it came from the web
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # content hash: the same content has the same id on every machine
        ("source", pa.string()),  # "emoji", "poems", "scenes", ...
        ("split", pa.string()),  # one of SPLITS
        ("group", pa.string()),  # what the split is by: the concept, the author, the combination
        ("title", pa.string()),  # name of the thing, title of the poem; may be empty
        ("text", pa.string()),  # the passage: caption, poem, article
        ("images", pa.list_(IMAGE)),
        ("keywords", pa.list_(pa.string())),
        ("questions", pa.list_(QUESTION)),  # exact questions and answers known from metadata
        ("attributes", pa.map_(pa.string(), pa.string())),  # anything else, by name: author, form, category, colour
    ]
)


class Question(TypedDict):
    kind: str
    question: str
    answer: str


class Image(TypedDict):
    bytes: bytes
    width: int
    height: int
    offset: int
    url: NotRequired[str | None]  # bytes are empty as long as it has to be fetched
    missing: NotRequired[str]  # why there are neither bytes nor an address; not kept


class Document(TypedDict):
    id: str
    source: str
    split: str
    group: str
    title: str
    text: str
    images: list[Image]
    keywords: list[str]
    questions: list[Question]
    attributes: dict[str, str]
    where: NotRequired[str]  # file and line, row or byte of the raw data, for the report; not kept


def content_id(source: str, title: str, text: str, images: list[bytes]) -> str:
    """The id of a document: 16 hexadecimal digits of a SHA-256 over all that it says and shows."""
    digest = hashlib.sha256()
    for part in (source.encode(), title.encode(), text.encode(), *images):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]


def sound(text: str) -> str:
    """The text itself, or with lone surrogates replaced, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def make_document(
    source: str,
    text: str,
    *,
    title: str = "",
    split: str = "train",
    group: str = "",
    images: list[Image] | None = None,
    keywords: list[str] | None = None,
    questions: list[Question] | None = None,
    attributes: dict[str, str] | None = None,
    where: str = "",
) -> Document:
    """A complete Document with its id; what is not given is empty."""
    images = images or []
    title, text = sound(title), sound(text)
    document = Document(
        id=content_id(source, title, text, [image["bytes"] for image in images]),
        source=source,
        split=split,
        group=sound(group or title),
        title=title,
        text=text,
        images=images,
        keywords=[sound(keyword) for keyword in keywords or []],
        questions=[
            Question(kind=asked["kind"], question=sound(asked["question"]), answer=sound(asked["answer"]))
            for asked in questions or []
        ],
        attributes={sound(name): sound(value) for name, value in (attributes or {}).items()},
    )
    if where:
        document["where"] = where
    return document


def from_row(row: dict[str, Any]) -> Document:
    """A row of an Arrow table (`to_pylist`) as a Document: Arrow gives a map as pairs, a Document has a dict."""
    return cast(Document, {**row, "attributes": dict(row["attributes"] or [])})
