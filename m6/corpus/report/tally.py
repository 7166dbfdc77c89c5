"""Tally: what the report counts while a corpus is built.

Parts are counted on their own and add up in any order, on any machines. All that is kept is whole numbers, and a fair
few examples chosen by hash, so the size of a tally does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m6.corpus.drop import Drop
from m6.corpus.report.scripts import main_scripts

FIGURES = ("passages", "heldout", "images", "characters", "image_bytes", "text_bytes")
MODALITIES = {True: "image and text", False: "plain text"}
SAMPLES = 3  # of each reason and source
CLUSTERS = 5  # the largest, and as many others
MEMBERS = 4  # dropped texts of a cluster
SHOWN = 160  # characters of a text
LARGEST_BIN = 63
WIDEST = 16  # quarters of an octave: 16 times as wide as high

_COUNTERS = (
    "records", "record_bytes", "drops", "image_drops", "kept", "lengths", "scripts", "sizes", "aspects",
    "cluster_sizes",
)  # fmt: skip
_DICTS = ("samples", "image_samples", "stages")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Cluster(NamedTuple):
    """Documents that nearly equal each other: the one that stays, and some of those that do not."""

    size: int  # with the one that stays
    reason: str
    kept: str
    dropped: list[str]


class Tally:
    """Counts of a corpus or of a part of it. A source is a name of the recipe; keys of one counter have one form."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()  # read, by source
        self.record_bytes: Counter[str] = Counter()
        self.drops: Counter[tuple[str, str]] = Counter()  # by source and reason
        self.image_drops: Counter[tuple[str, str]] = Counter()  # pictures left out of kept Documents, likewise
        self.kept: Counter[tuple[str, str, str]] = Counter()  # by source, modality and name of FIGURES
        self.lengths: Counter[tuple[str, int]] = Counter()  # kept texts by source and `bin_of` their characters
        self.scripts: Counter[tuple[str, str]] = Counter()  # kept texts by source and main script
        self.sizes: Counter[tuple[str, int, int]] = Counter()  # pictures as found, by `bin_of` width and height
        self.aspects: Counter[tuple[str, int]] = Counter()  # the same by `aspect_bin`
        self.cluster_sizes: Counter[tuple[str, int]] = Counter()  # by reason and `bin_of` their Documents
        self.stages: dict[str, list[int]] = {}  # by stage: nanoseconds of a core, bytes, items
        self.samples: dict[tuple[str, str], list[list[str]]] = {}  # [where, text]
        self.image_samples: dict[tuple[str, str], list[list[str]]] = {}
        self.largest: list[Cluster] = []
        self.sampled: list[Cluster] = []

    def read(self, source: str, bytes: int) -> None:
        """Count a record that a source has given, with the bytes of its text and pictures."""
        self.records[source] += 1
        self.record_bytes[source] += bytes

    def drop(self, source: str, drop: Drop) -> None:
        """Count a record that is left out."""
        self.drops[source, drop.reason] += 1
        self._sample(self.samples, (source, drop.reason), drop.where, drop.sample)

    def image_dropped(self, source: str, drop: Drop) -> None:
        """Count a picture that is left out of a Document that stays."""
        self.image_drops[source, drop.reason] += 1
        self._sample(self.image_samples, (source, drop.reason), drop.where, drop.sample)

    def found_image(self, source: str, width: int, height: int) -> None:
        """Count a picture as it was found, in pixels."""
        self.sizes[source, bin_of(width), bin_of(height)] += 1
        self.aspects[source, aspect_bin(width, height)] += 1

    def keep(self, table: pa.Table) -> None:
        """Count Documents that stay; the table has the columns of `document.SCHEMA`."""
        columns = {
            "images": pc.list_value_length(table["images"]).to_pylist(),
            "characters": pc.utf8_length(table["text"]).to_pylist(),
            "text_bytes": pc.binary_length(table["text"]).to_pylist(),
            "image_bytes": _image_bytes(table),
            "heldout": pc.equal(table["split"], "heldout").to_pylist(),
        }
        scripts = main_scripts(table["text"])
        for row, source in enumerate(table["source"].to_pylist()):
            counted = {name: values[row] or 0 for name, values in columns.items()}
            modality = MODALITIES[counted["images"] > 0]
            self.kept[source, modality, "passages"] += 1
            for name in FIGURES[1:]:
                self.kept[source, modality, name] += int(counted[name])
            self.lengths[source, bin_of(counted["characters"])] += 1
            self.scripts[source, scripts[row]] += 1

    def cluster(self, kept_text: str, dropped_texts: list[str], size: int, reason: str) -> None:
        """Count near duplicates that belong together: `size` Documents, of which one is kept. Not all of the dropped
        texts need be given."""
        self.cluster_sizes[reason, bin_of(size)] += 1
        dropped = [shown(text) for text in dropped_texts[:MEMBERS]]
        found = [Cluster(size, reason, shown(kept_text), dropped)]
        self.largest, self.sampled = _largest([*self.largest, *found]), _fair([*self.sampled, *found])

    def time(self, stage: str, seconds: float, bytes: int, items: int) -> None:
        """Add the time that a core has spent on a stage, and what it worked on."""
        self._time(stage, round(seconds * 1e9), bytes, items)

    def _time(self, stage: str, nanoseconds: int, bytes: int, items: int) -> None:
        sums = self.stages.setdefault(stage, [0, 0, 0])
        sums[0] += nanoseconds
        sums[1] += bytes
        sums[2] += items

    def _sample(self, samples: dict[tuple[str, str], list[list[str]]], key: tuple[str, str], *sample: str) -> None:
        """Keep the few of smallest hash, which is a fair choice in any order."""
        found, shortened = samples.setdefault(key, []), [shown(text) for text in sample]
        if len(found) < SAMPLES or _rank(shortened) < _rank(found[-1]):
            samples[key] = sorted([*found, shortened], key=_rank)[:SAMPLES]

    def add(self, other: Tally) -> None:
        """Count all that another tally has counted."""
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in ("samples", "image_samples"):
            for key, samples in getattr(other, name).items():
                for where, text in samples:
                    self._sample(getattr(self, name), key, where, text)
        for stage, sums in other.stages.items():
            self._time(stage, *sums)
        self.largest = _largest([*self.largest, *other.largest])
        self.sampled = _fair([*self.sampled, *other.sampled])

    def dumps(self) -> bytes:
        """All of it as JSON; equal tallies give equal bytes."""
        content: dict[str, Any] = {name: _rows(getattr(self, name)) for name in _COUNTERS}
        content |= {name: _rows(getattr(self, name)) for name in _DICTS}
        content |= {"largest": self.largest, "sampled": self.sampled}
        return json.dumps(content, ensure_ascii=False).encode()

    @classmethod
    def loads(cls, data: bytes | str) -> Tally:
        """The tally that `dumps` wrote."""
        content, tally = json.loads(data), cls()
        for name in (*_COUNTERS, *_DICTS):
            getattr(tally, name).update(
                {key[0] if len(key) == 1 else tuple(key): value for *key, value in content[name]}
            )
        tally.largest, tally.sampled = ([Cluster(*row) for row in content[name]] for name in ("largest", "sampled"))
        return tally


