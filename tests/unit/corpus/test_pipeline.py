"""The pipeline: counts add up, and a build that is killed ends in the same bytes as an unbroken one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m6.config import UserError
from m6.corpus import pipeline
from m6.corpus.config import CorpusConfig, EmojiConfig, FolderConfig, JsonLinesConfig, PoemsConfig, TextRules
from m6.corpus.document import SCHEMA, from_row
from m6.corpus.pipeline import build
from m6.corpus.starter import emoji_pictures, poem_rows
from m6.shards import Shards

SMALL = CorpusConfig(
    sources={"emoji": EmojiConfig(most=600), "poems": PoemsConfig(most=3_000)},
    rows_per_shard=1_000,
)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that a build leaves, less the reports, which tell how long it took."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.stem != "report"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    build(SMALL, folder, seed=0)
    return folder


def test_documents_are_finished_and_in_order(unbroken: Path) -> None:
    shards = Shards(unbroken)
    shards.verify()
    assert shards.manifest["columns"] == SCHEMA.names
    documents = [from_row(row) for table in shards.tables() for row in table.to_pylist()]
    assert [document["source"] for document in documents] == ["emoji"] * 600 + ["poems"] * (len(documents) - 600)
    assert documents[0]["title"] == "嘿嘿"
    assert len({document["id"] for document in documents}) == len(documents)
    for document in documents[:600]:
        (image,) = document["images"]
        assert (image["width"], image["height"]) == (64, 64)
        assert image["bytes"].startswith(b"\x89PNG")


def test_records_read_are_kept_or_dropped(unbroken: Path) -> None:
    report = json.loads((unbroken / "report.json").read_text())
    assert report["read"] == 3_600 == report["kept"] + sum(report["drops"].values())
    assert report["kept"] == report["pairs"] + report["texts"] == len(Shards(unbroken))
    assert report["pairs"] == 600
    poems = next(row for row in report["sources"] if row["source"] == "poems")
    rows = Shards(unbroken).columns(["source", "text", "split"]).to_pylist()
    texts = [row["text"] for row in rows if row["source"] == "poems"]
    assert poems["passages"] == len(texts)
    assert poems["characters"] == sum(map(len, texts))
    assert poems["text_bytes"] == sum(len(text.encode()) for text in texts)
    assert report["heldout"] == sum(row["split"] == "heldout" for row in rows)


def test_a_finished_build_is_left_as_it_is(unbroken: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.iterdir()}
    assert build(SMALL, unbroken, seed=0)["kept"] == len(Shards(unbroken))
    assert {path: path.stat().st_mtime_ns for path in unbroken.iterdir()} == before


def run(folder: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path; from m6.corpus.config import CorpusConfig;"
        "from m6.corpus.pipeline import build;"
        "build(CorpusConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), 0)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, SMALL.model_dump_json(), str(folder)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_killed_anywhere_it_ends_in_the_same_bytes(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for kill in range(3):
        process = run(folder)
        if kill == 0:  # as soon as one part is done
            while not list(folder.glob(".work-*/*.json")) and process.poll() is None:
                time.sleep(0.01)
        else:
            time.sleep(random.uniform(0.3, 3.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if kill == 0:
            assert process.returncode == -signal.SIGKILL
            assert not (folder / "manifest.json").exists()
            with pytest.raises(UserError, match="unfinished"):
                Shards(folder)
    assert run(folder).wait() == 0
    assert contents(folder) == contents(unbroken)


def test_parts_that_are_done_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CorpusConfig(sources={"emoji": EmojiConfig(most=1_500)})
    asked: list[list[int]] = []

    def one_then_break(function: object, numbers: list[int], engine: object) -> object:
        asked.append(numbers)
        function(numbers[0])  # type: ignore[operator]
        yield numbers[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "each", one_then_break)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            build(config, tmp_path, 0)
    assert asked == [[0, 1, 2], [1, 2]]


def test_another_config_makes_another_corpus(tmp_path: Path) -> None:
    fruit = CorpusConfig(sources={"emoji": EmojiConfig(categories=("水果",))})
    assert build(fruit, tmp_path, 0)["kept"] == 20
    drinks = CorpusConfig(sources={"emoji": EmojiConfig(categories=("水果", "饮料"))})
    assert build(drinks, tmp_path, 0)["kept"] == 40
    assert len(Shards(tmp_path)) == 40


def test_bad_records_are_counted_by_reason_and_source(tmp_path: Path) -> None:
    """Pictures and lines as they come: some good, each kind of bad, copies of both."""
    folder, emoji = tmp_path / "in", emoji_pictures()
    folder.mkdir()
    pictures = {
        "a": emoji["1f427.png"],
        "b": emoji["1f427.png"],  # the same picture and text
        "c": emoji["1f427.png"],  # the same picture, another text
        "d": emoji["1f418.png"],
        "e": emoji["1f418.png"][:300],
        "f": b"not a picture",
        "g": emoji["1f34e.png"],
    }
    texts = dict.fromkeys(pictures, "一只企鹅") | {"c": "另一只企鹅", "d": "大象", "g": " \u200b "}
    for name, data in pictures.items():
        (folder / f"{name}.png").write_bytes(data)
        (folder / f"{name}.txt").write_text(texts[name])
    poems = ["".join(row["couplets"]) for row in poem_rows()[:3]]
    lines = [*poems, poems[0], poems[1] + "！！", "太短", "<b></b>", "only English words in this line"]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines) + "{broken\n")
    rules = FolderConfig(path=str(folder), text=TextRules(shortest_text=1))
    rules = rules.model_copy(update={"images": rules.images.model_copy(update={"fewest_pixels": 1})})
    config = CorpusConfig(sources={"folder": rules, "jsonl": JsonLinesConfig(paths=(str(path),))})
    figures = build(config, tmp_path / "out", 0)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {(row["source"], row["reason"]): row["count"] for row in report["drops_by_source"]} == {
        ("folder", "truncated image"): 1,
        ("folder", "unreadable image"): 1,
        ("folder", "empty text"): 1,
        ("folder", "exact duplicate"): 1,
        ("folder", "near-duplicate picture"): 1,
        ("jsonl", "exact duplicate"): 1,
        ("jsonl", "near-duplicate text"): 1,
        ("jsonl", "short text"): 1,
        ("jsonl", "empty text"): 1,
        ("jsonl", "not Chinese"): 1,
        ("jsonl", "not JSON"): 1,
    }
    assert figures["kept"] == 2 + 3
    assert figures["pairs"] == 2
    assert figures["read"] == 7 + 9
    samples = {row["reason"]: row["samples"][0] for row in report["drops_by_source"]}
    assert samples["truncated image"] == {"where": str(tmp_path / "in" / "e.png"), "text": "一只企鹅"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "near-duplicate picture" in page
    assert "{broken" in page
    table = (tmp_path / "out" / "report.md").read_text()
    assert "| jsonl | plain text | 0 |" in table


def test_wrong_names_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no kind 'emojis', did you mean 'emoji'"):
        CorpusConfig(sources=("emojis",))
    with pytest.raises(UserError, match="no text rule 'no_txt'"):
        build(CorpusConfig(sources={"poems": PoemsConfig(text=TextRules(rules=("no_txt",)))}), tmp_path, 0)
    with pytest.raises(UserError, match="is no folder"):
        build(CorpusConfig(sources=("folder",)), tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
