"""Pictures: every rule by its reason on hand-made files, and the one resize."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m6.config import UserError
from m6.corpus.config import EmojiConfig, ImageFormat, ImageRules
from m6.corpus.images import unsafe
from m6.corpus.images.prepare import Picture, difference_hash, is_plain, prepare
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
        ("<html>404 没有找到</html>".encode(), "image is HTML"),
        (b"", "unreadable image"),
        (b"\x89PNG\r\n\x1a\n", "unreadable image"),
        (encoded(Image.new("RGB", (100, 100), "blue")), "blank image"),
        (encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0))), "blank image"),
        (encoded(Image.new("RGB", (200, 100), "blue")), "blank image"),  # white above and below is not of the picture
        (encoded(picture(100, 100), "WEBP")[:-100], "unreadable image"),
        (encoded(picture(100, 100), "GIF")[:-2_000], "truncated image"),
        (encoded(picture(100, 100), "BMP")[:-100], "truncated image"),
        (b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00", "large image"),
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
        if kind != "PNG":
            pytest.skip(f"{kind} holds no 16 bits")
        image = Image.fromarray(np.arange(120 * 100, dtype=np.uint16).reshape(100, 120) * 5)
    else:
        image = picture(120, 100, mode)
    try:
        data = encoded(image, kind)
    except (OSError, ValueError):
        pytest.skip(f"{kind} holds no {mode}")
    result = prepare(data, RULES, 64)
    assert isinstance(result, Picture)
    square = Image.open(io.BytesIO(result.data))
    assert (square.format, square.mode, square.size) == ("PNG", "RGB", (64, 64))


def test_the_whole_picture_stands_in_the_middle_on_white() -> None:
    image = Image.new("RGB", (200, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    result = prepare(encoded(image), ImageRules(), 64)
    assert isinstance(result, Picture)
    assert result.found == (200, 100)
    pixels = np.asarray(Image.open(io.BytesIO(result.data)))
    assert (pixels[:16] == 255).all()
    assert (pixels[48:] == 255).all()
    assert (pixels[16:48, :28] == [255, 0, 0]).all()
    assert (pixels[16:48, 36:] == [0, 0, 255]).all()


def test_a_cropped_picture_fills_the_square_but_for_its_margin() -> None:
    image = Image.new("RGBA", (128, 128), (9, 9, 9, 0))
    image.paste((0, 0, 255, 255), (20, 40, 60, 60))  # 40 x 20
    result = prepare(encoded(image), EmojiConfig().images, 64)
    assert isinstance(result, Picture)
    pixels = np.asarray(Image.open(io.BytesIO(result.data)))
    rows, columns = np.nonzero((pixels != 255).any(axis=2))
    assert (columns.min(), columns.max()) == (3, 60)
    assert (rows.min(), rows.max()) == (17, 45)  # 58 x 29, as 40 x 20
    assert (pixels[30, 10] == [0, 0, 255]).all()  # transparent black around it does not darken it


def test_the_rotation_that_a_camera_notes_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    result = prepare(encoded(picture(200, 100), "JPEG", exif=exif), RULES, 64)
    assert isinstance(result, Picture)
    pixels = np.asarray(Image.open(io.BytesIO(result.data)))
    assert (pixels[:, :10] == 255).all()
    assert not (pixels[:10] == 255).all()


def test_a_finished_picture_keeps_its_bytes() -> None:
    data = encoded(picture(64, 64), compress_level=1)
    result = prepare(data, ImageRules(fewest_pixels=1), 64)
    assert isinstance(result, Picture)
    assert result.data == data


def test_hash_survives_compression_and_size_but_not_another_picture() -> None:
    emoji = [Image.open(io.BytesIO(emoji_pictures()[name])).convert("RGB") for name in ("1f427.png", "1f418.png")]
    first = emoji[0].resize((256, 256))
    again = Image.open(io.BytesIO(encoded(first.resize((200, 200)), "JPEG", quality=60)))
    assert (difference_hash(first) ^ difference_hash(again)).bit_count() <= 4
    assert (difference_hash(first) ^ difference_hash(emoji[1].resize((256, 256)))).bit_count() > 10


def photograph(width: int = 640, height: int = 480) -> Image.Image:
    """Many bundled pictures side by side on a gradient: edges, colours and fine detail."""
    names = sorted(emoji_pictures())[:400:7]
    image = picture(width, height)
    for number, name in enumerate(names):
        emoji = Image.open(io.BytesIO(emoji_pictures()[name])).convert("RGBA")
        image.paste(emoji, (number % 9 * 70 + 5, number // 9 * 70 + 5), emoji)
    return image


def opened(result: Picture | str) -> Image.Image:
    assert isinstance(result, Picture), result
    return Image.open(io.BytesIO(result.data))


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float64)


@pytest.mark.parametrize("noise", [0, 1])
@pytest.mark.parametrize(("dots", "plain"), [(0, True), (90, True), (110, False), (5_000, False)])
def test_nearly_one_colour_is_a_share_of_close_values(noise: int, dots: int, plain: bool) -> None:
    pixels = np.full((100, 100, 3), (200, 100, 50)) + np.random.default_rng(0).integers(-3, 4, (100, 100, 3)) * noise
    pixels.reshape(-1, 3)[:dots, 1] = 250
    assert is_plain(Image.fromarray(pixels.astype(np.uint8)), ImageRules()) == plain


def test_a_gradient_of_few_values_is_plain_up_to_the_contrast_asked_for() -> None:
    row = np.repeat(np.arange(10, dtype=np.uint8), 10)
    image = Image.fromarray(np.broadcast_to(row[None, :, None], (100, 100, 3)).copy())
    assert [is_plain(image, ImageRules(smallest_contrast=contrast)) for contrast in (9, 10, 11)] == [False, True, True]


@pytest.mark.parametrize("encoding", ["png", "jpeg", "webp"])
def test_the_recipe_chooses_the_format(encoding: str) -> None:
    data = encoded(photograph())
    form = ImageFormat(encoding=encoding, quality=90)
    result = prepare(data, RULES, 128, form)
    exact = values(opened(prepare(data, RULES, 128)))
    image = opened(result)
    assert (image.format, image.mode, image.size) == (encoding.upper(), "RGB", (128, 128))
    assert np.abs(values(image) - exact).mean() < (0.001 if encoding == "png" else 15)  # colours are at half the size
    coarse = prepare(data, RULES, 128, form.model_copy(update={"quality": 20}))
    assert isinstance(coarse, Picture)
    assert isinstance(result, Picture)
    assert (len(coarse.data) < len(result.data)) == (encoding != "png")
    assert prepare(result.data, RULES, 128, form) == result._replace(hash=difference_hash(image), found=(128, 128))


def test_what_a_camera_wrote_into_a_finished_picture_is_not_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    data = encoded(photograph(128, 128), "JPEG", exif=exif)
    result = prepare(data, RULES, 128, ImageFormat(encoding="jpeg"))
    assert isinstance(result, Picture)
    assert b"maker" in data
    assert b"maker" not in result.data


@pytest.mark.parametrize("size", [64, 100, 256])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_decoded_at_less_than_its_size_looks_the_same(size: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photograph(1_000, 601), "JPEG", quality=95, exif=exif)
    whole = Image.open(io.BytesIO(data))
    whole.load()  # at its full size
    turned = whole.transpose(Image.Transpose.ROTATE_270) if orientation == 6 else whole
    scale = size / 1_000
    width, height = (round(side * scale) for side in turned.size)
    expected = Image.new("RGB", (size, size), "white")
    expected.paste(
        turned.resize((width, height), Image.Resampling.LANCZOS), ((size - width) // 2, (size - height) // 2)
    )
    difference = values(opened(prepare(data, RULES, size))) - values(expected)
    assert 10 * np.log10(255**2 / (difference**2).mean()) > 30  # dB


def test_cmyk_16_bits_and_palettes_keep_their_colours() -> None:
    expected = values(opened(prepare(encoded(picture(128, 128)), RULES, 64)))
    cmyk = values(opened(prepare(encoded(picture(128, 128, "CMYK"), "JPEG", quality=100, subsampling=0), RULES, 64)))
    assert np.abs(cmyk - expected).mean() < 12
    deep = np.repeat(np.arange(128, dtype=np.uint16)[None] * 512, 128, axis=0)
    grey = values(opened(prepare(encoded(Image.fromarray(deep)), RULES, 128)))
    assert (grey == (np.arange(128) * 2)[None, :, None]).all()
    palette = picture(128, 128).quantize(16)
    palette.info["transparency"] = palette.getpixel((0, 0))
    holes = values(opened(prepare(encoded(palette), RULES, 128)))
    assert (holes[0, 0] == 255).all()
    assert np.abs(holes[64:] - values(palette.convert("RGB"))[64:]).max() == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_counts(kind: str) -> None:
    frames = [picture(100, 100), Image.new("RGB", (100, 100), "blue"), Image.new("RGB", (100, 100), "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options)
    expected = values(opened(prepare(encoded(frames[0], kind, **options), RULES, 100)))
    assert np.abs(values(opened(prepare(data, RULES, 100))) - expected).max() <= 8  # GIF: another palette


KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
WHOLE = {kind: encoded(picture(120, 90).quantize(32) if kind == "GIF" else picture(120, 90), kind) for kind in KINDS}


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.floats(0, 1, allow_subnormal=False), st.binary(max_size=9)), max_size=5),
    st.floats(0, 1, allow_subnormal=False),
)
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_give_a_picture_or_a_reason(kind: str, changes: list[tuple[float, bytes]], end: float) -> None:
    data = bytearray(WHOLE[kind])
    for place, change in changes:
        start = int(place**3 * len(data))  # more of them in the header
        data[start : start + len(change)] = change
    result = prepare(bytes(data[: int((1 - end**4) * len(data))]), ImageRules(most_pixels=10**6), 64)
    assert isinstance(result, Picture) or result.endswith((" image", " image file"))


def test_the_bundled_pictures_stay_what_they_are() -> None:
    """Byte for byte: the same pixels, with the PNG encoder that is installed; ids of Documents are made of them."""
    rules = EmojiConfig().images
    digest = hashlib.sha256()
    for name in sorted(emoji_pictures())[::20]:
        result = prepare(emoji_pictures()[name], rules, 64)
        digest.update(opened(result).tobytes() if isinstance(result, Picture) else result.encode())
    assert digest.hexdigest()[:16] == "acf5defae032d516"


def test_hash_finds_pictures_that_were_encoded_again() -> None:
    chosen = sorted(emoji_pictures())[5::150]
    hashes: list[int] = []
    again: list[int] = []
    for name in chosen:
        image = Image.open(io.BytesIO(emoji_pictures()[name])).convert("RGBA").resize((300, 300))
        white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        for data, into in (
            (encoded(white), hashes),
            (encoded(white.resize((190, 190)), "JPEG", quality=40), again),
            (encoded(white.resize((90, 90)), "WEBP", quality=60), again),
        ):
            result = prepare(data, RULES, 64)
            assert isinstance(result, Picture)
            into.append(result.hash)
    distances = [(hashes[number // 2] ^ other).bit_count() for number, other in enumerate(again)]
    unrelated = [(one ^ other).bit_count() for place, one in enumerate(hashes) for other in hashes[:place]]
    assert np.mean(np.array(distances) <= 4) >= 0.9
    assert max(distances) <= 8
    assert np.mean(np.array(unrelated) <= 4) < 0.01


def brightness_model(
    path: Path, *, channels_last: bool = False, classes: int = 0, logits: bool = False, size: int | str = 8
) -> str:
    """An ONNX model whose score is the mean of all values; with classes, class 2 has it, and class 0 the rest."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    shape = ["n", size, size, 3] if channels_last else [1, 3, size, size]
    tensor = onnx.TensorProto.FLOAT
    nodes = [helper.make_node("ReduceMean", ["x"], ["mean4"], keepdims=1)]
    nodes += [helper.make_node("Reshape", ["mean4", "shape"], ["mean"])]
    constants = [helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [1, 1])]
    output = "mean"
    if classes:
        constants += [
            helper.make_tensor(name, tensor, [1, 1], [value]) for name, value in (("one", 1.0), ("zero", 0.0))
        ]
        nodes += [helper.make_node("Sub", ["one", "mean"], ["rest"])]
        nodes += [helper.make_node("Concat", ["rest", "zero", "mean"], ["classes"], axis=1)]
        output = "classes"
    if logits:
        constants += [helper.make_tensor("ten", tensor, [1, 1], [10.0])]
        nodes += [helper.make_node("Mul", [output, "ten"], ["logits"])]
        output = "logits"
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("x", tensor, shape)],
        [helper.make_tensor_value_info(output, tensor, [1, classes or 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return str(path)


GREY = Image.new("RGB", (50, 40), (51, 102, 153))  # 0.2, 0.4, 0.6: 0.4 on average


@pytest.mark.parametrize("channels_last", [False, True])
def test_unsafe_score_of_a_model_with_one_output(channels_last: bool, tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "m.onnx", channels_last=channels_last)
    assert unsafe.input_size(model) == 8
    assert unsafe.score(GREY, model) == pytest.approx(0.4, abs=1e-6)
    assert unsafe.score(GREY, model, mean=(0.2, 0.3, 0.4), std=(0.5, 0.5, 0.5)) == pytest.approx(0.2, abs=1e-6)
    assert unsafe.score(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), model) == pytest.approx(1)  # on white


def test_unsafe_score_of_classes_and_logits(tmp_path: Path) -> None:
    probabilities = brightness_model(tmp_path / "p.onnx", classes=3)
    assert unsafe.score(GREY, probabilities, classes=(2,)) == pytest.approx(0.4, abs=1e-6)
    assert unsafe.score(GREY, probabilities, classes=(1, 2)) == pytest.approx(0.4, abs=1e-6)
    assert unsafe.score(GREY, probabilities, classes=(0, 2)) == pytest.approx(1, abs=1e-6)
    logits = brightness_model(tmp_path / "l.onnx", classes=3, logits=True)
    softmax = np.exp([6, 0, 4]) / np.exp([6, 0, 4]).sum()
    assert unsafe.score(GREY, logits, classes=(2,)) == pytest.approx(softmax[2], abs=1e-6)
    one = brightness_model(tmp_path / "o.onnx", logits=True)
    assert unsafe.score(GREY, one) == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-6)


def test_unsafe_pictures_are_dropped(tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "m.onnx", size=32)
    image = Image.eval(picture(400, 300), lambda value: value // 4 + 150)  # 0.6 to 0.84
    for data in (encoded(image), encoded(image, "JPEG")):
        assert prepare(data, ImageRules(unsafe_model=model), 16) == "unsafe image"
        assert isinstance(prepare(data, ImageRules(unsafe_model=model, largest_unsafe_score=0.9), 16), Picture)


def test_a_model_that_cannot_be_used_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(100, 100))
    any_size = brightness_model(tmp_path / "any.onnx", size="side")
    (tmp_path / "text.onnx").write_text("no model")
    classes = brightness_model(tmp_path / "c.onnx", classes=3)
    for rules, words in (
        (ImageRules(unsafe_model=str(tmp_path / "none.onnx")), "none.onnx"),
        (ImageRules(unsafe_model=str(tmp_path / "text.onnx")), "no ONNX model"),
        (ImageRules(unsafe_model=any_size), "of fixed size"),
        (ImageRules(unsafe_model=classes, unsafe_model_output=(3,)), "3 classes, 0 to 2"),
    ):
        with pytest.raises(UserError, match=words) as error:
            prepare(data, rules, 64)
        assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'pip install "open-m6\[onnx\]"'):
        prepare(data, ImageRules(unsafe_model="other.onnx"), 64)
