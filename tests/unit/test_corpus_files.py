"""`m6 corpus files`: which sources files are, and what the flags mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from m6.config import UserError
from m6.corpus.config import FilesConfig, RecordsConfig
from m6.corpus_files import describe, parse


def test_files_are_sources_by_their_ending(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"")
    paths = ["a.jsonl", "b.tsv.gz", "data/*.parquet", "{00..03}.tar", "CC-MAIN.warc.gz", "zh.xml.bz2", "a.html"]
    command = parse(["--paths", *paths, str(pictures), "--out", "clean"])
    kinds = {name: source.kind for name, source in command.config.sources.items()}
    assert list(kinds.values()) == ["jsonl", "csv", "parquet", "webdataset", "warc", "mediawiki", "pages", "folder"]
    assert list(kinds) == ["a", "b", "files", "_00", "CC_MAIN", "zh", "a_2", "pictures"]
    first = command.config.sources["a"]
    assert isinstance(first, FilesConfig)
    assert first.paths == ("a.jsonl",)
    assert command.folder == Path("clean")


def test_fields_rules_and_evaluation_files_are_flags() -> None:
    words = "--paths a.jsonl b.csv --against eval.jsonl test.csv --text content --image pic --out d"
    config = parse([*words.split(), "--rules.text.shortest_text", "5", "--image_size", "128"]).config
    for source in config.sources.values():
        assert isinstance(source, RecordsConfig)
        assert (source.text_field, source.image_field, source.title_field) == ("content", "pic", "title")
        assert source.text.shortest_text == 5
    assert config.duplicates.against == ("eval.jsonl", "test.csv")
    assert config.image_size == 128


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--out d", "no files given"),
        ("--paths a.jsonl", "--out DIR is missing"),
        ("a.jsonl --out d", "'a.jsonl' stands alone"),
        ("--paths a.docx --out d", "a.docx: its ending tells no kind"),
        ("--paths a.jsonl --out d --txt content", "--txt: no such flag"),
        ("--paths a.jsonl --out d --rules.text.shortest 5", "no field 'shortest', did you mean 'shortest_text'"),
        ("--paths a.jsonl --out d --rules.text.shortest_text five", "is not a whole number"),
    ],
)
def test_mistakes_are_one_line(words: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse(words.split())


def test_the_help_names_every_part() -> None:
    text = describe()
    for word in ("--paths", "--against", "--check", ".jsonl", "--duplicates.similarity"):
        assert word in text
