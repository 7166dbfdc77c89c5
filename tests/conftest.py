"""What holds for every test: no network, one thread of computation a worker, no slow denormal numbers."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import pytest

# Workers of pytest-xdist share the cores. Set before any library reads it, and inherited by what tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex


def _local(address: Any) -> bool:
    """Whether an address stays on this machine: the path of a Unix socket, or the loopback."""
    return isinstance(address, str | bytes) or address[0] in ("127.0.0.1", "::1", "localhost")


def _guarded_connect(self: socket.socket, address: Any) -> None:
    if not _local(address):
        raise RuntimeError(f"a test tried to connect to {address}: tests have no network")
    _connect(self, address)


def _guarded_connect_ex(self: socket.socket, address: Any) -> int:
    if not _local(address):
        raise RuntimeError(f"a test tried to connect to {address}: tests have no network")
    return _connect_ex(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections of Python code to other machines."""
    monkeypatch.setattr(socket.socket, "connect", _guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", _guarded_connect_ex)


@pytest.fixture(autouse=True)
def torch_settings() -> None:
    """The settings of the entry points, where the test has imported torch: a test without torch stays quick."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(True)
        if "PYTEST_XDIST_WORKER" in os.environ:
            torch.set_num_threads(1)
