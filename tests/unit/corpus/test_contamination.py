"""Contamination: planted evaluation texts are found however they are written, and nothing else is."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import opencc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m6.config import UserError
from m6.corpus.config import DuplicatesConfig
from m6.corpus.dedup import Against, against
from m6.corpus.starter import poem_rows
from m6.corpus.text.normalise import letters

POEMS = ["".join(row["couplets"]) for row in poem_rows()[:200]]
QUESTION = "图中的小女孩手里拿着什么颜色的气球？"
ANSWER = "她拿着一个红色的气球"  # 10 letters: counts whole
SHORT = "红色的"


@pytest.fixture
def evaluation(tmp_path: Path) -> Against:
    path = tmp_path / "eval.jsonl"
    record = {"question": QUESTION, "answers": [{"text": ANSWER}, SHORT], "id": 7, "none": None}
    path.write_text(json.dumps(record, ensure_ascii=False) + "\n\n", encoding="utf-8")
    return Against([str(path)], 13)


def test_planted_texts_are_found(evaluation: Against) -> None:
    poem = POEMS[0]
    traditional = opencc.OpenCC("s2t").convert(QUESTION)
    assert evaluation.hit(f"{poem}{QUESTION}{poem}") == QUESTION
    assert traditional != QUESTION
    assert evaluation.hit(poem + traditional) == QUESTION
    assert evaluation.hit("图中的，小女孩 「手里」拿着\n什么颜色 的气球") == QUESTION
    assert evaluation.hit(f"答：{ANSWER}。") == ANSWER
    assert evaluation.hit(f"{ANSWER}，{QUESTION}") == QUESTION


def test_a_run_of_thirteen_letters_is_enough_and_twelve_are_not(evaluation: Against) -> None:
    plain = letters(QUESTION)
    assert evaluation.hit(f"看看{plain[2:15]}吗") == QUESTION
    assert evaluation.hit(f"看看{plain[2:14]}吗") is None
    assert evaluation.hit(ANSWER[:-1]) is None
    assert evaluation.hit(f"这是{SHORT}，{SHORT}") is None
    assert evaluation.hit("") is None


def test_real_texts_against_a_search_for_every_run(tmp_path: Path) -> None:
    held = POEMS[:20]
    path = tmp_path / "eval.csv"
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["text", "number"], *([poem, 1] for poem in held)])
    evaluation = Against([str(path)], 3)
    expected = []
    for poem in POEMS:
        runs = {letters(poem)[i : i + 3] for i in range(len(letters(poem)) - 2)}
        expected.append(next((one for one in held if any(run in letters(one) for run in runs)), None))
    assert [evaluation.hit(poem) for poem in POEMS] == expected
    assert 20 < sum(one is not None for one in expected) < 150  # the 20 themselves, and some that share a phrase


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz"])
def test_each_kind_of_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    rows = [{"caption": QUESTION, "image": "A" * 2_000}, {"caption": POEMS[0], "image": "B" * 2_000}]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    if name.endswith("parquet"):
        pq.write_table(pa.table({"caption": [[row["caption"]] for row in rows]}), path)
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif name == "a.json":
        path.write_text(json.dumps({"data": rows}))
    elif name == "a.jsonl":
        path.write_text(lines, encoding="utf-8")
    else:
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter="\t" if name == "a.tsv" else ",").writerows(row.values() for row in rows)
    evaluation = Against([str(path)], 13)
    assert evaluation.hit(POEMS[0]) == POEMS[0]
    assert evaluation.hit(QUESTION) == QUESTION
    assert evaluation.hit("A" * 3_000) is None


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    def refused(name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=rf"^corpus\.duplicates\.against: .*{name}: {message}"):
            Against([str(tmp_path / name)], 13)

    refused("empty.jsonl", "", "no text of 8 or more letters")
    refused("short.jsonl", json.dumps({"answer": SHORT}), "no text of 8 or more letters")
    refused("broken.jsonl", '{"a": ', "cannot be read: ")
    refused("words.txt", QUESTION, "not a kind of file that is read; give one of .jsonl")
    refused("no.parquet", QUESTION, "cannot be read: ")
    with pytest.raises(UserError, match="no such file"):
        Against([str(tmp_path / "missing.jsonl")], 13)


def test_a_config_is_read_once_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text(json.dumps(QUESTION), encoding="utf-8")
    config = DuplicatesConfig(against=(str(tmp_path / "eval.jsonl"),))
    first = against(config)
    assert first is not None
    assert against(config) is first
    assert against(DuplicatesConfig()) is None
