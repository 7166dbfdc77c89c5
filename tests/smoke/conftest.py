"""One run of the smoke recipe, which all tests here share: they belong to one worker, by their xdist group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

M6 = [sys.executable, "-m", "m6.cli"]


def m6(*words: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """A command line of its own, as a user types it."""
    return subprocess.run([*M6, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "smoke"
    done = m6("quickstart", "smoke", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder
