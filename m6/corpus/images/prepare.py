"""Pictures: rules, and the one resize and re-encode to the training size.

In: the bytes of an encoded picture from anywhere. Out: a square RGB picture of the training size on a white ground,
encoded as the recipe says, with a hash by which near duplicates are found; or the reason why there is none. Size and
format are read from the header first, so that a picture that would unpack to gigabytes is refused before it is decoded.
Of an animation the first picture counts.

Most of the time goes into decoding. A JPEG is therefore decoded to a half, a quarter or an eighth of its size, the
smallest that is not below what is wanted: its decoder then leaves out the fine detail, which is most of a resize.
"""

from __future__ import annotations

import io
import itertools
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import DecompressionBombError, Resampling

from m6.corpus.config import ImageFormat, ImageRules
from m6.corpus.images import unsafe
from m6.corpus.read.picture_values import is_html

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # the fewer decoders, the fewer holes
PNG = ImageFormat()
HASH_SIZE = 8
REDUCING_GAP = 2.0  # a picture is first averaged down to this many times what is wanted
ORIENTATION = 0x0112  # in EXIF: how the camera was held

Box = tuple[float, float, float, float]  # left, upper, right, lower


class Picture(NamedTuple):
    """A picture as the shards hold it."""

    data: bytes  # encoded, RGB, `size` x `size` pixels
    size: int
    hash: int  # difference hash, 64 bits
    found: tuple[int, int]  # width and height before the resize, pixels


def prepare(data: bytes, rules: ImageRules, size: int, form: ImageFormat = PNG) -> Picture | str:
    """The picture at the training size, or the reason why it is dropped.

    A picture that is finished already (of that format, RGB, `size` x `size`, nothing to crop) keeps its bytes.
    UserError if `rules` name a model of unsafe pictures that cannot be used.
    """
    if len(data) > rules.most_bytes:
        return "large image file"
    image = _open(data)
    if isinstance(image, str):
        return image
    found = image.size
    reason = _check_size(*found, rules)
    if reason:
        return reason
    decoded = _decode(image, max(size, unsafe.input_size(rules.unsafe_model)) if rules.unsafe_model else size)
    if isinstance(decoded, str):
        return decoded
    finished = _is_finished(image, size, rules, form)
    resized = image if finished else _resize(image, decoded, size - 2 * rules.margin, rules.crop)
    square = image if finished else _on_square(resized, size)
    # What is cropped to its outline has its form against the ground; else the ground is no part of the picture.
    content = square if rules.crop else square.crop(_place(resized.size, size))
    if is_plain(content, rules):
        return "blank image"
    if rules.unsafe_model and unsafe.score_by_rules(_upright(image), rules) > rules.largest_unsafe_score:
        return "unsafe image"
    return Picture(data if finished else encode(square, form), size, difference_hash(square), found)


def _open(data: bytes) -> Image.Image | str:
    """The picture with its header read, or the reason why it cannot be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are judged by the rules, not by Pillow's warning
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except DecompressionBombError:
        return "large image"
    except Exception:  # of bytes that are no picture, decoders raise what they like
        return "image is HTML" if is_html(data) else "unreadable image"


def _check_size(width: int, height: int, rules: ImageRules) -> str | None:
    if width * height > rules.most_pixels:
        return "large image"
    if width * height < rules.fewest_pixels:
        return "small image"
    if max(width, height) > rules.largest_aspect * min(width, height):
        return "narrow image"
    return None


def _decode(image: Image.Image, needed: int) -> Box | str:
    """Decode a picture, its longer side to at least `needed` pixels if it has them. The part of it that is the picture,
    for one decoded at less than its size may end within a pixel; or the reason why it cannot be decoded."""
    try:
        longer = max(image.size)
        wanted = tuple(max(1, side * needed // longer) for side in image.size)
        drafted = image.draft(None, wanted)  # type: ignore[arg-type]
        image.load()
        image.getexif()
        return drafted[1] if drafted else (0, 0, *image.size)
    except Exception:  # as above
        return "truncated image"


def _upright(image: Image.Image) -> Image.Image:
    """As the camera was held."""
    return ImageOps.exif_transpose(image) if image.getexif().get(ORIENTATION, 1) != 1 else image


def _is_finished(image: Image.Image, size: int, rules: ImageRules, form: ImageFormat) -> bool:
    """Whether a decoded picture is what `prepare` would make of it. What a camera wrote into it is not kept."""
    kind = (image.format or "").lower() == form.encoding and image.mode == "RGB" and image.size == (size, size)
    return kind and not rules.crop and not image.getexif() and getattr(image, "n_frames", 1) == 1


def fit(image: Image.Image, size: int, rules: ImageRules) -> Image.Image:
    """The whole picture in the middle of a white square, RGB; cropped to what is not transparent if the rules ask."""
    return _on_square(_resize(image, (0, 0, *image.size), size - 2 * rules.margin, rules.crop), size)


def _resize(image: Image.Image, box: Box, side: int, crop: bool) -> Image.Image:
    """What lies in the box, RGB or RGBA, upright, the longer side as given."""
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if crop and mode == "RGBA":
        image = image.crop(image.getchannel("A").getbbox())
        box = (0, 0, *image.size)
    scale = side / max(box[2:])
    width, height = (max(1, round(length * scale)) for length in box[2:])
    if image.size != (width, height):
        # A drawing keeps its edges by Lanczos, as does what is enlarged; a photograph is as good by Hamming, in less
        # than half the time. Pillow weighs colours by their opacity.
        method = Resampling.LANCZOS if mode == "RGBA" or scale > 1 else Resampling.HAMMING
        image = image.resize((width, height), method, box, REDUCING_GAP)
    return _upright(image)


def _on_square(image: Image.Image, size: int) -> Image.Image:
    square = Image.new("RGB", (size, size), "white")
    square.paste(image, _place(image.size, size), image if image.mode == "RGBA" else None)
    return square


def _place(inner: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """Where a picture stands in the middle of a square."""
    left, upper = (size - inner[0]) // 2, (size - inner[1]) // 2
    return left, upper, left + inner[0], upper + inner[1]


def is_plain(image: Image.Image, rules: ImageRules) -> bool:
    """Whether an RGB picture is of nearly one colour: in each channel, nearly all pixels lie close together."""
    counts = image.histogram()
    window, most = rules.smallest_contrast, rules.largest_plain_share * image.width * image.height
    for channel in (counts[start : start + 256] for start in range(0, len(counts), 256)):
        if window * max(channel) < most:  # quick, and true of nearly all
            return False
        below = list(itertools.accumulate(channel, initial=0))
        if max(high - low for low, high in zip(below, below[window:], strict=False)) < most:
            return False
    return True


def encode(image: Image.Image, form: ImageFormat = PNG) -> bytes:
    """The bytes of an RGB picture; PNG unless another format is given."""
    stream = io.BytesIO()
    if form.encoding == "png":
        image.save(stream, "PNG")
    else:
        image.save(stream, form.encoding.upper(), quality=form.quality)
    return stream.getvalue()


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each of 8 x 8 grey cells is darker than its right neighbour. Unlike a hash of the bytes it
    hardly changes with size, compression and brightness."""
    grey = image.convert("L").resize((HASH_SIZE + 1, HASH_SIZE), Resampling.BILINEAR, None, REDUCING_GAP)
    cells = np.asarray(grey, dtype=np.int16)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")
