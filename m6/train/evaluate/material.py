"""What the parts of the evaluation share: the trained model, the documents and their pictures, scores and examples."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from m6.corpus.document import Document, from_row
from m6.data.images import decode_image
from m6.generate.engine import Engine
from m6.run import write_atomic
from m6.shards import Shards
from m6.tasks import text_to_image
from m6.tasks.metrics import interval, mean
from m6.train.config import EvaluateStage

Scores = dict[str, float]
Example = dict[str, Any]
Examples = dict[str, list[Example]]
SHOWN = 24  # examples of a kind in the report
SPLIT_NAMES = {"train": "seen", "heldout": "heldout"}  # what scores and the report call a split
KNOWN = 3000  # training pictures of a source among which the nearest is looked for


@dataclass
class Evaluation:
    """What the parts share: the engine, the documents and their pictures."""

    folder: Path
    stage: EvaluateStage
    seed: int
    _known: dict[str, tuple[list[Document], np.ndarray]] = field(default_factory=dict)

    @cached_property
    def engine(self) -> Engine:
        return Engine.load(self.folder)

    @cached_property
    def documents(self) -> list[Document]:
        """All documents of the sources that the model was trained on, in the categories it was trained on."""
        shards = Shards(self.folder / "corpus")
        taken: dict[str, set[str]] = {}
        for entry in self.engine.data.mixture:
            taken.setdefault(entry.source, set()).update(entry.categories or ("",))
        rows = [from_row(shards[row]) for row in range(len(shards))]
        return [
            row
            for row in rows
            if row["source"] in taken
            and ("" in taken[row["source"]] or row["attributes"].get("category") in taken[row["source"]])
        ]

    def some(self, source: str, split: str, **attributes: str) -> list[Document]:
        """At most `num_samples` documents with pictures of a source and split, spread over all of them."""
        found = [
            d
            for d in pictured(self.documents, source, split)
            if all(d["attributes"].get(name) == value for name, value in attributes.items())
        ]
        order = np.random.default_rng(self.seed).permutation(len(found))[: self.stage.num_samples]
        return [found[index] for index in sorted(order)]

    @cached_property
    def own_sources(self) -> list[str]:
        """Sources with pictures that the project does not bundle, in the order of their names."""
        return sorted({d["source"] for d in self.documents if d["images"]} - {"emoji", "scenes"})

    def known(self, source: str) -> tuple[list[Document], np.ndarray]:
        """Training documents of a source, `KNOWN` at the most, and their pixels [N, S, S, 3]: among these the nearest
        is looked for."""
        if source not in self._known:
            documents = pictured(self.documents, source, "train")[:KNOWN]
            self._known[source] = (documents, pixels_of(documents))
        return self._known[source]

    def nearest_texts(self, source: str, documents: Sequence[Document], pixels: np.ndarray) -> list[str]:
        """For each picture [N, S, S, 3] of a source the text of the nearest other one in training, for baselines."""
        known, known_pixels = self.known(source)
        return [known[index]["text"] for index in nearest_other(documents, pixels, known, known_pixels)]

    def keep_picture(self, name: str, pixels: np.ndarray) -> str:
        """Saves a picture for the report; returns its path from the folder of the stage."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        write_atomic(self.folder / "evaluate" / "pictures" / f"{name}.png", buffer.getvalue())
        return f"pictures/{name}.png"


def pictured(documents: Iterable[Document], source: str, split: str) -> list[Document]:
    """The documents of a source and split that have a picture and a text."""
    return [d for d in documents if d["source"] == source and d["split"] == split and d["images"] and d["text"]]


def pixels_of(documents: Sequence[Document]) -> np.ndarray:
    """[N, S, S, 3] uint8."""
    return np.stack([decode_image(d["images"][0]["bytes"]) for d in documents])


def nearest_other(
    documents: Sequence[Document], pixels: np.ndarray, known: Sequence[Document], known_pixels: np.ndarray
) -> list[int]:
    """Of the known pictures the nearest to each that is not the document itself."""
    distance = text_to_image.distances(pixels, known_pixels)
    place = {d["id"]: index for index, d in enumerate(known)}
    for row, document in enumerate(documents):
        if document["id"] in place:
            distance[row, place[document["id"]]] = np.inf
    return [int(index) for index in distance.argmin(1)]


def with_interval(name: str, values: Sequence[float], baseline: float) -> Scores:
    """A score that is a mean, its bounds, and its baseline."""
    low, high = interval([float(value) for value in values])
    return {name: mean(map(float, values)), f"{name}.low": low, f"{name}.high": high, f"{name}.baseline": baseline}


def origin(document: Document) -> dict[str, str]:
    """What the report groups an example by: whether it was seen, its source, and what of a scene is new."""
    return {
        "split": SPLIT_NAMES[document["split"]],
        "source": document["source"],
        "unseen": document["attributes"].get("unseen", ""),
    }
