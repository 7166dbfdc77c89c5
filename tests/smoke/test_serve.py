"""The server as a process: what the guide tells a reader to type, and how it ends."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.smoke.conftest import M6

pytestmark = pytest.mark.xdist_group("smoke")
ROOT = Path(__file__).parents[2]
GUIDE, GUIDE_ZH = (ROOT / "docs" / language / "serve.md" for language in ("en", "zh"))


def blocks(guide: Path, language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)


@contextmanager
def served(run: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own, and its address, as it says it."""
    process = subprocess.Popen([*M6, "serve", str(run), "--port", "0", *flags], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        url = found.group()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                httpx.get(f"{url}/readyz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield process, url
    finally:
        process.kill()
        process.wait()


def test_both_languages_give_the_same_commands_and_code() -> None:
    for language in ("bash", "python"):
        assert blocks(GUIDE, language)
        assert blocks(GUIDE, language) == blocks(GUIDE_ZH, language)


def test_what_the_guide_says_works_word_for_word(run: Path, tmp_path: Path) -> None:
    lines = "".join(blocks(GUIDE, "bash")).replace("\\\n", " ").splitlines()
    curls = [line for line in lines if line.startswith("curl ")]
    assert len(curls) >= 3
    with served(run) as (_, url):
        for line in curls:
            words = shlex.split(line.replace("http://127.0.0.1:8000", url))
            done = subprocess.run([*words, "-sS", "-f"], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stderr)
            assert json.loads(done.stdout)
        for code in blocks(GUIDE, "python"):
            script = code.replace("http://127.0.0.1:8000", url)
            done = subprocess.run(
                [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_a_server_that_is_told_to_end_finishes_what_it_has_taken(run: Path) -> None:
    body = {"messages": [{"role": "user", "content": "春天"}], "task": "poem", "temperature": 1.5, "stream": True}
    with served(run, "--slots", "2", "--text_slots", "1") as (process, url):
        begun = threading.Barrier(5, timeout=60)
        heard: dict[int, str] = {}

        def listen(number: int) -> None:
            asked = body | {"seed": number}
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, timeout=120) as answer:
                begun.wait()
                heard[number] = "".join(answer.iter_text())

        threads = [threading.Thread(target=listen, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()  # all four have been accepted; with two slots, two of them still wait
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(timeout=120)
        assert process.wait(timeout=60) == 0
        assert sorted(heard) == [0, 1, 2, 3]
        for text in heard.values():
            assert text.endswith("data: [DONE]\n\n")
            assert '"finish_reason": "' in text
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/readyz")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["RUN", "RUN"], "takes one run folder"),
        (["nowhere"], "no run folder"),
        (["RUN", "--port", "-1"], "port"),
        (["RUN", "--host", "192.0.2.1"], "take another"),
        (["RUN", "--slot", "4"], "slots"),
        (["RUN", "--port", "99999"], "port"),
        (["RUN", "--max_queue", "0"], "max_queue"),
        (["RUN", "--slots", "32", "--text_slots", "40"], "below --slots, here 32"),
        (["RUN", "--slots", "10000000"], "GiB"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_in_a_line(run: Path, words: list[str], line: str) -> None:
    command = [*M6, "serve", *(str(run) if word == "RUN" else word for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_half_a_request_does_not_hold_up_the_end(run: Path) -> None:
    with served(run) as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            head = (
                "POST /v1/match HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            )
            connection.sendall(head.encode())
            httpx.get(f"{url}/readyz").raise_for_status()  # so that the half has come before it ends
            process.send_signal(signal.SIGTERM)
            assert b"408" in connection.recv(65_536)
            assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