def bin_of(number: int) -> int:
    """The bin of a whole number: two bins to each doubling, [4, 6), [6, 8), [8, 12), ..., all with whole edges."""
    if number < 2:
        return 2 * max(number, 0)
    bits = number.bit_length()
    return min(2 * bits + (number >> (bits - 2) & 1), LARGEST_BIN)


def bin_edge(number: int) -> int:
    """The smallest number in a bin, so that bin n holds what is at least bin_edge(n) and less than bin_edge(n + 1)."""
    if number < 4:
        return (number + 1) // 2
    return (2 + number % 2) << (number // 2 - 2)


def aspect_bin(width: int, height: int) -> int:
    """Quarters of an octave by which a picture is wider than high, -16 to 16; 0 is square but for 9 %."""
    return max(-WIDEST, min(WIDEST, round(4 * math.log2(max(width, 1) / max(height, 1)))))


def shown(text: str) -> str:
    """The beginning of a text from anywhere, fit to be encoded and printed."""
    cut = text[: SHOWN - 1] + "…" if len(text) > SHOWN else text
    return _CONTROL.sub("\ufffd", cut).encode("utf-8", "replace").decode()


def _rank(texts: list[str]) -> bytes:
    """Where texts stand in an order that has nothing to do with what they say."""
    return hashlib.sha256("\0".join(texts).encode()).digest()


def _largest(clusters: list[Cluster]) -> list[Cluster]:
    return sorted(clusters, key=lambda cluster: (-cluster.size, _cluster_rank(cluster)))[:CLUSTERS]


def _fair(clusters: list[Cluster]) -> list[Cluster]:
    """Twice as many as are shown, for some of them may be among the largest."""
    return sorted(clusters, key=_cluster_rank)[: 2 * CLUSTERS]


def _cluster_rank(cluster: Cluster) -> bytes:
    return _rank([cluster.reason, cluster.kept, *cluster.dropped])


def _rows(counts: dict[Any, Any]) -> list[list[Any]]:
    rows = ([*(key if isinstance(key, tuple) else (key,)), value] for key, value in counts.items())
    return sorted(rows, key=lambda row: row[:-1])


def _image_bytes(table: pa.Table) -> list[int]:
    """Bytes of the pictures of each row."""
    lengths = pc.binary_length(pc.struct_field(pc.list_flatten(table["images"]), "bytes")).to_numpy()
    parents = pc.list_parent_indices(table["images"]).to_numpy()
    totals: list[int] = np.bincount(parents, lengths, table.num_rows).astype(np.int64).tolist()
    return totals
