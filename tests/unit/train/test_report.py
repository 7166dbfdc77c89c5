"""The report page: whole, closed to the outside, safe against its content, and patient with what is missing."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from m6.recipes import quickstart
from m6.run import Run
from m6.train import report
from m6.train.report.elements import both, element, markup
from m6.train.report.examples import group, matching, questions, spread
from m6.train.report.material import Material
from m6.train.report.page import page
from m6.train.report.plots import Curve, line_chart, log_ticks, thinned, ticks
from m6.train.report.scores import percent
from tests.fixtures.report.run_folder import RESULTS, write_run

SECTIONS = [
    "gallery", "way", "corpus", "tokenizer", "pretraining", "paintings", "captions", "questions", "matching", "poems",
    "scores", "failures", "costs", "next", "settings",
]  # fmt: skip
VOID = {"meta", "img", "input", "br"}


class Reader(HTMLParser):
    """Reads a page; fails where an element is closed that is not open, or open at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def whole(run_folder: Path) -> Reader:
    return Reader(page(Material.read(run_folder)))


@pytest.fixture
def own(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(run_folder, tmp_path / "own"))


def test_sections_in_order(whole: Reader) -> None:
    assert [attributes["id"] for attributes in whole.of("section")] == SECTIONS


def test_headline_counts_composed_scenes_apart_from_real_pictures(whole: Reader) -> None:
    top = whole.text[: whole.text.index("Memory: what it has seen")]
    assert "1,892" in top
    assert "12,474" in top
    assert "14,366" not in top  # their sum


def test_a_loss_of_zero_leaves_the_log_chart(own: Path) -> None:
    (own / "pretrain" / "metrics.jsonl").write_text('{"step": 10, "loss/matching": 0.0}\n')
    (own / "pretrain" / "done.json").unlink()
    assert "No metrics of this training are here." in Reader(page(Material.read(own))).text


def test_nothing_is_loaded_from_outside(whole: Reader, run_folder: Path) -> None:
    text = page(Material.read(run_folder))
    assert not re.findall(r"https?:|url\(|@import|srcset|<link|<iframe", text)
    for _, attributes in whole.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    assert len(text) < 4_000_000


def test_pictures_are_in_the_page_and_told_in_words(whole: Reader) -> None:
    pictures = whole.of("img")
    assert len(pictures) > 100
    assert all(picture["alt"] and str(picture["src"]).startswith("data:image/png;base64,iVBOR") for picture in pictures)


def test_both_languages_stand_side_by_side(whole: Reader) -> None:
    spans = [attributes.get("class") for attributes in whole.of("span")]
    assert spans.count("en") == spans.count("zh") > 100
    assert [button["id"] for button in whole.of("input")] == ["en", "zh"]


def test_hostile_text_stays_text(own: Path) -> None:
    path = own / "evaluate" / "examples.json"
    examples = json.loads(path.read_text())
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    for kind in examples.values():
        for example in kind:
            for name, value in example.items():
                if isinstance(value, str) and name not in ("split", "source", "picture", "restored", "reference"):
                    example[name] = evil
                elif name == "texts":
                    example[name] = [evil, evil]
    path.write_text(json.dumps(examples))
    reader = Reader(page(Material.read(own)))
    assert len(reader.of("script")) == 1
    assert not any("onerror" in attributes for _, attributes in reader.elements)
    assert reader.text.count(evil) > 20


def test_failures_of_generalisation_are_shown(whole: Reader, run_folder: Path) -> None:
    examples = json.loads((run_folder / "evaluate" / "examples.json").read_text())
    wrong = next(e for e in examples["captions"] if e["source"] == "scenes" and not e["right"])
    shown = whole.text[whole.text.index("Where it fails") :]
    assert wrong["written"] in shown
    assert wrong["true"] in shown


def test_scores_are_told_apart(whole: Reader) -> None:
    memory = whole.text.index("Memory: what it has seen", whole.text.index("Each beside its trivial"))
    new = whole.text.index("Generalisation: what it has not seen", memory)
    neither = whole.text.index("Neither of the two", new)
    end = whole.text.index("Where it fails", neither)
    for key in RESULTS:
        if key.endswith((".baseline", ".low", ".high")) or key.startswith(("seconds", "corpus", "peak", "tokens")):
            continue
        start, stop = (new, neither) if "_heldout" in key else (neither, end)
        if key.endswith("_seen") or key == "poem.copied_rate":
            start, stop = memory, new
        assert whole.text.index(key, start) < stop
    assert "+16.0" in whole.text  # scene.count_heldout 0.41 over 0.25
    assert "−1.90 bits" in whole.text
    assert "92 % 88–95 %" in whole.text


