"""Pictures: rules, and the one resize and re-encode to the training size.

In: the bytes of an encoded picture from anywhere. Out: a square RGB PNG of the training size on a white ground, with a
hash by which near duplicates are found; or the reason why there is none. Size and format are read from the header
first, so that a picture that would unpack to gigabytes is refused before it is decoded.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.Image import DecompressionBombError, Resampling

from m6.corpus.config import ImageRules

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # the fewer decoders, the fewer holes
HASH_SIZE = 8


class Picture(NamedTuple):
    """A picture as the shards hold it."""

    png: bytes  # RGB, `size` x `size` pixels
    size: int
    hash: int  # difference hash, 64 bits


def prepare(data: bytes, rules: ImageRules, size: int) -> Picture | str:
    """The picture at the training size, or the reason why it is dropped.

    A PNG that is finished already (RGB, `size` x `size`, nothing to crop) keeps its bytes.
    """
    if len(data) > rules.most_bytes:
        return "large image file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are judged by the rules, not by Pillow's warning
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except DecompressionBombError:
        return "large image"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return "unreadable image"
    reason = _check_size(image.width, image.height, rules)
    if reason:
        return reason
    finished = image.format == "PNG" and image.mode == "RGB" and image.size == (size, size) and not rules.crop
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, DecompressionBombError):
        return "truncated image"
    square = image if finished else fit(image, size, rules)
    ranges = [channel.getextrema() for channel in square.split()]
    if max(high - low for low, high in ranges) < rules.smallest_contrast:  # type: ignore[operator]
        return "blank image"
    return Picture(data if finished else encode(square), size, difference_hash(square))


def _check_size(width: int, height: int, rules: ImageRules) -> str | None:
    if width * height > rules.most_pixels:
        return "large image"
    if width * height < rules.fewest_pixels:
        return "small image"
    if max(width, height) > rules.largest_aspect * min(width, height):
        return "narrow image"
    return None


def fit(image: Image.Image, size: int, rules: ImageRules) -> Image.Image:
    """The whole picture in the middle of a white square, RGB; cropped to what is not transparent if the rules ask."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if rules.crop and image.mode == "RGBA":
        image = image.crop(image.getchannel("A").getbbox())
    room = size - 2 * rules.margin
    scale = room / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Resampling.LANCZOS)  # Pillow weighs colours by their opacity here
    square = Image.new("RGB", (size, size), "white")
    square.paste(image, ((size - width) // 2, (size - height) // 2), image if image.mode == "RGBA" else None)
    return square


def encode(image: Image.Image) -> bytes:
    """PNG bytes of an RGB picture."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each of 8 x 8 grey cells is darker than its right neighbour. Unlike a hash of the bytes it
    hardly changes with size, compression and brightness."""
    grey = image.convert("L").resize((HASH_SIZE + 1, HASH_SIZE), Resampling.BILINEAR)
    cells = np.asarray(grey, dtype=np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")
