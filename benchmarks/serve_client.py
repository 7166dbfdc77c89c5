"""A server under measurement, and a client that costs it little: both share the cores of one machine.

with Server(command) as server:            a process of its own; `ready` tells the seconds until /readyz said 200
    await server.post("/v1/...", body)     status, body, seconds
    async for event in server.stream(...)  what is sent bit by bit
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.runners import NO_NETWORK, ROOT
from m6.config import UserError
from m6.run import ends_with_parent

MOST_SECONDS = 120.0
"""Until a server is ready."""
LINE = 2**24  # bytes: pictures come as one line


class Answer(NamedTuple):
    """An answer, whole."""

    status: int
    body: Any
    seconds: float

    @property
    def text(self) -> str:
        """What a chat says."""
        said: str = self.body["choices"][0]["message"]["content"]
        return said

    @property
    def tokens(self) -> int:
        """That were written."""
        written: int = self.body["usage"]["completion_tokens"]
        return written


class Server:
    """A process that serves, until the context ends."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """command: `{port}` in it becomes a port that is free. UserError if the process ends before it is ready."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed when the process is
        words = [word.format(port=self.port) for word in command]
        began = time.perf_counter()
        self._process = subprocess.Popen(
            words,
            stdout=self._errors,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, **NO_NETWORK, **(environment or {})},
            preexec_fn=ends_with_parent(),
        )
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - began > MOST_SECONDS:
                self._process.kill()
                raise UserError(f"benchmarks: {' '.join(words[:4])} does not serve: {self.said()}")
            time.sleep(0.01)
        self.ready = time.perf_counter() - began

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def said(self) -> str:
        """The last line that the process has written."""
        self._errors.seek(0)
        return " ".join(self._errors.read().strip().splitlines()[-1:])

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def resident(self) -> int:
        """Memory of the process in KiB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def post(self, path: str, body: Any) -> Answer:
        """One request. body: bytes go as they are, anything else as JSON."""
        began = time.perf_counter()
        reader, writer = await self._send(path, body)
        try:
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        seconds = time.perf_counter() - began
        status = int(head.split(b" ", 2)[1]) if head else 0
        return Answer(status, json.loads(content) if b"application/json" in head else content, seconds)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Its server-sent events; who closes the iterator leaves in the middle."""
        reader, writer = await self._send(path, {**body, "stream": True})
        try:
            while line := await reader.readline():
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            writer.close()

    async def _send(self, path: str, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """In HTTP 1.0, whose answers end with the connection."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=LINE)
        head = f"POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        return reader, writer

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
