"""From parts to shards: the same bytes however the work is cut, and paragraphs that many Documents share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from m6.corpus.config import CorpusConfig, DuplicatesConfig, JsonLinesConfig, TextRules
from m6.corpus.dedup import Paragraphs, line_hash
from m6.corpus.pipeline import build
from m6.corpus.sources import jsonl
from m6.corpus.starter import poem_rows
from m6.corpus.write import without_paragraphs
from m6.shards import Shards

NOTICE = "本站所有作品均由网友上传，如有侵犯您的权益，请及时与我们联系处理。"
RULES = TextRules(shortest_title=1, cut_boilerplate=False)


def poems(count: int) -> list[dict[str, str]]:
    return [{"title": row["title"], "text": "\n".join(row["couplets"])} for row in poem_rows()[:count]]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_any_number_of_parts_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = poems(240)
    rows += [{**row, "text": row["text"].replace("，", "　、")} for row in rows[::9]]  # near, or the same in letters
    path = write(tmp_path / "poems.jsonl", rows)
    config = CorpusConfig(sources={"poems": JsonLinesConfig(paths=(str(path),), text=RULES)}, rows_per_shard=50)
    made = []
    for size in (10_000_000, 20_000):
        monkeypatch.setattr(jsonl, "BYTES_PER_PART", size)
        folder = tmp_path / f"out-{size}"
        assert build(config, folder, 0)["kept"] == 240
        made.append({file.name: file.read_bytes() for file in folder.glob("*.parquet")})
    assert len(made[0]) == 5
    assert made[0] == made[1]


def test_a_paragraph_of_many_documents_stays_in_the_first(tmp_path: Path) -> None:
    rows = [{**row, "text": f"{row['text']}\n{NOTICE}"} for row in poems(6)]
    path = write(tmp_path / "poems.jsonl", rows)
    duplicates = DuplicatesConfig(paragraph_documents=3, paragraph_length=20)
    config = CorpusConfig(sources={"poems": JsonLinesConfig(paths=(str(path),), text=RULES)}, duplicates=duplicates)
    build(config, tmp_path / "out", 0)
    texts = [row["text"] for table in Shards(tmp_path / "out").tables() for row in table.to_pylist()]
    assert texts == [rows[0]["text"], *(row["text"] for row in poems(6)[1:])]


def test_pictures_keep_their_places_when_paragraphs_go() -> None:
    lines = ["第一段。" * 6, NOTICE, "第三段。" * 6]
    text = "\n".join(lines)
    repeated = Paragraphs(
        pa.table({"paragraph": np.array([line_hash(NOTICE)], np.uint64), "position": np.array([7], np.uint64)})
    )
    places = [
        0,
        5,
        text.index(NOTICE),
        text.index(NOTICE) + 9,
        text.index("第三段"),
        text.index("第三段") + 4,
        len(text),
    ]
    document = {"text": text, "images": [{"offset": place} for place in places]}
    assert without_paragraphs(document, repeated, 7, 20) is None, "the first keeps it"
    found = without_paragraphs(document, repeated, 8, 20)
    assert found is not None
    left, offsets = found
    assert left == f"{lines[0]}\n{lines[2]}"
    third = left.index("第三段")
    assert offsets == [0, 5, third, third, third, third + 4, len(left)]
