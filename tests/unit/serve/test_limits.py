"""Limits that hold for every kind of work: how many wait, how long it takes, and that no kind holds up another."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from m6.serve.run import GRACE
from m6.serve.service import Service
from tests.unit.serve.small_service import data_url, make_service, served

MATCH = {"image": data_url(), "texts": ["红苹果", "猫"]}
SEEN = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url()}}]}]}


@contextmanager
def held(service: Service, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A method of a service that waits, first, until the block ends."""
    go, begun, real = threading.Event(), threading.Event(), getattr(service, name)

    def waits(*given: Any) -> Any:
        begun.set()
        go.wait(60)
        return real(*given)

    monkeypatch.setattr(service, name, waits)
    try:
        yield begun
    finally:
        go.set()


def until(true: Callable[[], bool]) -> None:
    ended = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ended
        time.sleep(0.01)


def test_matches_wait_up_to_a_limit_and_hold_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(tmp_path / "run", max_queue=12)
    with served(service) as url, ThreadPoolExecutor(20) as pool:

        def ask(path: str, body: dict[str, Any]) -> httpx.Response:
            return httpx.post(f"{url}/v1/{path}", json=body, timeout=60)

        with held(service, "match", monkeypatch):
            matches: list[Future[httpx.Response]] = [pool.submit(ask, "match", MATCH) for _ in range(13)]
            until(lambda: service.scoring.waiting == 12)
            assert "m6_waiting 12.0\n" in httpx.get(f"{url}/metrics").text
            refused = ask("match", MATCH)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert ask("chat/completions", SEEN | {"max_tokens": 2}).status_code == 200
        assert [each.result().status_code for each in matches] == [200] * 13
        assert service.scheduler.counts.refused == 1
    service.close()


@pytest.mark.parametrize(("name", "path"), [("match", "match"), ("prefix", "chat/completions")])
def test_what_is_late_ends_in_time_even_while_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    service = make_service(tmp_path / "run", max_seconds=2)
    with served(service) as url, ThreadPoolExecutor(8) as pool, held(service, name, monkeypatch) as begun:
        began = time.monotonic()
        body = MATCH if name == "match" else SEEN
        asked = [pool.submit(httpx.post, f"{url}/v1/{path}", json=body, timeout=60) for _ in range(6)]
        assert [each.result().status_code for each in asked] == [504] * 6
        assert time.monotonic() - began < 20
        assert begun.is_set()
    service.close()


def test_texts_that_nobody_waits_for_are_not_scored_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(tmp_path / "run", max_seconds=1)
    scored: list[int] = []

    def slow(engine: object, prefixes: object, texts: list[object]) -> Any:
        scored.append(len(texts))
        time.sleep(1.2)
        return np.zeros((1, len(texts)))

    monkeypatch.setattr("m6.serve.service.fits", slow)
    with served(service) as url:
        answer = httpx.post(f"{url}/v1/match", json=MATCH | {"texts": ["猫"] * 256}, timeout=60)
        assert answer.status_code == 504
        time.sleep(0.5)
        assert scored == [64]
    service.close()


def half(url: str) -> socket.socket:
    """A connection over which the half of a request has been sent."""
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30)
    head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    connection.sendall(head.encode() + b'{"prompt": ')
    return connection


def heard(connection: socket.socket) -> tuple[str, str]:
    """The first line and the message of an answer after which the connection is closed."""
    said = b""
    while piece := connection.recv(65_536):
        said += piece
    head, _, body = said.decode().partition("\r\n\r\n")
    assert "connection: close" in head.lower()
    return head.splitlines()[0], json.loads(body)["error"]["message"]


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", max_seconds=0.6)
    with served(service) as url:
        line, message = heard(half(url))
        assert "408" in line
        assert "has not come within 0.6 s" in message
    service.close()


def test_a_server_that_ends_waits_a_little_for_a_body(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", max_seconds=60)
    with served(service) as url:
        connection = half(url)
        time.sleep(0.1)
        began = time.monotonic()
        service.closing = began + 0.2
        line, message = heard(connection)
        assert "408" in line
        assert "the server closes" in message
        assert time.monotonic() - began < GRACE
    service.close()
