"""Batches of the mixed corpus to measure steps on: the bundled emoji, poems and scenes, with the quickstart's mixture.

Out: files that any program with PyTorch reads, one for each layout, each a list of batches; a batch is a dict of the
fields of `m6.data.packing.Batch`. Codes of pictures are drawn by chance: no step is faster or slower for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from m6.corpus.document import SCHEMA, Document, make_document
from m6.corpus.sources import reader
from m6.data.config import DataConfig
from m6.data.images import codes_schema
from m6.data.mixture import Mixture
from m6.data.packing import Batch, pack
from m6.data.sample import Sample
from m6.recipes import quickstart
from m6.run import write_atomic
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
    vocabulary = write_corpus(folder, smoke)
    mixture = open_mixture(folder, quickstart.recipe().pretrain.data)
    steps = [mixture.samples(LAST_STEP + number) for number in range(num_batches)]
    if smoke:
        steps = [samples[::6] for samples in steps]
    for name, laid in (("packed", _packed), ("padded", _padded)):
        torch.save([asdict(laid(samples, vocabulary, context)) for samples in steps], folder / f"{name}.pt")
    return vocabulary


def write_corpus(folder: Path, smoke: bool, long_texts: int = 0) -> Vocabulary:
    """Writes what `open_mixture` opens; returns the vocabulary. `long_texts`: characters of each Document of one more
    source, "texts", put together from the poems end to end; 0 leaves it out."""
    recipe = quickstart.recipe()
    documents = list(_documents(recipe.corpus.sources, smoke))
    tokenizer = train_tokenizer([document["title"] + document["text"] for document in documents], recipe.tokenizer)
    vocabulary = Vocabulary(tokenizer.get_vocab_size(), recipe.vqgan.model.num_codes)
    if long_texts:
        whole = "".join(document["text"] for document in documents if document["source"] == "poems")
        cuts = range(0, len(whole) - long_texts + 1, long_texts)
        documents += [make_document("texts", whole[cut : cut + long_texts]) for cut in cuts]
    _write_corpus(folder / "corpus", documents)
    _write_codes(folder / "codes", documents, 64 // recipe.vqgan.model.downsample, vocabulary.num_codes)
    write_atomic(folder / "tokenizer.json", tokenizer.to_str())
    write_atomic(folder / "vocabulary.json", json.dumps(asdict(vocabulary)))
    return vocabulary


def open_mixture(folder: Path, config: DataConfig) -> Mixture:
    """The corpus of `write_corpus`, mixed by this config."""
    tokenizer = TextTokenizer.load(folder / "tokenizer.json")
    return Mixture(folder / "corpus", folder / "codes", tokenizer, config, seed=0)


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
    schema = codes_schema(num_codes)
    write_shards(folder, [pa.Table.from_pylist(rows, schema)], schema, rows_per_shard=4096)
