"""The guide to task data: its example lines are read, and both languages show the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from m6.tasks.files import read_split
from m6.tasks.formats import FORMATS
from m6.tasks.names import SUMMARIES

GUIDES = [Path(__file__).parents[3] / "docs" / language / "task-data.md" for language in ("en", "zh")]


def examples(guide: Path) -> dict[str, str]:
    """The lines of each task, by its heading."""
    sections = re.split(r"^### ", guide.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        section.split("\n")[0]: "".join(re.findall(r"```json\n(.*?)```", section, re.DOTALL)) for section in sections
    }


def test_both_languages_show_the_same_examples() -> None:
    english, chinese = map(examples, GUIDES)
    assert tuple(english) == tuple(SUMMARIES)
    assert english == chinese


@pytest.mark.parametrize("name", SUMMARIES)
def test_examples_are_read(name: str, tmp_path: Path) -> None:
    lines = examples(GUIDES[0])[name]
    (tmp_path / "pictures").mkdir()
    for number in (1, 2):
        (tmp_path / f"pictures/{number}.jpg").write_bytes(b"")
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        assert read_split(name, tmp_path, split)
    assert len(read_split(name, tmp_path, "validation")) == lines.count("\n")


@pytest.mark.parametrize("guide", GUIDES, ids=["en", "zh"])
def test_files_of_every_public_set_are_named(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    for name in FORMATS:
        first = importlib.import_module(f"m6.tasks.formats.{name}").FILES["train"][0]
        for file in first:
            assert f"`{file}`" in text
