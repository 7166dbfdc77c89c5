"""`m6 vqgan encode`: the image codes of a corpus, computed once, by the image tokenizer of a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m6 import flags
from m6.config import UserError, nearest
from m6.shards import Shards, is_whole
from m6.shipped import check_own, run_folder

HELP = """\
m6 vqgan encode RUN [SHARDS] [--out DIR] [--tile PIXELS] [--batch_size N]: write the image codes of a corpus.

RUN is a run folder with a trained image tokenizer. Killed, it goes on where it was; what is there is left as it is.
  SHARDS            the corpus, a folder of shards; that of the run by default
  --out DIR         where codes go, row for row beside the corpus; RUN/vqgan/codes by default, for the run's own corpus
  --tile PIXELS     work on large pictures in tiles of this side, with the same codes, in less memory; 0 by default
  --batch_size N    pictures at once, 64 by default; no code depends on it"""
_FLAGS = ("out", "tile", "batch_size")


def encode(words: Sequence[str]) -> str:
    """Does what the words ask for, and returns a line about it. UserError for what is wrong with them."""
    alone, given = flags.split(words)
    for name in given:
        if name not in _FLAGS:
            raise UserError(f"--{name}: no such flag{nearest(name, _FLAGS)}")
    if len(alone) not in (1, 2):
        raise UserError(f"m6 vqgan encode takes a run folder, and perhaps a folder of shards, got {len(alone)} words")
    folder = run_folder(alone[0]) if "out" in given else check_own(alone[0])
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: not a run folder, it has no config.json")
    corpus = Path(alone[1]) if alone[1:] else folder / "corpus"
    if alone[1:] and "out" not in given:
        raise UserError("--out: say where the codes of other shards go")
    out = Path(given.get("out", folder / "vqgan" / "codes"))
    tile, batch_size = _number(given, "tile", 0, 0), _number(given, "batch_size", 64, 1)
    Shards(corpus)
    _write(folder, corpus, out, tile, batch_size)
    shards = Shards(out)
    return f"{len(shards):,} rows of codes in {len(shards.files)} shards: {out}"


def _number(given: dict[str, str], name: str, default: int, smallest: int) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) < smallest:
        raise UserError(f"--{name} {text}: it has to be a whole number from {smallest} on")
    return int(text)


def _write(folder: Path, corpus: Path, out: Path, tile: int, batch_size: int) -> None:
    from m6.model.weights import load_weights, newest
    from m6.recipes.recipe import Recipe
    from m6.run import Run
    from m6.train.hardware import choose_device, prepare_cpu
    from m6.train.vqgan_encode import encode_corpus, other_codes, weights_digest
    from m6.vqgan.model import VQGAN

    recipe = Recipe.read(folder / "config.json")
    model = VQGAN(recipe.vqgan.model)
    model.checked_tile(tile)
    checkpoint = newest(folder / "vqgan", "vqgan")
    tokenizer = weights_digest(folder / "vqgan")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: a file; codes go into a folder")
    if out.exists() and any(out.iterdir()) and not is_whole(out) and not (out / "begun.json").exists():
        raise UserError(f"--out {out}: not empty, and without codes; give another folder")
    if other := other_codes(out, corpus, tokenizer):
        raise UserError(f"{out} holds the codes of {other}; remove it, or give another --out")
    if out.resolve().is_relative_to(folder.resolve()):
        Run.open(folder, recipe)  # locks it
    load_weights(checkpoint, model)
    prepare_cpu(recipe.vqgan.loop.num_threads)
    model.to(choose_device("auto"))
    encode_corpus(model, corpus, out, tokenizer, tile, batch_size)
