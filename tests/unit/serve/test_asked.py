"""Pictures that are given by address: fetched only where the server was told so, and from public addresses alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from m6.config import UserError
from m6.corpus.fetch.web import Reach
from m6.serve.asked import AT_ONCE, Pictures
from m6.serve.config import ServeConfig
from m6.serve.scheduler import BusyError

PICTURE = b"\x89PNG and so on"
HERE = Reach(lambda address: address == "127.0.0.1", frozenset())
"""This machine, for once."""


class Handler(BaseHTTPRequestHandler):
    """Each path behaves in its own way."""

    held = threading.Event()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.strip("/")
        moved = {
            "moved": "/good", "around": "/around", "inside": "http://10.0.0.1/a.png", "file": "file:///etc/passwd",
            "metadata": "http://169.254.169.254/latest/",
        }  # fmt: skip
        if name == "held":
            self.held.wait(30)
        self.send_response(302 if name in moved else 200 if name in ("good", "large", "held", "slow") else 404)
        if name in moved:
            self.send_header("Location", moved[name])
        self.end_headers()
        if name == "slow":
            for _ in range(50):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        self.wfile.write(bytes(5_000) if name == "large" else PICTURE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def told(**values: object) -> ServeConfig:
    return ServeConfig().override({"fetch_pictures": True, "max_picture_mb": 0.004, "fetch_seconds": 5.0, **values})


def test_nothing_is_fetched_unless_told_so(url: str) -> None:
    with pytest.raises(UserError, match="addresses are not fetched"):
        asyncio.run(Pictures(ServeConfig(), HERE).read(f"{url}/good"))


@pytest.mark.parametrize("name", ["good", "moved"])
def test_a_picture_is_fetched(url: str, name: str) -> None:
    assert asyncio.run(Pictures(told(), HERE).read(f"{url}/{name}")) == PICTURE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("large", "too large"),
        ("missing", "it answered with status 404"),
        ("around", "leads on more than 3 times"),
        ("inside", "private address"),
        ("metadata", "private address"),
        ("file", "not http"),
    ],
)
def test_what_cannot_or_may_not_be_had_is_refused_in_a_line(url: str, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refused:
        asyncio.run(Pictures(told(), HERE).read(f"{url}/{name}"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/a.png", "http://localhost/a.png", "http://10.1.2.3/", "http://169.254.169.254/latest/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://2130706433/", "http://192.168.0.1:443/",
    ],
)  # fmt: skip
def test_private_addresses_are_never_asked(address: str) -> None:
    with pytest.raises(UserError, match=r"private address|no such host"):
        asyncio.run(Pictures(told()).read(address))


@pytest.mark.parametrize(
    "address", ["ftp://here/a.png", "file:///etc/passwd", "//here/a", "http://", "http://a:b@here/", "x"]
)
def test_only_the_web_is_asked(address: str) -> None:
    with pytest.raises(UserError, match="no picture from there"):
        asyncio.run(Pictures(told()).read(address))


def test_a_port_that_is_not_of_the_web_is_told() -> None:
    with pytest.raises(UserError, match="its port is not asked, of those of the web 80, 443, 8080 and 8443 are"):
        asyncio.run(Pictures(told()).read("http://example.org:22/a.png"))


def test_a_server_that_sends_a_byte_now_and_then_is_left(url: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="time-out"):
        asyncio.run(Pictures(told(fetch_seconds=0.3), HERE).read(f"{url}/slow"))
    assert time.monotonic() - began < 2


def test_slow_servers_hold_up_no_more_than_some(url: str) -> None:
    async def ask() -> list[bytes]:
        pictures = Pictures(told(fetch_seconds=30.0), HERE)
        held = [asyncio.create_task(pictures.read(f"{url}/held")) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await pictures.read(f"{url}/good")
        Handler.held.set()
        return [*await asyncio.gather(*held), await pictures.read(f"{url}/good")]

    assert asyncio.run(ask()) == [PICTURE] * (AT_ONCE + 1)
