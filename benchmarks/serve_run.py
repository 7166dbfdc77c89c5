"""A run whose weights are drawn by chance, as fast as a trained one of its size: python -m benchmarks.serve_run FOLDER

It has the recipe, the tokenizer and the checkpoints that serving and export read. Without a training nothing that it
says means anything, and answers seldom end before their limit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from m6.corpus.starter import emoji_rows, poem_rows
from m6.model.transformer import Transformer
from m6.recipes import quickstart
from m6.recipes.recipe import Recipe
from m6.run import write_atomic
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.train import train_tokenizer
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers
from m6.vqgan.model import VQGAN

SPREAD = {"model.init_std": 0.2}  # so that weights drawn by chance say something else to each request
SMALL = {
    "model.num_layers": 2, "model.hidden_size": 64, "model.num_heads": 2, "model.ffn_size": 128,
    "model.stem": "linear", "vqgan.model.channels": (8, 8, 16), "corpus.image_size": 16, "tokenizer.vocab_size": 1_000,
}  # fmt: skip


def write_run(folder: Path, small: bool = False) -> None:
    """Writes it, of the quickstart's shape, or a small one."""
    recipe: Recipe = quickstart.recipe().override({**SPREAD, **(SMALL if small else {})})
    poems = poem_rows()[:: 10 if small else 1]
    texts = [row["title"] + "\n".join(row["couplets"]) for row in poems]
    texts += [row["name"] + "".join(row["keywords"]) for row in emoji_rows()]
    learnt = train_tokenizer(texts, recipe.tokenizer)
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    recipe.write(folder / "config.json")
    write_atomic(folder / "tokenizer" / "tokenizer.json", learnt.to_str())
    size = TextTokenizer.load(folder / "tokenizer" / "tokenizer.json").size
    torch.manual_seed(0)
    painter = VQGAN(recipe.vqgan.model)
    backbone = painter.backbone() if recipe.model.stem == "backbone" else None
    model = Transformer(recipe.model, Vocabulary(size, recipe.vqgan.model.num_codes).size, backbone)
    _save(folder / "vqgan", painter)
    _save(folder / "pretrain", model)


def _save(folder: Path, model: nn.Module) -> None:
    with Checkpoints(folder, model, Optimizers(model, OptimizerConfig(), 1), LoopConfig(), {}) as saved:
        saved.save(1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python -m benchmarks.serve_run FOLDER", file=sys.stderr)
        sys.exit(2)
    write_run(Path(sys.argv[1]))