def test_unknown_scores_are_shown_by_their_key(own: Path) -> None:
    (own / "results.json").write_text('{"new.score_heldout": 0.25, "new.undefined": NaN, "large": 12.5}')
    text = Reader(page(Material.read(own))).text
    assert "new.score_heldout" in text
    assert "25 %" in text
    assert "12.50" in text
    assert "new.undefined" not in text


@pytest.mark.parametrize(
    "missing",
    [
        "results.json", "versions.json", "config.json", "evaluate/examples.json", "corpus/report.json",
        "corpus/done.json", "vqgan/metrics.jsonl", "pretrain/metrics.jsonl", "pretrain/done.json", "vqgan/done.json",
        "evaluate/pictures/caption-0.png",
    ],
)  # fmt: skip
def test_a_missing_part_leaves_the_rest(own: Path, missing: str) -> None:
    (own / missing).unlink()
    reader = Reader(page(Material.read(own)))
    assert [attributes["id"] for attributes in reader.of("section")] == SECTIONS


def test_an_empty_folder_gives_a_page_of_notes(tmp_path: Path) -> None:
    reader = Reader(page(Material.read(tmp_path)))
    assert [attributes["id"] for attributes in reader.of("section")] == SECTIONS
    assert "No poems are here." in reader.text


def test_write_replaces_the_page_and_the_results(own: Path) -> None:
    (own / "report.html").write_text("old")
    (own / "results.json").unlink()
    report.write(Run.open(own, quickstart.recipe()))
    assert json.loads((own / "results.json").read_text())["scene.count_heldout"] == 0.41
    text = (own / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert f"m6 generate poem --run {own}" in text


def test_groups_by_what_is_new() -> None:
    assert group({"split": "heldout", "source": "emoji", "unseen": ""}) == "heldout"
    assert group({"split": "heldout", "source": "scenes", "unseen": "count"}) == "count"
    assert group({"split": "composed", "unseen": "pair"}) == "pair"
    assert group({"split": "heldout", "source": "scenes"}) == "composed"
    assert group({"split": "seen", "source": "scenes", "unseen": ""}) == "seen scenes"


def test_questions_and_matches_are_grouped_by_what_is_new(run_folder: Path) -> None:
    for section in (questions, matching):
        text = Reader(section(Material.read(run_folder))).text
        assert "Unseen pairs of seen things" in text
        assert "Unseen combinations of seen things" not in text


def test_spread_takes_turns() -> None:
    examples = [{"split": "composed", "unseen": unseen} for unseen in ("pair", "pair", "pair", "count", "count")]
    numbered = [{**example, "at": index} for index, example in enumerate(examples)]
    assert [example["at"] for example in spread(numbered)] == [0, 3, 1, 4, 2]


def test_element() -> None:
    assert element("p", "a < b", [element("b", "x"), None], class_="y&z") == '<p class="y&amp;z">a &lt; b<b>x</b></p>'
    assert element("input", checked=True, value=None, disabled=False) == "<input checked>"
    assert both("a", "b") == '<span class="en" lang="en">a</span><span class="zh" lang="zh-Hans">b</span>'
    assert markup('"') == "&quot;"


def test_ticks() -> None:
    assert ticks(0, 1500) == [0, 500, 1000, 1500]
    assert ticks(10.2, 24.1) == [12, 14, 16, 18, 20, 22, 24]
    assert [tick for tick in log_ticks(0.3, 9.0) if 0.3 <= tick <= 9.0] == [0.5, 1, 2, 5]


def test_line_chart_on_a_log_axis() -> None:
    """From 1 to 100 on a log axis, 10 is half way; the box has 4 % of margin above and below."""
    curve = Curve(markup("a"), [(0, 100.0), (5, 10.0), (10, 1.0)])
    chart = line_chart([curve], "caption", markup("x"), markup("y"), log=True)
    margin = 1000 * 0.04 / 1.08
    assert f"M0.0 {margin:.1f}L500.0 500.0L1000.0 {1000 - margin:.1f}" in chart


def test_one_point_is_a_chart() -> None:
    Reader(line_chart([Curve(markup("a"), [(0, 1.0)])], "caption", markup("x"), markup("y"), log=True))


def test_thinned_keeps_the_last_point_and_the_mean() -> None:
    points = [(float(x), float(x % 2)) for x in range(1000)]
    few = thinned(points)
    assert len(few) <= 300
    assert few[-1] == points[-1]
    assert few[0] == (1.5, 0.5)
    assert thinned(points[:300]) == points[:300]


def test_percent() -> None:
    assert [percent(share) for share in (0.0, 0.005, 0.5, 0.885, 0.995, 1.0)] == [
        "0 %", "0.5 %", "50 %", "88 %", "99.5 %", "100 %",
    ]  # fmt: skip
