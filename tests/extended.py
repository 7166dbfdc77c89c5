"""A copy of the package with all that the guide "extend" adds, for the tests of that guide.

Blocks of Python and diffs begin with their file. Of a diff, what is there already (lines with a blank) has to stand in
the file once; in its place come these lines and the new ones (with a plus).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "en" / "extend.md"


class Extended:
    """`folder` has the copy, in m6/, and the files of the guide beside it; commands are run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pages = re.split(r"^## (.+)\n", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
        self._sections = dict(zip(pages[1::2], pages[2::2], strict=True))
        shutil.copytree(ROOT / "m6", folder / "m6", ignore=shutil.ignore_patterns("__pycache__"))
        for kind, block in re.findall(r"```(python|diff)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL):
            name, text = block.removeprefix("# ").split("\n", 1)
            self.write(name, text if kind == "python" else self._changed(name, text))
        self.write("bin/m6", f'#!/bin/sh\nexec {sys.executable} -m m6.cli "$@"\n')
        (folder / "bin" / "m6").chmod(0o755)

    @property
    def sections(self) -> list[str]:
        return list(self._sections)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def block(self, section: str, language: str) -> str:
        """The only block of that language in a section."""
        (found,) = re.findall(rf"```{language}\n(.*?)```", self._sections[section], re.DOTALL)
        return str(found)

    def run(self, section: str, only: str = "") -> str:
        """What the commands of a section print; `only` those lines that are no command of m6, or hold these words."""
        lines = self.block(section, "bash").splitlines()
        return self.command("\n".join(line for line in lines if only in line or not line.startswith("m6 ")))

    def command(self, script: str, code: int = 0) -> str:
        """What a shell prints, in which `m6` is the copy; it has to end with that code."""
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        return self._ended(["/bin/sh", "-ec", script], code, PATH=path)

    def python(self, code: str) -> str:
        """What Python prints, which finds the copy."""
        return self._ended([sys.executable, "-c", dedent(code)], 0)

    def _ended(self, words: list[str], code: int, **more: str) -> str:
        environment = {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", **more}
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=600
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _changed(self, name: str, diff: str) -> str:
        before = "".join(line[1:] for line in diff.splitlines(keepends=True) if not line.startswith("+"))
        after = "".join(line[1:] for line in diff.splitlines(keepends=True))
        text = (self.folder / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has {text.count(before)} times:\n{before}"
        return text.replace(before, after)
