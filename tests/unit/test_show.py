"""`m6 show`: the same to people and programs, of sizes, recipes and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m6.cli import main
from m6.model.sizes import MARKS, SIZES
from m6.recipes import smoke
from m6.run import Run
from m6.show import NUMBERS, show

Said = pytest.CaptureFixture[str]


def facts(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(show([*words, "--json"]))
    return found


@pytest.mark.parametrize("name", [name for name, size in SIZES.items() if size.paper_parameters])
def test_every_number_of_a_papers_size_has_its_mark(name: str) -> None:
    numbers = facts(name)["numbers"]
    hidden = set() if "experts.num_experts" in numbers else {key for key in NUMBERS if key.startswith("experts")}
    assert set(numbers) == set(NUMBERS) - hidden
    page = show([name]).split("\n\n")[1].splitlines()
    assert len(page) == len(numbers)
    for key, entry in numbers.items():
        (line,) = [line for line in page if line.split("  ")[0] == NUMBERS[key]]
        assert line.split()[-1 if key != "parameters" else 2] == entry["mark"] in MARKS
        assert f"{entry['value']:,}" in line


def test_marks_of_numbers_that_the_papers_leave_open() -> None:
    marks = {name: {key: entry["mark"] for key, entry in facts(name)["numbers"].items()} for name in ("100b", "m6t-1t")}
    assert marks["100b"]["parameters"] == "confirmed"
    assert marks["100b"]["experts.every"] == marks["100b"]["experts.ffn_size"] == "ours"
    assert marks["m6t-1t"]["experts.ffn_size"] == "recalled"
    assert marks["m6t-1t"]["patch_size"] == "ours"


def test_a_page_is_a_screen() -> None:
    page = show(["base"])
    assert "324,594,688  recalled as 327M" in page
    for name in SIZES:
        lines = show([name]).splitlines()
        assert len(lines) < 45
        assert max(map(len, lines)) <= 120


def test_numbers_by_hand() -> None:
    fact = facts("100b", "--length", "272")
    assert sum(fact["parameters"]["total"].values()) == fact["numbers"]["parameters"]["value"]
    assert sum(fact["training_bytes"].values()) == 16 * fact["numbers"]["parameters"]["value"]
    causal, whole = (fact["flops_per_token"][how]["forward"] for how in ("causal", "whole"))
    assert whole["attention scores"] == 24 * 4 * 272 * 1024
    assert causal["attention scores"] == 24 * 4 * 273 / 2 * 1024
    assert fact["flops_per_token"]["whole"]["training_total"] == 3 * sum(whole.values())


def test_all_sizes() -> None:
    first_words = [line.split()[0] for line in show([]).splitlines() if line]
    assert first_words[1 : 1 + len(SIZES)] == list(SIZES)
    assert list(facts()) == list(SIZES)


def test_a_recipe_and_its_run(tmp_path: Path) -> None:
    """A run knows the vocabulary that it was trained with, a recipe the largest it may have."""
    recipe = smoke.recipe()
    shown = facts("smoke")
    assert shown["paper"] is None
    assert shown["numbers"]["vocabulary"] == {"value": 1500 + recipe.vqgan.model.num_codes}
    run = Run.open(tmp_path / "run", recipe)
    run.stage("pretrain")
    assert facts(str(run.folder)) == shown
    run.finish("pretrain", vocabulary=777)
    assert facts(str(run.folder))["numbers"]["vocabulary"] == {"value": 777}


def test_a_changed_size_has_no_marks() -> None:
    shown = facts("base", "--model.num_layers", "2", "--vocabulary", "30000")
    assert shown["about"] == "M6-base, changed"
    assert shown["parameters"]["total"]["attention"] == 2 * 4 * 1024**2
    assert shown["parameters"]["total"]["embedding"] == (30_000 + 130) * 1024
    assert not any("mark" in entry for entry in shown["numbers"].values())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bse"], "no size, recipe or run folder 'bse', did you mean 'base'?"),
        (["base", "tiny"], "takes one size, recipe or run folder, got base tiny"),
        (["base", "--length", "none"], "--length: 'none' is not a whole number from 1 on"),
        (["base", "--length"], "--length: give it a value"),
        (["base", "--model.num_layer", "3"], "did you mean --model.num_layers?"),
        (["base", "--model.num_heads", "7"], "hidden_size 1024 is not a multiple of num_heads 7"),
        (["base", "--seed", "3"], "--seed: m6 show takes fields of the model alone"),
        (["base", "--model.stem", "crops"], "stem 'crops' needs crops.folder"),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: Said) -> None:
    assert main(["show", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert line in said.err
    assert said.err.count("\n") == 1
