"""Scripts that draw pictures of the docs: what is wrong with their paths is one line, exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[2] / "examples" / "gallery.py"
pytestmark = pytest.mark.skipif(not GALLERY.is_file(), reason="the examples come with the repository alone")


@pytest.mark.parametrize(
    ("words", "said"), [((), "usage: python examples/gallery.py RUN docs"), (("no", "docs"), "no/")]
)
def test_wrong_paths_are_one_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(GALLERY), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
