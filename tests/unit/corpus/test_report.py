"""The report: counts against a hand-worked case, tallies in any order, and a page that stands alone."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ElementTree
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from m6.corpus.document import SCHEMA, Document, Image, make_document
from m6.corpus.drop import Drop
from m6.corpus.report import Tally, fragment, markdown, summary, write_report
from m6.corpus.report.paper import TABLE, TOTAL
from m6.corpus.report.scripts import main_scripts
from m6.corpus.report.tables import matrix, size
from m6.corpus.report.tally import aspect_bin, bin_edge, bin_of

NASTY = '<script>alert("x")</script> | `a` [b](c) \u202e反\x00\ud800\n第二行'


def table(*documents: Document) -> pa.Table:
    rows = [{**document, "attributes": list(document["attributes"].items())} for document in documents]
    return pa.Table.from_pylist(rows, SCHEMA)


def picture(data: bytes) -> Image:
    return Image(bytes=data, width=64, height=64, offset=0, url=None)


def events() -> list[Any]:
    """Things to count, each as a function of a tally."""
    found: list[Any] = []
    for number in range(60):
        drop = Drop(("short text", "not JSON")[number % 2], f"a.jsonl, line {number}", f"第{number}行")
        found.append(lambda tally, drop=drop: tally.drop("web", drop))
        found.append(lambda tally, drop=drop: tally.image_dropped("web", drop))
        found.append(lambda tally, n=number: tally.read("web" if n % 3 else "poems", n))
        found.append(lambda tally, n=number: tally.found_image("web", 30 + n, 90))
        found.append(lambda tally, n=number: tally.time("text", n / 7, n, 1))
        found.append(lambda tally, n=number: tally.cluster(f"文{n}", [f"文{n}！"] * 9, 2 + n % 5, "near duplicate"))
        document = make_document("poems", "床前明月光" * number, split="heldout" if number % 4 == 0 else "train")
        found.append(lambda tally, one=document: tally.keep(table(one)))
    return found


def test_tallies_add_up_in_any_order_and_survive_being_written() -> None:
    whole = Tally()
    for event in events():
        event(whole)
    chance = random.Random(0)
    for _ in range(3):
        parts = [Tally() for _ in range(5)]
        shuffled = events()
        chance.shuffle(shuffled)
        for event in shuffled:
            event(chance.choice(parts))
        total = Tally()
        for part in parts:
            total.add(Tally.loads(part.dumps()))
        assert total.dumps() == whole.dumps()
        assert summary(total, {}) == summary(whole, {})
    assert Tally.loads(Tally().dumps()).dumps() == Tally().dumps()


def test_a_tally_does_not_grow() -> None:
    tally = Tally()
    sizes = []
    for number in range(2_000):
        tally.drop("web", Drop("short text", f"line {number}", "文" * 1_000))
        tally.cluster(f"文{number}" * 500, ["文" * 1_000] * 50, 2, "near duplicate")
        tally.found_image("web", number % 90, number % 70)
        if number in (1_000, 1_999):
            sizes.append(len(tally.dumps()))
    assert sizes[1] < 1.02 * sizes[0] < 60_000


def test_samples_are_chosen_without_regard_to_their_place() -> None:
    chosen = Counter[int]()
    for repetition in range(300):
        tally = Tally()
        for number in range(10):
            tally.drop("web", Drop("short text", str(number), f"{repetition}"))
        chosen.update(int(where) for where, _ in tally.samples["web", "short text"])
    assert sum(chosen.values()) == 900
    assert all(50 < chosen[number] < 140 for number in range(10))  # 90 each, give or take 6 deviations


def test_many_sources_do_not_make_a_table_wider_than_a_page() -> None:
    tally = Tally()
    for number in range(12):
        for _ in range(number + 1):
            tally.drop(f"s{number:02}", Drop("short text", "line 1", "短"))
    assert matrix(summary(tally, {}), "drops_by_source") == [
        ["reason", "all", "most of them in"],
        ["short text", "78", "s11 12, s10 11, s09 10, 9 others"],
    ]


def test_the_table_of_the_paper() -> None:
    tally = Tally()
    for _ in range(6):
        tally.read("web", 10)
    both = [make_document("web", "两幅图", images=[picture(b"1234"), picture(b"56")], split="heldout")]
    plain = [make_document("web", text) for text in ("一二三四五", "abc")]
    tally.keep(table(*both, *plain))
    tally.keep(table(make_document("poems", "床前明月光")))
    tally.drop("web", Drop("short text", "line 1", "短"))
    tally.drop("web", Drop("short text", "line 2", "短"))
    tally.image_dropped("web", Drop("small image", "两幅图", "3 x 4"))
    report = summary(tally, {})
    assert report["sources"] == [
        {"source": "poems", "modality": "plain text", "passages": 1, "heldout": 0, "images": 0, "characters": 5,
         "image_bytes": 0, "text_bytes": 15},
        {"source": "web", "modality": "image and text", "passages": 1, "heldout": 1, "images": 2, "characters": 3,
         "image_bytes": 6, "text_bytes": 9},
        {"source": "web", "modality": "plain text", "passages": 2, "heldout": 0, "images": 0, "characters": 8,
         "image_bytes": 0, "text_bytes": 18},
    ]  # fmt: skip
    figures = {name: report[name] for name in ("read", "kept", "pairs", "texts", "heldout", "drops", "images_dropped")}
    assert figures == {
        "read": 6, "kept": 4, "pairs": 1, "texts": 3, "heldout": 1,
        "drops": {"short text": 2}, "images_dropped": {"small image": 1},
    }  # fmt: skip
    (drop,) = report["drops_by_source"]
    assert (drop["source"], drop["reason"], drop["count"]) == ("web", "short text", 2)
    assert sorted(sample["where"] for sample in drop["samples"]) == ["line 1", "line 2"]
    assert report["histograms"]["length"]["web"] == [[3, 4, 2], [4, 6, 1]]
    assert "| web | image and text | 2 | 3 | 1 | 1 | 3.0 | 6 B | 9 B |" in markdown(report)
    assert "| total |  | 2 | 16 | 4 | 1 | 4.0 | 6 B | 42 B |" in markdown(report)


def test_the_rows_of_the_paper_add_up() -> None:
    for name in ("images", "tokens", "passages", "image_size", "text_size"):
        assert sum(getattr(row, name) for row in TABLE) == pytest.approx(getattr(TOTAL, name), abs=0.11)


def test_bins_are_whole_and_ordered() -> None:
    numbers = [*range(3_000), 2**20 - 1, 2**20, 3 * 2**19]
    for number in numbers:
        place = bin_of(number)
        assert bin_edge(place) <= number
        assert place == 0 or number < bin_edge(place + 1)
    assert [bin_edge(bin_of(number)) for number in (0, 1, 2, 3, 5, 7, 11, 12, 100)] == [0, 1, 2, 3, 4, 6, 8, 12, 96]
    assert bin_of(10**30) == bin_of(10**31)
    assert [aspect_bin(*sides) for sides in ((1, 1), (100, 95), (200, 100), (100, 200), (9, 1000))] == [
        0,
        0,
        4,
        -4,
        -16,
    ]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("床前明月光，疑是地上霜。", "Chinese, either"),
        ("这是一个简体中文的句子。", "Chinese, simplified"),
        ("這是一個繁體中文的句子，後來又改了。", "Chinese, traditional"),
        ("他在Windows系统里写Python程序和JavaScript", "Latin"),
        ("昨日は友達と京都へ行きました。", "Japanese"),
        ("안녕하세요 여러분", "Korean"),
        ("Привет, мир", "Cyrillic"),
        ("مرحبا", "other"),
        ("2026-11-22 !?", "no letters"),
        ("", "no letters"),
    ],
)
def test_scripts(text: str, script: str) -> None:
    assert main_scripts(pa.chunked_array([["前一句", text], ["after"]])) == ["Chinese, either", script, "Latin"]


def test_the_extrapolation_by_hand() -> None:
    tally = Tally()
    tally.keep(table(make_document("web", "图", images=[picture(bytes(1_000))])))
    tally.time("text", 2.0, 4_000_000, 1_000)  # 2 MB/s, 500 texts/s
    tally.time("images", 10.0, 20_000_000, 500)  # 2 MB/s, 50 pictures/s
    tally.time("write", 1.0, 1_000_000, 0)  # 1 MB/s
    report = summary(tally, {})
    estimate = report["extrapolation"]
    hours = {name: (row["low"], row["high"]) for name, row in estimate["stages"].items()}
    assert hours["text"] == pytest.approx((292.4e9 / 2e6 / 3600, 419.5e6 / 500 / 3600), abs=1e-3)
    assert hours["images"] == pytest.approx((1.9e12 / 2e6 / 3600, 60.5e6 / 50 / 3600), abs=1e-3)
    written = (292.4e9 + 60.5e6 * 1_000) / 1e6 / 3600
    assert hours["write"] == pytest.approx((written, written), abs=1e-3)
    assert estimate["missing"] == ["read", "keys", "duplicates"]
    assert estimate["core_hours"]["high"] == pytest.approx(sum(high for _, high in hours.values()), abs=0.01)
    assert report["stages"]["text"]["mb_per_s"] == 2.0
    assert report["stages"]["images"]["items_per_s"] == 50.0


class Page(HTMLParser):
    """Checks that elements are closed in order, and gathers what they refer to."""

    void = ("meta", "link", "img", "br", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.references: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full() -> Tally:
    tally = Tally()
    for event in events():
        event(tally)
    tally.drop("web", Drop(f"not fetched: {NASTY[:6]}", NASTY, NASTY))
    tally.image_dropped("web", Drop("small image", NASTY, NASTY))
    tally.cluster(NASTY, [NASTY], 40, "near-duplicate text")
    return tally


def test_the_page_stands_alone(tmp_path: Path) -> None:
    report = write_report(tmp_path, full(), {"sources": {"web": "jsonl"}, "recipe": NASTY[:20]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    text = (tmp_path / "report.html").read_text()
    assert text.startswith("<!doctype html>")
    assert fragment(report) in text
    assert text.count("\x00") == text.count("<script") == 0
    assert "web (jsonl)" in text
    for outside in ("http:", "https:", "url(", "@import"):
        assert outside not in text
    page = Page(text)
    assert page.references == []
    assert page.seen["svg"] >= 4
    for drop in report["drops_by_source"]:
        assert len(drop["samples"]) in (1, 3)
    for svg in text.split("<svg ")[1:]:
        ElementTree.fromstring("<svg " + svg.split("</svg>")[0] + "</svg>")


def test_markdown_tables_hold_whatever_was_found(tmp_path: Path) -> None:
    """Cells keep their places: as many unescaped bars in each line of a table."""
    text = markdown(summary(full(), {}))
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
            assert all(line.startswith("|") and line.endswith("|") for line in lines)
    assert "<script" not in text.replace("\\<", "")


def test_an_empty_corpus_has_a_report(tmp_path: Path) -> None:
    report = write_report(tmp_path, Tally(), {})
    assert report["read"] == report["kept"] == 0
    Page((tmp_path / "report.html").read_text())
    assert "0 records read, 0 kept" in (tmp_path / "report.md").read_text()


def test_one_of_everything_has_a_report(tmp_path: Path) -> None:
    tally = Tally()
    tally.keep(table(make_document("web", "", images=[picture(b"1")])))
    tally.found_image("web", 1, 1)
    tally.time("text", 0.0, 0, 0)
    write_report(tmp_path, tally, {})
    Page((tmp_path / "report.html").read_text())


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.00 kB"), (36_400, "36.4 kB"), (63_600_000, "63.6 MB"),
     (999_600, "1,000 kB"), (2_940_000_000, "2.94 GB"), (100_000_000, "100 MB"), (1.9e12, "1.90 TB")],
)  # fmt: skip
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said
