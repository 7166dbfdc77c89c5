"""The samples that loaders are measured on, in the form that each reads: our shards, tar files, a Parquet file.

Pictures and texts are those of the quickstart: emoji and scenes, brought to the training size by the corpus, so that no
loader has anything to resize. All hold the same PNG bytes and texts in the same order; the tokenizer is one file.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from m6.corpus.document import SCHEMA, Document
from m6.corpus.images.prepare import Picture, prepare
from m6.corpus.sources import reader
from m6.data.config import DataConfig, Entry
from m6.data.mixture import Mixture
from m6.recipes import quickstart
from m6.run import write_atomic
from m6.shards import write_shards
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.train import train_tokenizer
from m6.tokenizer.vocabulary import Vocabulary

BATCH = 64
SIDE = quickstart.recipe().corpus.image_size
SHARDS = 8
SOURCE = "pictures"


def write_samples(folder: Path, number: int, side: int = SIDE) -> None:
    """Writes `number` samples, a multiple of `BATCH` * `SHARDS`: corpus/, webdataset/, samples.parquet, tokenizer.json,
    vocabulary.json."""
    documents = list(itertools.islice(_documents(number, side), number))
    assert len(documents) == number
    recipe = quickstart.recipe()
    tokenizer = train_tokenizer([document["text"] for document in documents], recipe.tokenizer)
    vocabulary = Vocabulary(tokenizer.get_vocab_size(), recipe.vqgan.model.num_codes)
    write_atomic(folder / "tokenizer.json", tokenizer.to_str())
    write_atomic(folder / "vocabulary.json", json.dumps(asdict(vocabulary)))
    rows = [{**document, "attributes": list(document["attributes"].items())} for document in documents]
    write_shards(folder / "corpus", [pa.Table.from_pylist(rows, SCHEMA)], SCHEMA, rows_per_shard=number // SHARDS)
    pairs = [(document["images"][0]["bytes"], document["text"]) for document in documents]
    _write_tars(folder / "webdataset", pairs)
    columns = {"image": [{"bytes": data, "path": None} for data, _ in pairs], "text": [text for _, text in pairs]}
    pq.write_table(pa.table(columns), folder / "samples.parquet")


def open_samples(folder: Path) -> tuple[Mixture, Vocabulary]:
    """Our mixture of them, a caption of each: `BATCH` a step."""
    line = Entry(source=SOURCE, samples=BATCH, objectives={"captioning": 1.0})
    config = DataConfig(mixture=(line,), image_input="pixels")
    vocabulary = Vocabulary(**json.loads((folder / "vocabulary.json").read_text()))
    return Mixture(folder / "corpus", None, TextTokenizer.load(folder / "tokenizer.json"), config, seed=0), vocabulary


def _documents(number: int, side: int) -> Iterator[Document]:
    """Those of emoji and scenes, of the training split, that the corpus keeps."""
    sources = quickstart.recipe().corpus.sources
    scenes = sources["scenes"].model_copy(update={"train": number, "heldout": 10})
    for name, config in {"emoji": sources["emoji"], "scenes": scenes}.items():
        kind = reader(config.kind)
        for part in kind.parts(name, config):
            for read in kind.read(part, config, 0):
                if isinstance(read, dict) and read["split"] == "train":
                    document = cast(Document, read)
                    picture = prepare(document["images"][0]["bytes"], config.images, side)
                    if isinstance(picture, Picture):
                        image = {**document["images"][0], "bytes": picture.data, "width": side, "height": side}
                        yield cast(Document, {**document, "source": SOURCE, "images": [image]})


def _write_tars(folder: Path, pairs: list[tuple[bytes, str]]) -> None:
    """As webdataset wants them: members of one sample are neighbours and share their name up to the point."""
    folder.mkdir()
    each = len(pairs) // SHARDS
    for number in range(SHARDS):
        with tarfile.open(folder / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for index, (data, text) in enumerate(pairs[number * each : (number + 1) * each]):
                for ending, content in (("png", data), ("txt", text.encode())):
                    member = tarfile.TarInfo(f"{number:05d}-{index:06d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
