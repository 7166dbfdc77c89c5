"""What the READMEs tell a reader to type works, word for word, and both tell the same. Commands that ask a run are done
in test_guides.py."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from m6 import __version__
from tests.smoke.conftest import M6

pytestmark = pytest.mark.xdist_group("smoke")
ROOT = Path(__file__).parents[2]
README, README_ZH = (ROOT / name for name in ("README.md", "README.zh.md"))


def blocks(readme: Path, language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)


def commands(readme: Path, start: str) -> list[list[str]]:
    """The commands of all shell blocks that start with that word, each split as a shell would."""
    lines = [line for block in blocks(readme, "bash") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.split(" ")[0] == start]


def test_both_languages_give_the_same_commands_and_code() -> None:
    for language in ("bash", "python"):
        assert blocks(README, language) == blocks(README_ZH, language)


@pytest.mark.parametrize("words", commands(README, "make"), ids=" ".join)
def test_make_knows_its_targets(words: list[str]) -> None:
    told = subprocess.run([words[0], "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"quickstart": "m6 quickstart", "test": "-m pytest"}[words[1]] in told


def test_the_wheel_is_the_one_of_this_version() -> None:
    wheels = re.findall(r"dist/\S+\.whl", README.read_text(encoding="utf-8"))
    assert set(wheels) == {f"dist/open_m6-{__version__}-py3-none-any.whl"}


def test_the_recipe_for_own_data_reads_a_folder(tmp_path: Path) -> None:
    (recipe,) = blocks(README, "python")
    (tmp_path / "mine.py").write_text(recipe, encoding="utf-8")
    pictures = tmp_path / "my-pictures"
    pictures.mkdir()
    for number in range(40):
        Image.linear_gradient("L").rotate(9 * number).resize((96, 96)).convert("RGB").save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"第{number}张渐变图", encoding="utf-8")
    fewer = {"scenes.train": "40", "scenes.heldout": "10", "poems.most": "40"}
    small = [word for name, number in fewer.items() for word in (f"--corpus.sources.{name}", number)]
    command = [*M6, "corpus", "mine.py", "--out", "run", *small]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "folder" in (tmp_path / "run" / "corpus" / "report.md").read_text(encoding="utf-8")
