"""Pictures as the fields of records have them.

In: a path, a URL, a data: URL, base64, bytes, {bytes, path} as Hugging Face `datasets` has it, or a list of these.
Out: bytes, or an address to fetch them from, or the reason why there are none. Pictures that are only named are looked
up by a function of type `Pictures`: in the folder of the file, or in a table of ids and base64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from m6.corpus.config import RecordsConfig
from m6.corpus.document import sound
from m6.corpus.read.encodings import decode_base64
from m6.corpus.read.files import folder_of, picture_bytes
from m6.corpus.read.image_table import image_table

Pictures = Callable[[str], bytes | str]
"""From the name of a picture to its bytes, or the reason why there are none."""

NO_IMAGE = "a field is no image"
LONGEST_PATH = 1_024  # characters; what is longer is base64

_WEB = re.compile(r"https?://", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
# PNG, JPEG, WebP, GIF and BMP in base64; a path may begin with /9j/, but is not that long
_BASE64 = re.compile(r"(iVBORw0KGgo|/9j/|UklGR|R0lGOD|Qk)[A-Za-z0-9+/=_\-\s]{40,}\Z")
_HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body|!--|\?xml[^>]*>\s*<(!doctype\s+)?html)", re.I)


class Found(NamedTuple):
    """A picture: its bytes, or where to fetch them."""

    data: bytes
    url: str | None = None


def finder(path: str, config: RecordsConfig) -> Pictures:
    """Finds the pictures that the records of a file name: in its image table, or in the folder of the pictures."""
    if config.image_table:
        return image_table(config.image_table).read
    root = config.image_root or folder_of(path)
    return lambda name: picture_bytes(root, name, config.images.most_bytes)


def pictures_of(value: Any, pictures: Pictures, most_bytes: int) -> list[Found | str]:
    """The pictures of a field, in order, each or the reason why there is none; null and "" are no picture."""
    values = value if isinstance(value, list | tuple) else [value]
    return [_picture(one, pictures, most_bytes) for one in values if one is not None and one != "" and one != b""]


def _picture(value: Any, pictures: Pictures, most_bytes: int) -> Found | str:
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("bytes", "path", "url") if value.get(key)), None)
        if value is None:
            return "missing image"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ids of an image table may be numbers
    if isinstance(value, bytes | bytearray | memoryview):
        return _checked(bytes(value), most_bytes)
    if not isinstance(value, str):
        return NO_IMAGE
    if _WEB.match(value):
        return Found(b"", sound(value.strip()))
    if found := _DATA.match(value):
        return (
            _from_base64(value[found.end() :], most_bytes) if ";base64" in found[0].lower() else "image is not base64"
        )
    if len(value) > LONGEST_PATH or _BASE64.match(value):
        return _from_base64(value, most_bytes)
    data = pictures(value)
    return data if isinstance(data, str) else _checked(data, most_bytes)


def _from_base64(text: str, most_bytes: int) -> Found | str:
    if len(text) // 4 * 3 > most_bytes + 4:
        return "large image file"
    data = decode_base64(text)
    return "image is not base64" if data is None else _checked(data, most_bytes)


def _checked(data: bytes, most_bytes: int) -> Found | str:
    if len(data) > most_bytes:
        return "large image file"
    return "image is HTML" if is_html(data) else Found(data)


def is_html(data: bytes) -> bool:
    """Whether what should be a picture is a page, as servers send it in the place of one that is gone."""
    return bool(_HTML.match(data[:512]))
