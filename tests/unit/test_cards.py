"""The reproduction cards: what they say is in the committed results or on the page, and the guide lists all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from m6 import cards
from m6.cards import Expect, lookup
from tests.unit.test_docs import anchors

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = cards.names()
CARDS = {name: cards.read(name) for name in NAMES}
TITLES = {"en": "| card | what it makes again | minutes | measured on |", "zh": "| 卡片 | 重做什么 | 分钟 | 测于 |"}


def committed(expect: Expect, path: Path) -> list[object]:
    """What the committed results have in the place of an expected figure."""
    return lookup(json.loads(path.read_text(encoding="utf-8")), expect.committed or expect)


def link(target: str, language: str) -> str:
    """From the guide to a page of the repository."""
    inside = target.removeprefix(f"docs/{language}/")
    return (
        inside if inside != target else f"../{inside.removeprefix('docs/')}" if "docs/" in target else f"../../{target}"
    )


def table(language: str) -> str:
    """The table of the guide."""
    rows = [TITLES[language], "| --- | --- | --- | --- |"]
    for name, card in CARDS.items():
        title, page = getattr(card.title, language), getattr(card.shows, language)
        rows.append(f"| `{name}` | [{title}]({link(page, language)}) | {card.minutes:g} | {card.hardware} |")
    return "\n".join(rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_was_found(name: str) -> None:
    """A value is in the results that it names, to five figures; without such results the page has it."""
    card, page = CARDS[name], ""
    if not card.results:
        page = (ROOT / card.shows.en.split("#")[0]).read_text(encoding="utf-8")
    for expect in card.expect:
        if expect.value is None or (not card.results and name in ("sizes", "plan")):
            continue  # a bound; or a formula, which the smoke run computes whole
        if not card.results:
            assert f"{expect.value:,}" in page, expect
            continue
        found = [value for value in committed(expect, RESULTS / card.results) if isinstance(value, int | float)]
        assert isinstance(expect.value, int | float)
        assert sum(found) / len(found) == pytest.approx(expect.value, rel=1e-4, abs=1e-4), expect


@pytest.mark.parametrize("name", NAMES)
def test_a_card_leads_to_the_page_that_it_is_of(name: str) -> None:
    card = CARDS[name]
    for target in (card.shows.en, card.shows.zh):
        path, _, heading = target.partition("#")
        assert not heading or heading in anchors((ROOT / path).read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", NAMES)
def test_what_is_compared_is_made_by_the_commands(name: str) -> None:
    """Every file stands under a place that a command is given, and a command that says where it writes is in {out}."""
    card = CARDS[name]
    for told in (card, card.smoke):
        made = {word.split("/")[1] for each in told.commands for word in each.split() if word.startswith("{out}/")}
        assert {file.split("/")[0] for expect in told.expect for file in expect.files} <= made
        assert all("{out}/" in each or each.startswith("python -m benchmarks.peers.setup") for each in told.commands)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_guide_lists_every_card(language: str) -> None:
    page = (ROOT / "docs" / language / "reproduce.md").read_text(encoding="utf-8")
    assert table(language) in page


def test_every_committed_result_has_a_card() -> None:
    """But for curves, whose ends stand in the results of their trainings."""
    cited = {card.results for card in CARDS.values()}
    there = {path.name for path in RESULTS.glob("*.json")}
    assert {name for name in there - cited if "curve" not in name} == set()


def test_seconds_are_no_promise() -> None:
    """Absolute times and rates are not compared with a tolerance: they are those of one machine."""
    for name, card in CARDS.items():
        for expect in card.expect:
            assert not (expect.value is not None and re.search(r"seconds|per_second", expect.key)) or name == "plan"
