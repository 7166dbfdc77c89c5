"""Pictures: every rule by its reason on hand-made files, and the one resize."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from m6.corpus.config import EmojiConfig, ImageRules
from m6.corpus.images import Picture, difference_hash, prepare
from m6.corpus.starter import emoji_pictures

RULES = ImageRules()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A gradient with a red half: not one colour."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 1] = np.linspace(0, 255, width)
    pixels[: height // 2, :, 0] = 255
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size, without pixels."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))


PIXELS = struct.pack(">I", 1_000) + b"IDAT" + b"x"  # the beginning of pixels


def bomb(side: int) -> bytes:
    """A whole PNG of `side` x `side` black pixels: some hundred kilobytes that unpack to gigabytes."""
    packer = zlib.compressobj()
    line = bytes(1 + 3 * side)
    data = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    chunks = [b"IDAT" + data, b"IEND"]
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return png_header(side, side) + body


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encoded(picture(1, 1)), "small image"),
        (encoded(picture(70, 70)), "small image"),  # 4,900 pixels
        (png_header(20_000, 20_000) + PIXELS, "large image"),
        (png_header(10_000, 10_000) + PIXELS, "large image"),
        (png_header(2**31 - 1, 2**31 - 1) + PIXELS, "large image"),
        (png_header(100, 100) + PIXELS, "truncated image"),
        (png_header(100, 100), "unreadable image"),
        (encoded(picture(600, 100)), "narrow image"),
        (encoded(picture(100, 100))[:200], "truncated image"),
        (encoded(picture(300, 300), "JPEG")[:-500], "truncated image"),
        (encoded(picture(300, 300), "JPEG")[:100], "unreadable image"),
        ("<html>404 没有找到</html>".encode(), "unreadable image"),
        (b"", "unreadable image"),
        (b"\x89PNG\r\n\x1a\n", "unreadable image"),
        (encoded(Image.new("RGB", (100, 100), "blue")), "blank image"),
        (encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0))), "blank image"),
        (encoded(picture(100, 100), "TIFF"), "unreadable image"),  # a format that is not taken
    ],
)
def test_rules(data: bytes, reason: str) -> None:
    assert prepare(data, RULES, 64) == reason


def test_a_large_file_is_refused_unread() -> None:
    assert prepare(bytes(1_001), ImageRules(most_bytes=1_000), 64) == "large image file"


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    data = bomb(6_000)  # whole: decoding it would take seconds; its 20,000 pixel sister is in test_rules
    assert len(data) < 200_000
    start = time.perf_counter()
    assert prepare(data, RULES, 64) == "large image"
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_mode_becomes_rgb_at_the_training_size(mode: str, kind: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(120 * 100, dtype=np.uint16).reshape(100, 120) * 5)
    else:
        image = picture(120, 100, mode)
    try:
        data = encoded(image, kind)
    except (OSError, ValueError):
        pytest.skip(f"{kind} holds no {mode}")
    result = prepare(data, RULES, 64)
    assert isinstance(result, Picture)
    square = Image.open(io.BytesIO(result.png))
    assert (square.format, square.mode, square.size) == ("PNG", "RGB", (64, 64))


def test_the_whole_picture_stands_in_the_middle_on_white() -> None:
    result = prepare(encoded(Image.new("RGB", (200, 100), "red")), ImageRules(), 64)
    assert isinstance(result, Picture)
    pixels = np.asarray(Image.open(io.BytesIO(result.png)))
    assert (pixels[:16] == 255).all()
    assert (pixels[48:] == 255).all()
    assert (pixels[16:48] == [255, 0, 0]).all()


def test_a_cropped_picture_fills_the_square_but_for_its_margin() -> None:
    image = Image.new("RGBA", (128, 128), (9, 9, 9, 0))
    image.paste((0, 0, 255, 255), (20, 40, 60, 60))  # 40 x 20
    result = prepare(encoded(image), EmojiConfig().images, 64)
    assert isinstance(result, Picture)
    pixels = np.asarray(Image.open(io.BytesIO(result.png)))
    rows, columns = np.nonzero((pixels != 255).any(axis=2))
    assert (columns.min(), columns.max()) == (3, 60)
    assert (rows.min(), rows.max()) == (17, 45)  # 58 x 29, as 40 x 20
    assert (pixels[30, 10] == [0, 0, 255]).all()  # transparent black around it does not darken it


def test_the_rotation_that_a_camera_notes_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    result = prepare(encoded(picture(200, 100), "JPEG", exif=exif), RULES, 64)
    assert isinstance(result, Picture)
    pixels = np.asarray(Image.open(io.BytesIO(result.png)))
    assert (pixels[:, :10] == 255).all()
    assert not (pixels[:10] == 255).all()


def test_a_finished_picture_keeps_its_bytes() -> None:
    data = encoded(picture(64, 64), compress_level=1)
    result = prepare(data, ImageRules(fewest_pixels=1), 64)
    assert isinstance(result, Picture)
    assert result.png == data


def test_hash_survives_compression_and_size_but_not_another_picture() -> None:
    emoji = [Image.open(io.BytesIO(emoji_pictures()[name])).convert("RGB") for name in ("1f427.png", "1f418.png")]
    first = emoji[0].resize((256, 256))
    again = Image.open(io.BytesIO(encoded(first.resize((200, 200)), "JPEG", quality=60)))
    assert (difference_hash(first) ^ difference_hash(again)).bit_count() <= 4
    assert (difference_hash(first) ^ difference_hash(emoji[1].resize((256, 256)))).bit_count() > 10
