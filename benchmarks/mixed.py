"""Batches of the mixed corpus to measure steps on: the bundled emoji, poems and scenes, with the quickstart's mixture.

Out: files that any program with PyTorch reads, one for each layout, each a list of batches; a batch is a dict of the
fields of `m6.data.packing.Batch`. Codes of pictures are drawn by chance: no step is faster or slower for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from m6.corpus.document import SCHEMA, Document
from m6.corpus.sources import reader
from m6.data.images import CODES_SCHEMA
from m6.data.mixture import Mixture
from m6.data.packing import Batch, pack
from m6.data.sample import Sample
from m6.recipes import quickstart
from m6.shards import write_shards
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.train import train_tokenizer
from m6.tokenizer.vocabulary import Vocabulary

FEWER = {"train": 400, "heldout": 10}  # scenes: each is drawn when it is read
PATCH_SIZE = 8
LAST_STEP = 700  # of the quickstart, when all objectives are on


def write_batches(folder: Path, context: int, num_batches: int, smoke: bool) -> Vocabulary:
    """Writes packed.pt and padded.pt: the same samples in packed rows of `context` tokens at the most, and each in a
    row of its own filled up to `context`. Returns the vocabulary of their ids."""
    recipe = quickstart.recipe()
    documents = list(_documents(recipe.corpus.sources, smoke))
    texts = [document["title"] + document["text"] for document in documents]
    tokenizer = TextTokenizer(train_tokenizer(texts, recipe.tokenizer))
    vocabulary = Vocabulary(tokenizer.size, recipe.vqgan.model.num_codes)
    _write_corpus(folder / "corpus", documents)
    _write_codes(folder / "codes", documents, 64 // recipe.vqgan.model.downsample, vocabulary.num_codes)
    mixture = Mixture(folder / "corpus", folder / "codes", tokenizer, recipe.pretrain.data, seed=0)
    steps = [mixture.samples(LAST_STEP + number) for number in range(num_batches)]
    if smoke:
        steps = [samples[::6] for samples in steps]
    for name, laid in (("packed", _packed), ("padded", _padded)):
        torch.save([asdict(laid(samples, vocabulary, context)) for samples in steps], folder / f"{name}.pt")
    return vocabulary


def read_batches(path: Path) -> list[Batch]:
    """The batches of a file."""
    return [Batch(**fields) for fields in torch.load(path, weights_only=True)]


def _packed(samples: list[Sample], vocabulary: Vocabulary, context: int) -> Batch:
    return pack(samples, vocabulary, PATCH_SIZE, context)


def _padded(samples: list[Sample], vocabulary: Vocabulary, context: int) -> Batch:
    """Rows of `context` tokens, whatever they hold. A longer sample would raise."""
    batch = pack(samples, vocabulary, PATCH_SIZE, 0)
    missing = context - batch.ids.shape[1]
    if missing < 0:
        raise ValueError(f"a sample of {batch.ids.shape[1]} tokens does not fit {context}")

    def filled(values: torch.Tensor, value: int = 0) -> torch.Tensor:
        return torch.cat([values, values.new_full((len(values), missing, *values.shape[2:]), value)], dim=1)

    length = batch.ids.shape[1]
    batch.label_at = batch.label_at + batch.label_at // length * missing
    batch.patch_at = batch.patch_at + batch.patch_at // length * missing
    batch.ids, batch.position, batch.sample = filled(batch.ids), filled(batch.position), filled(batch.sample, -1)
    batch.branch, batch.causal = filled(batch.branch), filled(batch.causal)
    return batch


def _documents(sources: dict[str, Any], smoke: bool) -> Iterator[Document]:
    for name, source in sources.items():
        config = source.model_copy(update=FEWER) if name == "scenes" else source
        config = config.model_copy(update={"most": 400}) if smoke and name != "scenes" else config
        kind = reader(config.kind)
        for part in kind.parts(name, config):
            yield from (cast(Document, read) for read in kind.read(part, config, 0) if isinstance(read, dict))


def _write_corpus(folder: Path, documents: list[Document]) -> None:
    rows = [{**document, "attributes": list(document["attributes"].items())} for document in documents]
    write_shards(folder, [pa.Table.from_pylist(rows, SCHEMA)], SCHEMA, rows_per_shard=4096)


def _write_codes(folder: Path, documents: list[Document], side: int, num_codes: int) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"height": side, "width": side, "codes": rng.integers(0, num_codes, side * side).tolist()}
        if document["images"]
        else {"height": 0, "width": 0, "codes": []}
        for document in documents
    ]
    write_shards(folder, [pa.Table.from_pylist(rows, CODES_SCHEMA)], CODES_SCHEMA, rows_per_shard=4096)
