"""The run of the package: what its name means, that it is whole, and that nothing is written there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m6.cli import main
from m6.config import UserError
from m6.export import export
from m6.finetune import parse
from m6.model.weights import check_beside, newest, opened
from m6.recipes import quickstart
from m6.recipes.recipe import Recipe, begun
from m6.run import read_done
from m6.shipped import DEFAULT, SHIPPED, check_own, is_shipped, lasting, run_folder

Said = pytest.CaptureFixture[str]
MINI = SHIPPED[DEFAULT]
ROOT = Path(__file__).parents[2]
MOST = 30 * 2**20
"""Bytes of a folder that comes with the package."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_name_is_a_path_or_a_run_of_the_package(tmp_path: Path) -> None:
    assert run_folder("mini") == MINI
    assert is_shipped("mini")
    assert lasting("mini") == "mini"
    assert run_folder("runs/mini") == Path("runs/mini")
    assert not is_shipped("runs/mini")
    assert lasting("runs/mini") == str(tmp_path / "runs" / "mini")


def test_what_stands_at_the_path_goes_first(tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    assert run_folder("mini") == Path("mini")
    assert not is_shipped("mini")
    assert lasting("mini") == str(tmp_path / "mini")
    assert check_own("mini") == Path("mini")


def test_it_is_whole_and_small() -> None:
    files = [path for path in MINI.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jsonl"}  # nothing pickled
    assert (MINI / "README.md").is_file()
    assert read_done(MINI, "pretrain") is not None
    weights = newest(MINI / "pretrain", "pretrain")
    check_beside(weights, MINI)
    opened(weights)  # verifies the hashes
    opened(newest(MINI / "vqgan", "vqgan"))


def test_it_is_of_its_recipes_and_names_no_machine(tmp_path: Path) -> None:
    from m6.recipes import mini, mini_more, mini_titles

    alone = {f"{section}.start_from": "" for section in ("tokenizer", "vqgan", "pretrain")} | {"vqgan.frozen": False}
    first, titles, more = MINI / "before" / "mini", MINI / "before" / "mini_titles", MINI
    assert Recipe.read(first / "config.json") == mini.recipe()
    for before, recipe, run in ((first, mini_titles.recipe(), titles), (titles, mini_more.recipe(), more)):
        begins = tmp_path / run.name  # its name means a run; one of the package is told by its name alone
        begins.mkdir()
        shutil.copy(before / "config.json", begins)
        assert Recipe.read(run / "config.json") == begun(recipe, str(begins)).override(alone)
    for path in MINI.rglob("*.json*"):
        assert "/work/" not in path.read_text()
        assert "/home/" not in path.read_text()


def test_a_run_that_begins_with_it_does_not_keep_where_it_lies() -> None:
    recipe = begun(quickstart.recipe(), "mini")
    assert recipe.pretrain.start_from == recipe.tokenizer.start_from == recipe.vqgan.start_from == "mini"
    assert recipe.model == Recipe.read(MINI / "config.json").model


def test_pictures_of_a_run_that_begins_with_it_lie_as_it_has_learnt_them() -> None:
    theirs, recipe = Recipe.read(MINI / "config.json"), quickstart.recipe()
    ours = begun(recipe, "mini")
    margins = [each.corpus.sources["emoji"].images.margin for each in (theirs, ours, recipe)]
    assert margins == [6, 6, 3]
    assert ours.corpus.sources["scenes"].images == recipe.corpus.sources["scenes"].images
    assert ours.corpus.sources["emoji"].override({"images.margin": 3}) == recipe.corpus.sources["emoji"]


def test_finetuning_begins_with_it(tmp_path: Path) -> None:
    folder, recipe = parse(["captioning", "--from", "mini", "--data", str(tmp_path)])
    assert folder == Path("runs/mini-captioning")
    assert recipe.finetune.start_from == "mini"


@pytest.mark.parametrize("words", [["mini", "--task", "captioning", "--data", "x"], ["mini", "--all", "--data", "x"]])
def test_nothing_is_written_there(words: list[str], capsys: Said) -> None:
    assert main(["evaluate", *words]) == 2
    told = capsys.readouterr().err
    assert "mini comes with the package" in told
    assert "m6 export mini --form packed --out runs/mini" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tasks", "mini", "--out", "x"], "mini comes with the package without the corpus"),
        (["vqgan", "encode", "mini"], "mini comes with the package, where nothing is written"),
        (["generate", "paint", "--prompt", "x", "--coarse", "32"], "m6: mini: this run has not learnt coarse_to_fine"),
        (["generate", "poem", "--title", "春", "--form", "五言"], "allowed are 五言绝句, "),
    ],
)
def test_what_it_cannot_do_is_told_by_its_name(words: list[str], said: str, capsys: Said) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "mini/" not in told


def test_it_says_which_text_fits_a_picture(capsys: Said) -> None:
    texts = ["--text", "左边是西瓜，右边是企鹅", "--text", "左边是企鹅，右边是西瓜", "--text", "三个草莓"]
    picture = str(ROOT / "m6/serve/studio/pictures/two.png")
    assert main(["generate", "match", "--image", picture, *texts]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][1] == "左边是企鹅，右边是西瓜"
    scores = [float(score) for score, _ in lines]
    assert scores == sorted(scores, reverse=True)
    assert len(lines) == 3


def test_it_is_made_a_run_of_ones_own(tmp_path: Path) -> None:
    told = export(["mini", "--form", "packed", "--out", "own"])
    assert "own" in told
    with pytest.raises(UserError, match="comes with the package"):
        check_own("mini")
    ours, theirs = (opened(newest(folder / "pretrain", "pretrain"))[0].read() for folder in (tmp_path / "own", MINI))
    assert ours.keys() == theirs.keys()
    # a number that was rounded once is rounded to itself
    assert all((ours[name] - tensor).abs().max() <= 1e-6 * tensor.abs().max() for name, tensor in theirs.items())


def test_its_card_for_others_names_its_licence_all_of_its_data_and_where_its_scores_stand(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    command = [sys.executable, "-m", "m6.cli", "export", "mini", "--out", "hf"]
    told = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert told.stderr == ""
    card = (tmp_path / "hf" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "under Apache-2.0" in (MINI / "README.md").read_text()
    for name, licence in {"pictures_twemoji": "CC BY 4.0 (pictures), Unicode-3.0 (words)", "qa_idioms": "MIT"}.items():
        assert f"| {name} | {licence} |" in card
    assert card.count(" | see the source |") == 0
    assert "`docs/en/mini.md`" in card
    assert (ROOT / "docs/en/mini.md").is_file()


def test_the_first_command_needs_no_run(tmp_path: Path, capsys: Said) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in MINI.rglob("*"))
    assert main(["generate", "paint", "--prompt", "红苹果", "--output", "apple.png"]) == 0
    assert (tmp_path / "apple.png").is_file()
    assert main(["generate", "--task", "text_to_image", "红苹果", "--seed", "1", "pear.png"]) == 0
    assert main(["generate", "caption", "--image", "apple.png"]) == 0
    assert main(["generate", "poem", "--title", "春晓", "--form", "五言绝句"]) == 0
    assert sorted(os.listdir(tmp_path)) == ["apple.png", "pear.png"]
    *_, caption, first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"[\u4e00-\u9fff，。、：]+", caption)
    assert all(re.fullmatch(r"[\u4e00-\u9fff]{5}，[\u4e00-\u9fff]{5}。", line) for line in (first, second))
    assert sorted((path, path.stat().st_mtime_ns) for path in MINI.rglob("*")) == before
