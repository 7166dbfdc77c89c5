"""A run folder with the weights of the small engine, and real pictures to ask it about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m6.corpus.config import CorpusConfig
from m6.corpus.starter import emoji_pictures
from m6.generate.engine import Engine
from m6.model.transformer import Transformer
from m6.recipes.recipe import Recipe
from m6.train.config import PretrainStage, VQGANStage
from tests.unit.checkpoints import save_weights
from tests.unit.generate.small_engine import small_engine
from tests.unit.small_corpus import CONFIG


def write_run(folder: Path, **changes: Any) -> Engine:
    """Writes what an export reads of a run; returns the engine with the same weights. changes: of its ModelConfig."""
    engine = small_engine()
    assert engine.vqgan is not None
    if changes:
        size = engine.model.config.override(changes)
        backbone = engine.vqgan.backbone() if size.stem == "backbone" else None
        engine.model = Transformer(size, engine.vocabulary.size, backbone).eval()
    Recipe(
        corpus=CorpusConfig(sources=CONFIG.sources, image_size=engine.picture_size),
        vqgan=VQGANStage(model=engine.vqgan.config),
        model=engine.model.config,
        pretrain=PretrainStage(data=engine.data),
    ).write(folder / "config.json")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text(engine.tokenizer._tokenizer.to_str(), encoding="utf-8")
    save_weights(folder / "pretrain", engine.model)
    return engine


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Bundled pictures as files, with their transparency."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for path, (_, encoded) in zip(paths, sorted(emoji_pictures().items()), strict=False):
        path.write_bytes(encoded)
    return paths
