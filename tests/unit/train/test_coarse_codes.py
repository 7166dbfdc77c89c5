"""Coarse codes stand row for row beside the corpus, and come before the fine ones in training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from m6.config import UserError, load_recipe
from m6.data.config import DataConfig, Entry
from m6.data.images import CodeStore, decode_image
from m6.data.mixture import Mixture
from m6.data.packing import pack
from m6.data.pictures import to_tensor
from m6.data.sample import Branch, Codes, Sample
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.train import coarse_codes
from m6.train.config import PretrainStage
from m6.train.pretrain import batch_loss
from m6.train.requirements import check_pretraining
from m6.train.vqgan_encode import encode_corpus
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN
from tests.unit.data.examples import VOCABULARY
from tests.unit.small_corpus import tokenizer, write_corpus

SHAPE = VQGANConfig(channels=(8, 8, 16))
DATA = DataConfig(
    mixture=(Entry(source="emoji", samples=2, objectives={"coarse_to_fine": 1.0}),), coarse_factor=2, empty_prompt=0.0
)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> VQGAN:
    """An image tokenizer as it was drawn, in the place of a trained one."""
    torch.manual_seed(0)
    drawn = VQGAN(SHAPE).eval()
    monkeypatch.setattr(coarse_codes, "newest", lambda folder, name: folder)
    monkeypatch.setattr(coarse_codes, "load_weights", lambda path, made: made.load_state_dict(drawn.state_dict()))
    return drawn


def test_coarse_codes_are_those_of_the_pictures_made_small(model: VQGAN, tmp_path: Path) -> None:
    rows = write_corpus(tmp_path / "corpus")
    encode_corpus(model, tmp_path / "corpus", tmp_path / "vqgan" / "codes", "")
    assert coarse_codes.wanted(DATA)
    assert not coarse_codes.wanted(load_recipe("quickstart").pretrain.data)  # type: ignore[attr-defined]
    coarse_codes.write_coarse_codes(tmp_path, DATA, SHAPE)
    store = CodeStore(coarse_codes.folder_of(tmp_path))
    for number, row in enumerate(rows):
        if row["images"] and number % 7 == 0:
            pixels = decode_image(row["images"][0]["bytes"]).astype(np.float64)
            means = pixels.reshape(32, 2, 32, 2, 3).mean((1, 3))
            expected = model.encode(to_tensor(np.floor(means + 0.5).astype(np.uint8)[None]))[0].numpy()
            assert (store[number] == expected).mean() > 0.98  # means are rounded at other places now and then
        elif not row["images"]:
            assert store[number].size == 0
    text = tokenizer(rows)
    mixture = Mixture(
        tmp_path / "corpus", tmp_path / "vqgan" / "codes", text, DATA, 0, coarse=coarse_codes.folder_of(tmp_path)
    )
    for sample in mixture.samples(0):
        (branch,) = sample.branches
        assert isinstance(branch.target, Codes)
        assert branch.target.coarse is not None
        at = next(number for number, row in enumerate(rows) if sample.key.endswith(f"/{row['id']}"))
        assert (branch.target.coarse == np.kron(store[at], np.ones((2, 2), int))).all()
        assert (branch.target.grid == CodeStore(tmp_path / "vqgan" / "codes")[at]).all()


def test_a_model_without_a_place_for_them_is_refused(tmp_path: Path) -> None:
    stage = PretrainStage(data=DATA)
    with pytest.raises(UserError, match=r"coarse_to_fine needs model.coarse_codes true"):
        check_pretraining(stage, ModelConfig(), SHAPE, tmp_path)
    check_pretraining(stage, ModelConfig(coarse_codes=True), SHAPE, tmp_path)


def test_a_batch_without_them_trains_what_reads_them() -> None:
    """With a gradient of nothing: ranks update the same weights, whatever each has drawn."""
    torch.manual_seed(0)
    model = Transformer(ModelConfig(num_layers=1, coarse_codes=True), VOCABULARY.size)
    assert model.coarse_projection is not None
    gradients = []
    for coarse in (np.ones((2, 2), int), None):
        painted = Branch("coarse_to_fine", (), Codes(np.zeros((2, 2), int), coarse))
        model.zero_grad()
        batch_loss(model, pack([Sample("k", (), (painted,))], VOCABULARY, 8, 0))[0].backward()
        assert model.coarse_projection.weight.grad is not None
        gradients.append(bool(model.coarse_projection.weight.grad.any()))
    assert gradients == [True, False]


def test_they_are_written_once(model: VQGAN, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus")
    coarse_codes.write_coarse_codes(tmp_path, DATA, SHAPE)
    manifest = coarse_codes.folder_of(tmp_path) / "manifest.json"
    before = manifest.stat().st_mtime_ns
    coarse_codes.write_coarse_codes(tmp_path, DATA, SHAPE)
    assert manifest.stat().st_mtime_ns == before


def test_a_factor_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="coarse_factor 3: 64 pixels are no multiple of 3 x 8"):
        coarse_codes.smaller(np.zeros((64, 64, 3), np.uint8), 3, 8)
