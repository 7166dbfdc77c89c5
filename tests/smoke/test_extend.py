"""The guide "extend", the half that trains: the objective and the task that it adds, by its own commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.extended import Extended

pytestmark = pytest.mark.xdist_group("smoke")


def test_what_is_added_trains_and_is_measured(run: Path, tmp_path: Path) -> None:
    extended = Extended(tmp_path)
    for stage in ("corpus", "tokenizer", "vqgan"):  # its recipe is that of the run up to here, so they are done
        shutil.copytree(run / stage, tmp_path / "runs/titles" / stage)
    extended.python('from m6.recipes.recipe import named; named("titles.py").write("runs/titles/config.json")')
    said = extended.run("An objective")
    assert said.count("already done") == 3
    rows = (tmp_path / "runs/titles/pretrain/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["loss/title"] > 0 for row in rows] == [True, True]
    for split in ("train", "validation", "test"):
        extended.write(f"titles-data/{split}.jsonl", extended.block("A task", "json"))
    said = extended.run("A task")
    assert "exact" in said
    (answers,) = (tmp_path / "runs/titles-titles/evaluate").glob("titles-test*.answers.jsonl")
    assert len(answers.read_text(encoding="utf-8").splitlines()) == 2
