"""The stage of the image tokenizer: killed and gone on with, to the same two players and the same codes; its figures,
and its grids."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from m6.config import UserError
from m6.data.images import CodeStore
from m6.data.loader import batches
from m6.data.pictures import heldout_rows, picture_rows, read_picture, to_tensor
from m6.model.weights import TensorFiles, load_weights, newest
from m6.recipes.recipe import Recipe
from m6.run import Run, read_metrics
from m6.shards import Shards, write_shard
from m6.train import vqgan, vqgan_encode, vqgan_figures
from m6.train.vqgan_encode import check_codes, encode_corpus, other_codes
from m6.vqgan.figures import psnr
from m6.vqgan.interop import read
from m6.vqgan.model import VQGAN
from tests.unit.small_corpus import write_corpus

RECIPE = Recipe().override(
    {
        "corpus.image_size": 64,
        "model.max_side": 64,
        "vqgan.model": {
            "channels": (8, 12),
            "quantizer": {"kind": "ema_vq", "codebook_size": 32, "code_dim": 4},
        },
        "vqgan.batch_size": 4,
        "vqgan.losses": {
            "perceptual": 0.5,
            "discriminator": 0.5,
            "discriminator_start": 2,
            "discriminator_channels": 8,
            "discriminator_layers": 1,
        },
        "vqgan.features": {"source": "own", "num_steps": 2, "batch_size": 4},
        "vqgan.average": 0.9,
        "vqgan.grid_every": 3,
        "vqgan.grid_pictures": 4,
        "vqgan.loop.num_steps": 6,
        "vqgan.loop.checkpoint_every": 2,
        "vqgan.loop.log_every": 1,
        "vqgan.loop.num_threads": 1,
    }
)


class Interrupted(BaseException):
    """Stands for a kill: nothing of the program runs after it."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder / "run", trained(folder / "run", corpus)


def trained(folder: Path, corpus: Path, recipe: Recipe = RECIPE) -> dict[str, Any]:
    run = Run.open(folder, recipe)
    if not (folder / "corpus").exists():
        (folder / "corpus").symlink_to(corpus)
    return vqgan.run(run, recipe.vqgan, recipe.seed)


