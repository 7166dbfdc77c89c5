"""What hostile or careless callers send: each gets an answer or one line that says what is wrong, never a 500."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from m6.config import UserError
from m6.serve import service as serving
from m6.serve.app import make_app
from m6.serve.service import Service
from tests.unit.data.examples import picture
from tests.unit.serve.small_service import data_url, make_service

CHAT, ONE = "chat/completions", '{"messages": [{"role": "user", "content": "a"}], %s}'
MESSAGES = [{"role": "user", "content": "a"}]
SHORT = dict.fromkeys(serving.LENGTHS, 2)  # tokens of an answer: what is written is not the matter here


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patched:
        for name in SHORT:
            patched.setitem(serving.LENGTHS, name, SHORT[name])
        made = make_service(tmp_path_factory.mktemp("hostile") / "run", max_pixels=50_000, max_body_mb=0.25, slots=4)
        yield made
        made.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    return make_app(service)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name)
def test_whatever_the_schema_allows_or_forbids_gets_an_answer_of_the_schema(app: FastAPI, mode: GenerationMode) -> None:
    described = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in described.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == 9
    for operation in operations:
        if mode is GenerationMode.POSITIVE or operation.body:
            hold(operation, mode)


def hold(operation: schemathesis.schemas.APIOperation, mode: GenerationMode) -> None:
    """Asks what is drawn from the schema of an operation."""

    @settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict):
            case.body.pop("model", None)  # else there is none of that name, and nothing more is looked at
        response = case.call()
        assert response.status_code < 500, response.text
        if response.status_code != 413:  # schemathesis does not take it for a refusal
            case.validate_response(response, excluded_checks=[positive_data_acceptance])  # no schema tells of pictures
        if response.status_code >= 400:
            message = response.json()["error"]["message"]
            assert message
            assert "\n" not in message

    torch.set_flush_denormal(False)  # hypothesis would rather not draw numbers without them
    holds()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A piece of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG file that says so of itself, whatever is in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@cache
def modes() -> dict[str, bytes]:
    """A picture in every form that formats have for it."""
    base = Image.fromarray(picture(0))
    deep = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 150)
    frames = {"save_all": True, "append_images": [Image.new("RGB", base.size, "red")] * 3}
    kinds = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
        "JPEG": ("L", "RGB", "CMYK"),
        "BMP": ("1", "L", "P", "RGB"),
    }
    found = {f"{kind} {mode}": encoded(base.convert(mode), kind) for kind, of_kind in kinds.items() for mode in of_kind}
    return found | {
        "PNG 16": encoded(deep, "PNG"),
        "GIF moving": encoded(base, "GIF", **frames),
        "WEBP moving": encoded(base, "WEBP", **frames),
        "PNG moving": encoded(base, "PNG", **frames),
        "PNG narrow": encoded(Image.new("RGB", (1, 5000)), "PNG"),
        "PNG one": encoded(Image.new("RGBA", (1, 1)), "PNG"),
        "JPEG progressive": encoded(base, "JPEG", progressive=True),
    }


@pytest.mark.parametrize("name", list(modes()))
def test_every_form_of_a_picture_is_read(service: Service, name: str) -> None:
    pixels = service.picture(modes()[name])
    assert pixels.shape == (16, 16, 3)
    if name in ("PNG RGB", "BMP RGB", "PNG moving"):  # of moving ones the first counts
        assert np.array_equal(pixels, service.picture(encoded(Image.fromarray(picture(0)), "PNG")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_the_camera_was_held(service: Service, kind: str) -> None:
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste("black", (0, 0, 16, 16))
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    expected = service.picture(encoded(upright, kind)).astype(int)
    for orientation, way in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        found = service.picture(encoded(upright.transpose(way), kind, exif=exif)).astype(int)
        assert np.abs(found - expected).max() < 24, orientation


@cache
def broken() -> dict[str, bytes]:
    """What is no picture, or one that would unpack to too much."""
    base = Image.fromarray(picture(0))
    whole = encoded(base, "PNG")
    return {
        "nothing": b"",
        "PNG cut": whole[: len(whole) // 2],
        "JPEG cut": encoded(base, "JPEG")[:60],
        "PNG without rows": png_of(16, 16),
        "PNG zero": png_of(0, 16),
        "PNG huge": png_of(2**31 - 1, 2**31 - 1),
        "PNG bomb": png_of(20_000, 20_000, bytes(1000)),
        "GIF head": b"GIF89a but no more",
        "HTML": b"<html><body>no</body></html>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "TIFF": encoded(base, "TIFF"),
        "text bomb": whole[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**23))) + whole[33:],
    }


@pytest.mark.parametrize("name", list(broken()))
def test_what_is_no_picture_is_refused_in_a_line(service: Service, name: str) -> None:
    with pytest.raises(UserError, match="picture") as refused:
        service.picture(broken()[name])
    assert "\n" not in str(refused.value)
    if name in ("PNG huge", "PNG bomb"):
        assert "pixels, at most 50000 are read; make it smaller" in str(refused.value)


def test_damaged_files_are_read_or_refused(service: Service) -> None:
    chance = random.Random(0)
    counts = {True: 0, False: 0}
    for whole in modes().values():
        for _ in range(12):
            damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
            for _ in range(chance.randint(1, 6) if damaged else 0):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            try:
                counts[service.picture(bytes(damaged)).shape == (16, 16, 3)] += 1
            except UserError:
                counts[False] += 1
    assert min(counts.values()) > 20


def asks(url: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        (CHAT, asks("data:image/png;base64,§§"), 400, "not base64"),
        (CHAT, asks("data:image/png;base64,AAA"), 400, "not base64"),
        (CHAT, asks("data:text/html;base64,AAAA"), 400, "data:image/png"),
        (CHAT, asks("data:image/png,AAAA"), 400, "data:image/png"),
        (CHAT, asks("file:///etc/passwd"), 400, "not fetched"),
        (CHAT, asks("http://169.254.169.254/latest"), 400, "not fetched"),
        (CHAT, asks(""), 400, "missing"),
        (CHAT, b"", 400, "JSON"),
        (CHAT, b"[]", 400, "JSON"),
        (CHAT, b"[" * 100_000, 400, "parsing"),
        (CHAT, b"\xff\xfe", 400, "JSON"),
        (CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "unicode"),
        (CHAT, (ONE % '"temperature": NaN').encode(), 400, "temperature"),
        (CHAT, (ONE % '"n": 1e999').encode(), 400, "n: "),
        (CHAT, (ONE % ('"n": ' + "9" * 5000)).encode(), 400, "parsing"),
        (CHAT, {"messages": MESSAGES * 1001}, 400, "messages"),
        (CHAT, {"messages": MESSAGES, "task": "poem", "form": "长" * 50}, 400, "form"),
        (CHAT, {"messages": MESSAGES, "task": "caption"}, 400, "needs a picture"),
        ("completions", {"prompt": " "}, 400, "empty"),
        ("completions", {"prompt": "a" * 5000}, 400, "at most 4000"),
        ("images/generations", {"prompt": " "}, 400, "empty"),
        ("images/generations", {"prompt": "猫", "size": "9" * 5000}, 400, "size"),
        ("images/generations", {"prompt": "猫", "size": "0x0"}, 400, "size"),
        ("images/generations", {"prompt": "猫", "size": "99999999999"}, 400, "size"),
        ("images/generations", {"prompt": "猫", "n": 2, "best": 3}, 400, "best"),
        ("images/generations", {"prompt": "猫", "n": 2, "seed": 2**32 - 1}, 400, "seed"),
        ("match", {"image": "javascript:alert(1)", "texts": ["a"]}, 400, "not fetched"),
        ("match", {"image": data_url(), "texts": ["长" * 500]}, 400, "reads at most"),
        ("match", {"image": data_url(), "texts": ["a"] * 257}, 400, "texts"),
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_a_line(
    client: TestClient, path: str, body: Any, status: int, line: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(f"/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]["message"]
    assert line in message
    assert len(message) < 300
    assert "\n" not in message


@pytest.mark.parametrize(
    "extra",
    [
        {"temperature": 1e-300},
        {"temperature": 1, "top_p": 1e-300},
        {"stop": ""},
        {"stop": ["", "\0"]},
        {"max_tokens": 10**30},
        {"n": 16, "temperature": 2, "seed": 2**32 - 1},
    ],
)  # fmt: skip
def test_odd_settings_that_are_allowed_work(client: TestClient, extra: dict[str, Any]) -> None:
    answer = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "\0云"}], **extra})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == extra.get("n", 1)


def test_a_body_without_a_length_is_counted(client: TestClient) -> None:
    pieces = (b"a" * 65_536 for _ in range(40))
    answer = client.post("/v1/chat/completions", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "larger than" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/%00", "/..%2f..%2fapp.py", "/examples/0.png", f"/examples/{'9' * 5000}.png", "/%ff"]
)
def test_odd_paths_are_refused(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["message"]


def test_a_fault_of_ours_is_one_line_too(app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("what only the log should say")

    monkeypatch.setattr(Service, "match", fail)
    answer = client.post("/v1/match", json={"image": data_url(), "texts": ["a"]})
    assert answer.status_code == 500
    assert "only the log" not in answer.text
    monkeypatch.undo()
    assert client.post("/v1/match", json={"image": data_url(), "texts": ["a"]}).status_code == 200


def test_pictures_in_base64_have_a_limit_of_their_own(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", max_picture_mb=0.001)
    with TestClient(make_app(service)) as client:
        url = f"data:image/png;base64,{base64.b64encode(bytes(2000)).decode()}"
        told = client.post("/v1/chat/completions", json=asks(url)).json()["error"]["message"]
        assert told.startswith("image_url: the picture is larger than 1048 bytes")
        told = client.post("/v1/match", json={"image": url, "texts": ["a"]}).json()["error"]["message"]
        assert told.startswith("image: the picture is larger than 1048 bytes")
    service.close()
