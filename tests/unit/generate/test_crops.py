"""A run that reads pictures as crops: trained, saved, loaded, and asked about a picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from m6.cli import main
from m6.data.packing import pack
from m6.data.sample import Segment, Text
from m6.generate.engine import Engine
from m6.model.masks import boolean_mask
from m6.model.weights import WEIGHTS, TensorFiles, newest
from m6.recipes import smoke
from m6.recipes.recipe import Recipe
from m6.run import Run
from m6.tokenizer import train as tokenizer
from m6.tokenizer.vocabulary import END
from m6.train import pretrain
from m6.vqgan.model import VQGAN
from tests.unit.checkpoints import save_weights
from tests.unit.generate.small_engine import as_trained
from tests.unit.small_corpus import write_corpus
from tests.unit.vision_models import make_folder

QUESTION = "这是什么？"
STEM = "patch_embedding.stem.backbone.model."


def trained(folder: Path, frozen: bool) -> Run:
    """A run of a few updates with its vision model beside it; 64 pixels are no multiple of 3 crops."""
    vision = make_folder(folder / "vision")
    model = {"stem": "crops", "crops.folder": str(vision), "crops.grid": 3, "crops.frozen": frozen, "init_std": 0.2}
    mixture = [{"source": "scenes", "samples": 4, "objectives": {"captioning": 1.0, "visual_question_answering": 1.0}}]
    recipe = smoke.recipe().override(
        {f"model.{field}": value for field, value in model.items()}
        | {"pretrain.data.mixture": mixture, "pretrain.data.image_input": "pixels", "pretrain.loop.num_steps": 3}
    )
    run = Run.open(folder / "run", recipe)
    write_corpus(run.stage("corpus"))
    tokenizer.run(run, recipe.tokenizer)
    codes = VQGAN(recipe.vqgan.model)
    save_weights(run.stage("vqgan"), codes)
    run.stage("pretrain")
    figures = pretrain.run(run, recipe.pretrain, recipe.model, recipe.vqgan.model, recipe.seed)
    run.finish("pretrain", **figures)
    return run


def likeliest(engine: Engine, prefix: tuple[Segment, ...], written: list[int]) -> tuple[list[int], Tensor]:
    """What one uncached forward over picture, question and answer likes best at each place; and its logits."""
    sample = as_trained(prefix, Text(tuple(written)))
    batch = pack([sample], engine.vocabulary, engine.model.config.patch_grid, 0)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal)
    with torch.inference_mode():
        hidden = engine.model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at)
        logits: Tensor = engine.model.logits(hidden)[:, : engine.vocabulary.text_size]
    return logits.argmax(-1).tolist(), logits


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_that_reads_crops_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str], frozen: bool) -> None:
    folder = trained(tmp_path, frozen).folder
    theirs = load_file(tmp_path / "vision" / "model.safetensors")
    kept = TensorFiles(newest(folder / "pretrain", "pretrain") / WEIGHTS).read()
    moved = [name for name, weight in theirs.items() if not torch.equal(kept[STEM + name], weight)]
    assert bool(moved) is not frozen
    assert not any("running" in name for name in moved)
    gently = 3 * 0.01 * Recipe.read(folder / "config.json").pretrain.loop.optimizer.learning_rate
    assert all((kept[STEM + name] - theirs[name]).abs().max() < 2 * gently for name in moved)

    shutil.rmtree(tmp_path / "vision")
    make_folder(tmp_path / "vision", seed=2)  # what was trained with is in the run
    engine = Engine.load(folder)
    assert all(torch.equal(weight, kept[name]) for name, weight in engine.model.state_dict().items())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    prefixes = [(engine.picture(picture), engine.text(QUESTION)) for picture in pixels]
    seen = []
    for prefix, written in zip(prefixes, engine.write(prefixes, 12), strict=True):
        ids, logits = likeliest(engine, prefix, written)
        assert ids[: len(written)] == written
        assert len(written) == 12 or ids[len(written)] == END
        seen.append(logits[0])
    assert (seen[0] - seen[1]).abs().max() > 0.01, "the answer depends on the picture"

    Image.fromarray(pixels[0]).save(tmp_path / "picture.png")
    asked = ["--image", str(tmp_path / "picture.png"), "--run", str(folder)]
    capsys.readouterr()
    assert main(["generate", "answer", "--question", QUESTION, *asked]) == 0
    assert capsys.readouterr().out == engine.write_texts(prefixes[:1], 24)[0] + "\n"
    assert main(["generate", "caption", *asked]) == 0
    assert capsys.readouterr().out == engine.write_texts([prefixes[0][:1]], 64)[0] + "\n"