def test_killed_while_both_play_it_goes_on_to_the_same_weights(
    corpus: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(pictures: Any, start: int, stop: int, workers: int) -> Iterator[Any]:
        for number, batch in enumerate(batches(pictures, start, stop, workers), start=start):
            if number == 5:
                raise Interrupted
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(vqgan, "batches", cut)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", corpus)
    figures = trained(tmp_path / "run", corpus)
    last = [newest(folder / "vqgan", "vqgan") for folder in (whole[0], tmp_path / "run")]
    parts = {path.name for path in last[0].iterdir() if path.is_dir()}
    assert parts == {"model", "trained", "optimizer", "opponent", "opponent_optimizer"}
    for part in parts:
        expected, found = (TensorFiles(folder / part).read() for folder in last)
        assert expected.keys() == found.keys()
        for name, tensor in found.items():
            assert torch.equal(tensor, expected[name]), f"{part} {name}"
    rows = [read_metrics(folder / "vqgan" / "metrics.jsonl") for folder in (whole[0], tmp_path / "run")]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert ["loss/discriminator" in row for row in rows[1]] == [False, False, True, True, True, True]
    same = ("psnr_heldout", "ssim_heldout", "fid_own_features_heldout", "codebook_entropy")
    assert {name: figures[name] for name in same} == {name: whole[1][name] for name in same}


def test_the_mean_of_the_weights_is_what_codes_are_made_with(corpus: Path, whole: tuple[Path, dict[str, Any]]) -> None:
    checkpoint = newest(whole[0] / "vqgan", "vqgan")
    mean, last = (TensorFiles(checkpoint / part).read() for part in ("model", "trained"))
    assert any(not torch.equal(mean[name], last[name]) for name in mean)
    assert torch.equal(mean["quantizer.moves"], torch.tensor(6))
    model = VQGAN(RECIPE.vqgan.model).eval()
    load_weights(checkpoint, model)
    shards, store = Shards(corpus), CodeStore(whole[0] / "vqgan" / "codes")
    rows = heldout_rows(list(picture_rows(shards)))
    found = []
    for row in rows:
        image = to_tensor(read_picture(shards, row)[1][None].copy())
        codes = model.encode(image)
        same = (codes[0] == torch.from_numpy(store[row])).float().mean()
        assert same > 0.95  # they were encoded in a batch, whose rounding may turn one that lies on a border
        found.append(float(psnr(image, model.decode(codes))))
    assert whole[1]["psnr_heldout"] == pytest.approx(sum(found) / len(found), abs=1e-3)


def test_large_pictures_are_looked_at_one_at_a_time(
    whole: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = VQGAN(RECIPE.vqgan.model).eval()
    load_weights(newest(whole[0] / "vqgan", "vqgan"), model)
    seen: list[int] = []
    decode = model.decode

    def counted(codes: torch.Tensor) -> torch.Tensor:
        seen.append(len(codes))
        return decode(codes)

    monkeypatch.setattr(model, "decode", counted)
    monkeypatch.setattr(vqgan_figures, "PIXELS", 64 * 64)
    found = vqgan_figures.figures_of(model, whole[0] / "corpus", whole[0] / "vqgan" / "codes", None)
    assert len(seen) > 1
    assert set(seen) == {1}
    assert found["psnr_heldout"] == pytest.approx(whole[1]["psnr_heldout"], abs=1e-3)


def test_grids_and_their_figures_come_every_few_steps(whole: tuple[Path, dict[str, Any]]) -> None:
    grids = sorted((whole[0] / "vqgan" / "grids").iterdir())
    assert [path.name for path in grids] == ["step-00000003.png", "step-00000006.png"]
    with Image.open(grids[0]) as picture:
        assert picture.size == (4 * 64, 2 * 64)
    rows = read_metrics(whole[0] / "vqgan" / "metrics.jsonl")
    assert ["heldout/ssim" in row for row in rows] == [False, False, True, False, False, True]
    assert {"heldout/psnr", "heldout/fid_own_features", "heldout/codes_used", "heldout/codes_entropy"} <= rows[2].keys()


def test_published_weights_are_taken_as_they_are(corpus: Path, tmp_path: Path) -> None:
    published = Path(__file__).parents[2] / "fixtures" / "vqmodel"
    expected = read(published)
    given = {"vqgan.model": expected.config.model_dump(), "vqgan.start_from": str(published), "vqgan.frozen": True}
    recipe = Recipe().override({"corpus.image_size": 64, "model.max_side": 64, **given})
    figures = trained(tmp_path / "run", corpus, recipe)
    assert "psnr_train" not in figures
    assert figures["psnr_heldout"] > 0
    model = VQGAN(recipe.vqgan.model)
    load_weights(newest(tmp_path / "run" / "vqgan", "vqgan"), model)
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.state_dict().items())


def encoded(folder: Path, corpus: Path, **given: Any) -> bytes:
    torch.manual_seed(0)
    encode_corpus(VQGAN(RECIPE.vqgan.model), corpus, folder, "a", rows_per_shard=40, **given)
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*")))


def test_encoding_goes_on_after_a_kill_and_keeps_what_is_there(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = encoded(tmp_path / "whole", corpus)
    write, written = write_shard, list[int]()

    def cut(folder: Path, number: int, table: Any) -> Any:
        if number == 2:
            raise Interrupted
        return write(folder, number, table)

    with monkeypatch.context() as patched:
        patched.setattr(vqgan_encode, "write_shard", cut)
        with pytest.raises(Interrupted):
            encoded(tmp_path / "cut", corpus)
    assert not (tmp_path / "cut" / "manifest.json").exists()
    (tmp_path / "cut" / "shard-00001.parquet").write_bytes(b"half of it")

    def counted(folder: Path, number: int, table: Any) -> Any:
        written.append(number)
        return write(folder, number, table)

    monkeypatch.setattr(vqgan_encode, "write_shard", counted)
    assert encoded(tmp_path / "cut", corpus) == expected
    assert written[0] == 1, "the first was kept"
    assert written[1:] == list(range(2, 2 + len(written) - 1))
    written.clear()
    assert encoded(tmp_path / "cut", corpus) == expected
    assert not written
    with monkeypatch.context() as patched:  # codes of another tokenizer are no start for these
        (tmp_path / "cut" / "manifest.json").unlink()
        (tmp_path / "cut" / "begun.json").write_text(json.dumps({"tokenizer": "b"}))
        assert encoded(tmp_path / "cut", corpus) == expected
    assert written[0] == 0


def test_codes_that_are_damaged_or_of_another_tokenizer_are_told(corpus: Path, tmp_path: Path) -> None:
    encoded(tmp_path / "codes", corpus)
    check_codes(tmp_path / "codes", "a")
    check_codes(tmp_path / "codes", "")
    assert other_codes(tmp_path / "codes", corpus, "a") == ""
    assert other_codes(tmp_path / "codes", corpus, "b") == "another image tokenizer"
    with pytest.raises(UserError, match="codes of another image tokenizer than the one beside them"):
        check_codes(tmp_path / "codes", "b")
    path = tmp_path / "codes" / "shard-00001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError,
        match=r"shard-00001.parquet: damaged, its SHA-256 is not that of the manifest; .* by `m6 vqgan encode",
    ):
        check_codes(tmp_path / "codes", "a")
    assert encoded(tmp_path / "codes", corpus) == encoded(tmp_path / "again", corpus)  # the damaged one is made anew


def test_a_picture_whose_sides_do_not_divide_is_named(corpus: Path, tmp_path: Path) -> None:
    model = VQGAN(RECIPE.vqgan.model.override({"channels": [4] * 7}))
    with pytest.raises(UserError, match=r"row \d+: a picture of 64 x 64 pixels: sides have to be multiples of the 128"):
        encode_corpus(model, corpus, tmp_path, "a")
