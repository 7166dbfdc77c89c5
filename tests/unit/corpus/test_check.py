"""The look before the long run: it says what would be dropped and where, and writes nothing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from PIL import Image

from m6.config import Config, UserError
from m6.corpus.check import LIMITS, check
from m6.corpus.config import CorpusConfig, FolderConfig, ImageRules, JsonLinesConfig, TextRules, WarcConfig
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


def test_it_says_where_a_rule_has_dropped_and_that_nothing_would_be_fetched(tmp_path: Path) -> None:
    rows = [{"text": "".join(row["couplets"])} for row in poem_rows()[:20]]
    rows[4]["text"] = "短文"
    rows[9]["image"] = "http://example.org/钟\ud800楼.jpg"  # half a character, which must not end the run
    path = tmp_path / "poems.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source = JsonLinesConfig(paths=(str(path),), text=RULES, needs_image=False)
    said = list(check(CorpusConfig(sources={"poems": source})))
    assert f"       1 short text (text.shortest_text 15): {path}, line 5 短文" in said
    assert said[0].endswith("19 stay")
    said = list(check(CorpusConfig(sources={"poems": source.override({"needs_image": True})})))
    assert any(f"not fetched: fetching is off: {path}, line 10 http://example.org/钟" in line for line in said)


def test_it_names_the_limit_that_pictures_do_not_reach(tmp_path: Path) -> None:
    for name in ("一", "二"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("一只在雪地上跑的红色的狐狸", encoding="utf-8")
    said: list[str] = []
    with pytest.raises(UserError, match="no record stays of folder"):
        said.extend(check(CorpusConfig(sources={"folder": FolderConfig(path=str(tmp_path))})))
    assert any(line.startswith("       2 small image (images.fewest_pixels 5000): ") for line in said), said


def test_every_limit_is_a_field() -> None:
    sections: dict[str, type[Config]] = {"text": TextRules, "images": ImageRules}
    for field in LIMITS.values():
        section, name = field.split(".")
        assert name in sections[section].model_fields


def test_a_place_in_a_compressed_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "page.warc.gz"
    path.write_bytes(gzip.compress(b"no record here\n" * 9))
    said: list[str] = []
    with pytest.raises(UserError, match="no record stays"):
        said.extend(check(CorpusConfig(sources={"crawl": WarcConfig(paths=(str(path),))})))
    assert any(", byte" in line for line in said)
    assert not any(", line" in line for line in said)


def test_a_source_of_which_nothing_stays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.jsonl"
    path.write_text('{"name": "春晓"}\n' * 3, encoding="utf-8")
    config = CorpusConfig(sources={"names": JsonLinesConfig(paths=(str(path),))})
    with pytest.raises(UserError, match="no record stays of names"):
        list(check(config))
    with pytest.raises(UserError, match="none of 3 records stays, 3 for the reason 'missing field'"):
        build(config, tmp_path / "out", 0)
