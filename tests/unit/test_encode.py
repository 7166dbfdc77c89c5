"""`m6 vqgan encode`: codes of a run's corpus and of other shards, and the line for each wrong word."""

import shutil
from pathlib import Path

import pytest
import torch

from m6.cli import main
from m6.model.weights import WEIGHTS
from m6.parallel.mesh import ALONE
from m6.recipes.recipe import Recipe
from m6.shards import Shards
from m6.train.checkpoint_files import write
from m6.train.vqgan_encode import weights_digest
from m6.vqgan.model import VQGAN
from tests.unit.small_corpus import write_corpus

RECIPE = Recipe().override({"vqgan.model.channels": (4, 4, 8), "vqgan.loop.num_threads": 1})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    RECIPE.write(folder / "config.json")
    write_corpus(folder / "corpus")
    torch.manual_seed(0)
    model = VQGAN(RECIPE.vqgan.model)
    (folder / "vqgan").mkdir()
    write(folder / "vqgan", 1, {WEIGHTS: model.state_dict()}, {"config": {}}, ALONE)
    return folder


def test_codes_of_a_run_and_of_other_shards(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vqgan", "encode", str(run)]) == 0
    codes = Shards(run / "vqgan" / "codes")
    assert len(codes) == len(Shards(run / "corpus"))
    assert codes.about["tokenizer"] == weights_digest(run / "vqgan") != ""
    assert f"{len(codes):,} rows of codes in 1 shards" in capsys.readouterr().out
    assert main(["vqgan", "encode", str(run), str(run / "corpus"), "--out", str(tmp_path), "--tile", "16"]) == 0
    for shard in codes.files:
        assert (tmp_path / shard.file).read_bytes() == (codes.folder / shard.file).read_bytes()


def test_wrong_words_are_told_in_a_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert main(["vqgan", "encode", *words]) == 2
        return capsys.readouterr().err

    corpus, out = str(run / "corpus"), str(tmp_path / "out")
    assert "takes a run folder, and perhaps a folder of shards, got 0 words" in said()
    assert "not a run folder" in said(str(tmp_path))
    assert "--out: say where the codes of other shards go" in said(str(run), corpus)
    assert "--tiles: no such flag, did you mean 'tile'?" in said(str(run), "--tiles", "8")
    assert "--tile -8: it has to be a whole number from 0 on" in said(str(run), corpus, "--out", out, "--tile=-8")
    assert "--batch_size 0: it has to be a whole number from 1 on" in said(str(run), "--batch_size", "0")
    assert "tile 12: it has to be a multiple of the 8 pixels" in said(str(run), corpus, "--out", out, "--tile", "12")
    assert "no manifest.json" in said(str(run), str(tmp_path), "--out", out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "not empty, and without codes" in said(str(run), corpus, "--out", str(tmp_path / "full"))
    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert main(["vqgan", "encode", str(run), corpus, "--out", str(tmp_path / "codes")]) == 0
    torch.manual_seed(1)
    write(other / "vqgan", 2, {WEIGHTS: VQGAN(RECIPE.vqgan.model).state_dict()}, {"config": {}}, ALONE)
    line = said(str(other), corpus, "--out", str(tmp_path / "codes"))
    assert "holds the codes of another image tokenizer; remove it, or give another --out" in line
    assert main(["vqgan", "encode", "--help"]) == 0
