"""Mixture: which samples a step is made of, as a pure function of the seed and the step.

Every line of the mixture walks through its documents in a shuffled order, epoch after epoch. The document of a line's
g-th sample is `shuffled(g)`, and all chance in making it comes from a generator seeded by (seed, line, g): so the whole
state of the data is the number of the step, whoever prepares it. The documents of a step are dealt out in turn to those
who share it, and each reads its own alone; one that cannot be used gives its place to the next of its line.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from functools import partial
from math import floor
from pathlib import Path

import numpy as np

from m6.config import UserError
from m6.corpus.document import Document, from_row
from m6.data.config import DataConfig, Entry
from m6.data.images import CodeStore, decode_image, jittered
from m6.data.objectives import PAINTING, SEEING, STANDALONE
from m6.data.sample import Branch, Codes, Picture, Sample
from m6.data.unusable import Skipped, first_usable, usable
from m6.shards import Shards
from m6.tokenizer.text import TextTokenizer


def shuffled(index: int, size: int, seed: int) -> int:
    """Where `index` goes in the `seed`-th permutation of range(size), without holding the permutation.

    A four-round Feistel network over the next power of four, walked until it falls inside the range: a bijection that
    costs the same for ten documents as for ten billion.
    """
    bits = max(1, ((size - 1).bit_length() + 1) // 2)
    half = (1 << bits) - 1
    while True:
        left, right = index >> bits, index & half
        for turn in range(4):
            mixed = (right * 0x9E3779B1 + seed * 0x85EBCA6B + turn * 0xC2B2AE35 + 0x27D4EB2F) & 0xFFFFFFFF
            mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
            mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0xFFFFFFFF
            left, right = right, left ^ ((mixed ^ (mixed >> 15)) & half)
        index = (left << bits) | right
        if index < size:
            return index


def _pictured(entry: Entry) -> list[str]:
    """Its objectives that need a picture."""
    return [name for name in entry.objectives if name in (*SEEING, *PAINTING)]


def _key(document: Document) -> str:
    return f"{document['source']}/{document['id']}"


class Mixture:
    """Samples of any step, out of one split. `codes`, and `coarse`, those of the pictures made small, may be missing
    where no objective needs them."""

    def __init__(
        self,
        corpus: Path,
        codes: Path | None,
        tokenizer: TextTokenizer,
        config: DataConfig,
        seed: int,
        split: str = "train",
        coarse: Path | None = None,
    ) -> None:
        self.config = config
        self.seed = seed
        self.split = split
        self._tokenizer = tokenizer
        self._shards = Shards(corpus)
        self._codes = CodeStore(codes) if codes else None
        self._coarse = CodeStore(coarse) if coarse else None
        self._row_of: dict[str, int] = {}
        self._alike: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._pictured: set[int] = set()
        self._index()
        if split == "train":  # elsewhere a line may find nothing, and gives nothing
            for entry in config.mixture:
                self._check(entry)
        self._rows = [self._rows_of(entry) for entry in config.mixture]

    def _index(self) -> None:
        """Notes the rows of every source, which of them are alike (one category) and which have a picture."""
        table = self._shards.columns(["id", "source", "split", "attributes", "images.list.element.width"])
        columns = (table.column(name).to_pylist() for name in ("id", "source", "split", "attributes", "images"))
        for row, (identity, source, split, attributes, images) in enumerate(zip(*columns, strict=True)):
            self._row_of[identity] = row
            if images:
                self._pictured.add(row)
            if split == self.split:
                self._alike[source][dict(attributes or []).get("category", "")].append(row)

    def _check(self, entry: Entry) -> None:
        """UserError if a line of the mixture names what is not there."""
        for name in entry.objectives:
            if name not in SEEING and name not in STANDALONE:
                raise UserError(f"mixture: unknown objective '{name}'; known are {', '.join([*SEEING, *STANDALONE])}")
        if entry.source not in self._alike:
            raise UserError(
                f"mixture: the corpus has no training documents of source '{entry.source}'; "
                f"it has {', '.join(sorted(self._alike)) or 'none at all'}"
            )
        groups = self._alike[entry.source]
        unknown = [category for category in entry.categories if category not in groups]
        if unknown:
            raise UserError(
                f"mixture: source '{entry.source}' has no training documents of category '{unknown[0]}'; "
                f"it has {', '.join(groups)}"
            )
        if not self._rows_of(entry):
            raise UserError(
                f"mixture: {_pictured(entry)[0]} needs pictures, no training document of source '{entry.source}' "
                "has one"
            )

    def _rows_of(self, entry: Entry) -> list[int]:
        """The rows that a line of the mixture draws from: with a picture, if one of its objectives needs it."""
        groups = self._alike.get(entry.source, {})
        chosen = (rows for name, rows in groups.items() if not entry.categories or name in entry.categories)
        rows = sorted(itertools.chain.from_iterable(chosen))
        return [row for row in rows if row in self._pictured] if _pictured(entry) else rows

    def document(self, row: int) -> Document:
        """UnusableError if the row cannot be read."""
        with usable(f"row {row} of the corpus"):
            return from_row(self._shards[row])

    def drawn(self, step: int) -> list[tuple[int, int]]:
        """The documents of a step: of each its line of the mixture, and which of the line's it is."""
        return [
            (number, index)
            for number, entry in enumerate(self.config.mixture)
            if step >= entry.first_step and self._rows[number]
            for index in range(floor(step * entry.samples), floor((step + 1) * entry.samples))
        ]

    def num_drawn(self, step: int) -> int:
        """Documents of all steps before this one."""
        lines = (entry for entry, rows in zip(self.config.mixture, self._rows, strict=True) if rows)
        return sum(floor(step * entry.samples) - floor(min(step, entry.first_step) * entry.samples) for entry in lines)

    def samples(self, step: int) -> list[Sample]:
        """All samples of a step, the same whenever and wherever they are made."""
        return self.part(step)[0]

    def part(self, step: int, part: int = 0, parts: int = 1) -> tuple[list[Sample], list[Skipped]]:
        """The samples of every `parts`-th document of a step from number `part` on; and the documents that could not be
        used, each of which has left its place to the next of its line."""
        made: list[Sample] = []
        skipped: list[Skipped] = []
        drawn = self.drawn(step)[part::parts]
        ahead = self._documents([self._row(number, index) for number, index in drawn])
        for number, index in drawn:
            samples, bad = first_usable(partial(self._make, number, index, ahead))
            made += samples or []
            skipped += bad
        return made, skipped

    def _row(self, number: int, index: int, attempt: int = 0) -> int:
        rows = self._rows[number]
        epoch, place = divmod(index, len(rows))
        return rows[shuffled((place + attempt) % len(rows), len(rows), hash((self.seed, number, epoch)))]

    def _documents(self, rows: list[int]) -> dict[int, Document]:
        """By row, read at once, which is several times as fast; none if one of them cannot be read, for `document` then
        tells which."""
        try:
            return dict(zip(rows, map(from_row, self._shards.rows(rows)), strict=True))
        except Exception:
            return {}

    def _make(self, number: int, index: int, ahead: dict[int, Document], attempt: int) -> list[Sample]:
        entry = self.config.mixture[number]
        row = self._row(number, index, attempt)
        document = ahead[row] if row in ahead else self.document(row)
        rng = np.random.default_rng((self.seed, number, index, attempt) if attempt else (self.seed, number, index))
        key = _key(document)
        seeing: list[Branch] = []
        samples: list[Sample] = []
        for name, weight in entry.objectives.items():
            made = (SEEING.get(name) or STANDALONE[name])(document, self, rng)
            branches = [replace(branch, weight=weight) for branch in made]
            if name in SEEING:
                seeing += branches
            else:
                samples += [Sample(key, (), (branch,)) for branch in branches]
        if seeing:
            samples.append(Sample(key, (self.picture(document, entry.jitter, rng),), tuple(seeing)))
        return samples

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text)[: self.config.max_text])

    def codes(self, document: Document) -> Codes:
        """The codes of the document's picture."""
        return self._stored(self._codes, document)

    def coarse_codes(self, document: Document) -> Codes:
        """Those of its picture made small."""
        return self._stored(self._coarse, document)

    def _stored(self, store: CodeStore | None, document: Document) -> Codes:
        assert store is not None, "this mixture was made without codes"
        with usable(_key(document)):
            grid = store[self._row_of[document["id"]]]
            if not grid.size:
                raise ValueError("the image tokenizer has no codes of its picture")
            return Codes(grid)

    def picture(self, document: Document, jitter: float, rng: np.random.Generator) -> Picture | Codes:
        """The document's picture in the form that the model reads."""
        if self.config.image_input == "codes":
            return self.codes(document)
        with usable(_key(document)):
            pixels = decode_image(document["images"][0]["bytes"])
        return Picture(jittered(pixels, jitter, rng) if jitter and self.split == "train" else pixels)

    def unfitting_text(self, document: Document, rng: np.random.Generator) -> str:
        """A text that does not fit the picture but nearly might: a known false one, else one of the same category."""
        known = document["attributes"].get("unfitting", "")
        if known:
            texts = known.split("\n")
            return texts[int(rng.integers(len(texts)))]
        groups = self._alike[document["source"]]
        alike = groups[document["attributes"].get("category", "")]
        everything = [row for rows in groups.values() for row in rows]
        for pool, tries in ((alike, 8 * (len(alike) > 1)), (everything, 64)):
            for _ in range(tries):
                other = self.document(pool[int(rng.integers(len(pool)))])
                if other["text"] != document["text"]:
                    return other["text"]
        raise UserError(
            f"mixture: matching on source '{document['source']}' needs different texts, all found are alike"
        )
