"""The look before the long run: it says what would be dropped and where, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m6.config import UserError
from m6.corpus.check import check
from m6.corpus.config import CorpusConfig, JsonLinesConfig, TextRules
from m6.corpus.pipeline import build
from m6.corpus.starter import poem_rows

RULES = TextRules(shortest_title=1)


def test_it_names_file_line_and_field(tmp_path: Path) -> None:
    rows = [{"title": row["title"], "text": "".join(row["couplets"])} for row in poem_rows()[:40]]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    lines[17] = json.dumps({"title": "无题", "text": 17})
    lines[23] = "{broken"
    path = tmp_path / "poems.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    config = CorpusConfig(sources={"poems": JsonLinesConfig(paths=(str(path),), text=RULES)})
    said = list(check(config))
    assert said[0] == "poems (jsonl): 40 records read in 1 parts, 38 stay"
    assert any(f"not JSON: {path}, line 24" in line for line in said)
    assert any(f"{path}, line 18, field text" in line for line in said)
    assert list(tmp_path.iterdir()) == [path]


def test_a_source_of_which_nothing_stays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.jsonl"
    path.write_text('{"name": "春晓"}\n' * 3, encoding="utf-8")
    config = CorpusConfig(sources={"names": JsonLinesConfig(paths=(str(path),))})
    with pytest.raises(UserError, match="no record stays of names"):
        list(check(config))
    with pytest.raises(UserError, match="none of 3 records stays, 3 for the reason 'missing field'"):
        build(config, tmp_path / "out", 0)
