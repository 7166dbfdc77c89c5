"""Packing: many short Samples in a few rows of a Batch, kept apart by the partial mask.

Each sample is flattened to a run of tokens; runs are laid into rows of at most `row_length` tokens, longest first into
the row with least room that still fits. What `m6.model.masks` needs (sample, branch, causal) travels with the tokens.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from m6.data.sample import HIDDEN, Branch, Codes, Sample, Segment, Text
from m6.data.unusable import Skipped
from m6.tokenizer.vocabulary import END, IMAGE, MASK, PAD, TEXT, Vocabulary

PatchGrid: TypeAlias = int | Callable[[int, int], tuple[int, int]]
"""What tells how many tokens a picture is: the side of a square patch, or a function from height and width, pixels, to
rows and columns."""

NO_LABEL = -1
LENGTH_MULTIPLE = 32
"""Packed rows are filled up to a multiple of this many: a kernel is made anew, and kept, for every size it meets."""


@dataclass
class Batch:
    """Rows of packed samples, ready for the model. R rows, T tokens a row, P patches of pictures, N labels."""

    ids: Tensor  # [R, T] int64
    position: Tensor  # [R, T, 3] int32: order, row, column
    sample: Tensor  # [R, T] int32, number of the sample within the row; -1 is padding
    branch: Tensor  # [R, T] int32, 0 is the shared prefix
    causal: Tensor  # [R, T] bool, true for target tokens
    pictures: tuple[Tensor, ...]  # groups [G, S, S', 3] uint8 of one size each
    patch_at: Tensor  # [P] int64, flat places in [R * T] of their patches, group after group
    label_at: Tensor  # [N] int64, flat places in [R * T] that predict something
    labels: Tensor  # [N] int64
    weights: Tensor  # [N] float32
    objective: Tensor  # [N] int64, index into `objectives`
    label_sample: Tensor  # [N] int64, index into `keys`
    objectives: tuple[str, ...]
    keys: tuple[str, ...]
    coarse: Tensor | None = None
    """[R, T] int64, of a token that asks for a cell of a picture painted over a small one, the id of that one's code
    there, elsewhere -1; None if there are no such pictures."""
    skipped: tuple[Skipped, ...] = ()
    """Documents that could not be used when it was made."""

    @property
    def num_tokens(self) -> int:
        """Real tokens: padding does not count."""
        return int((self.sample >= 0).sum())


@dataclass(frozen=True)
class Part:
    """A segment of a sample, flattened: N tokens."""

    ids: np.ndarray  # [N] int64
    places: np.ndarray  # [N, 3] int32: order, row, column
    branch: int
    labels: np.ndarray | None = None  # [N] int64, of a target
    objective: str = ""
    weight: float = 0.0
    coarse: np.ndarray | None = None  # [N] int64, of a target painted over a small picture


class Run:
    """One sample, flattened, part after part."""

    def __init__(self, vocabulary: Vocabulary, patch_grid: PatchGrid) -> None:
        self.vocabulary = vocabulary
        self.patch_grid = patch_grid
        self.length = 0
        self.parts: list[Part] = []
        self.pictures: list[tuple[np.ndarray, range]] = []
        """Pixels, and the places of their patches in the run."""

    def _add(self, part: Part) -> None:
        self.parts.append(part)
        self.length += len(part.ids)

    def add_prefix(self, segment: Segment, order: int, branch: int) -> int:
        """Adds a segment that is read; returns the order that follows it."""
        if isinstance(segment, Text):
            count = len(segment.ids)
            self._add(Part(np.array(segment.ids, np.int64), line(order, count), branch))
            return order + count
        if isinstance(segment, Codes):
            self._add(Part(*self._codes(segment, order), branch))
            return order + 1
        height, width = segment.pixels.shape[:2]
        grid = self.patch_grid
        rows, columns = (height // grid, width // grid) if isinstance(grid, int) else grid(height, width)
        count = rows * columns
        self.pictures.append((segment.pixels, range(self.length, self.length + count)))
        self._add(Part(np.full(count, PAD, np.int64), plane(order, rows, columns), branch))
        return order + 1

    def add_target(self, branch: Branch, order: int, number: int) -> None:
        """Adds what branch `number` writes: it starts with a marker, and each token is the label of the one before."""
        target, coarse = branch.target, None
        if isinstance(target, Text):
            labels = read = np.array([*target.ids, END], np.int64)
            start, places = TEXT, line(order, len(labels))
        else:
            labels, places = self._codes(target, order)  # each token stands at the cell that it predicts
            start, there = IMAGE, target.grid != HIDDEN
            read = labels if target.blanks is None else np.where(target.blanks[there], MASK, labels)
            if target.coarse is not None:
                coarse = self.vocabulary.code_ids(target.coarse[there])
        ids = np.concatenate([[start], read[:-1]])
        self._add(Part(ids, places, number, labels, branch.objective, branch.weight, coarse))

    def _codes(self, segment: Codes, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and positions of the cells that are there."""
        codes = segment.grid.reshape(-1)
        shown = codes != HIDDEN
        places = plane(order, segment.grid.shape[0], segment.grid.shape[1])
        return self.vocabulary.code_ids(codes[shown]), places[shown]


def line(order: int, count: int) -> np.ndarray:
    """Positions [count, 3] int32 of a text."""
    places = np.zeros((count, 3), np.int32)
    places[:, 0] = range(order, order + count)
    return places


def plane(order: int, rows: int, columns: int) -> np.ndarray:
    """Positions [rows * columns, 3] int32 of a picture in reading order; rows and columns count from 1, since text lies
    at 0."""
    places = np.empty((rows, columns, 3), np.int32)
    places[..., 0] = order
    places[..., 1] = np.arange(1, rows + 1)[:, None]
    places[..., 2] = np.arange(1, columns + 1)
    return places.reshape(-1, 3)


def group_pictures(pictures: Sequence[tuple[np.ndarray, range]]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Pixels with the flat places of their patches -> groups of one size each, and all places in that order."""
    groups: dict[tuple[int, ...], list[tuple[np.ndarray, range]]] = {}
    for pixels, places in pictures:
        groups.setdefault(pixels.shape, []).append((pixels, places))
    stacked = tuple(torch.from_numpy(np.stack([pixels for pixels, _ in group])) for group in groups.values())
    spans = [torch.arange(span.start, span.stop) for group in groups.values() for _, span in group]
    return stacked, torch.cat(spans) if spans else torch.zeros(0, dtype=torch.int64)


def flatten(sample: Sample, vocabulary: Vocabulary, patch_grid: PatchGrid) -> Run:
    """A sample as one run of tokens: the shared prefix, then branch after branch."""
    run = Run(vocabulary, patch_grid)
    order = 0
    for segment in sample.prefix:
        order = run.add_prefix(segment, order, branch=0)
    if sample.prefix and not run.length:
        raise AssertionError("a shared prefix must hold at least one token")
    for number, branch in enumerate(sample.branches, start=1):
        place = order
        for segment in branch.prefix:
            place = run.add_prefix(segment, place, number)
        run.add_target(branch, place, number)
    return run


def assign_rows(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Best fit, longest first: which samples stand in which row. A longer sample gets a row of its own length."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # what is left in a row, and which row, in order
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fitting = bisect_left(room, (lengths[index], 0))
        if fitting < len(room):
            left, row = room.pop(fitting)
            rows[row].append(index)
        else:
            left, row = row_length, len(rows)
            rows.append([index])
        insort(room, (left - lengths[index], row))
    return rows


def choose_rows(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """The assignment that wastes least: rows of `row_length`, or somewhat shorter ones, whichever need fewer places."""
    longest = max(lengths)
    shortest = max(longest, row_length * 3 // 4)
    tried = [assign_rows(lengths, length) for length in range(row_length, shortest - 1, -8)]
    return min(
        tried or [assign_rows(lengths, row_length)],
        key=lambda rows: len(rows) * common_length(lengths, rows, row_length),
    )


def common_length(lengths: Sequence[int], rows: list[list[int]], row_length: int) -> int:
    """Tokens in every row of a batch: those of the fullest, up to a multiple of `LENGTH_MULTIPLE` where rows are
    packed."""
    fullest = max(sum(lengths[index] for index in row) for row in rows)
    return fullest + (-fullest % LENGTH_MULTIPLE if row_length else 0)


def pack(samples: Sequence[Sample], vocabulary: Vocabulary, patch_grid: PatchGrid, row_length: int) -> Batch:
    """Samples to a Batch. Rows are as long as the fullest of them needs; `row_length` = 0 gives each sample a row."""
    runs = [flatten(sample, vocabulary, patch_grid) for sample in samples]
    lengths = [run.length for run in runs]
    rows = choose_rows(lengths, row_length)
    length = common_length(lengths, rows, row_length)
    objectives = tuple(sorted({part.objective for run in runs for part in run.parts if part.objective}))
    number_of = {name: number for number, name in enumerate(objectives)}
    shape = (len(rows), length)
    ids = np.full(shape, PAD, np.int64)
    position = np.zeros((*shape, 3), np.int32)
    sample_of = np.full(shape, -1, np.int32)
    branch = np.zeros(shape, np.int32)
    causal = np.zeros(shape, bool)
    labels = np.full(shape, NO_LABEL, np.int64)
    weights = np.zeros(shape, np.float32)
    objective = np.zeros(shape, np.int64)
    key_of = np.zeros(shape, np.int64)
    coarse = np.full(shape, -1, np.int64)
    pictures: list[tuple[np.ndarray, range]] = []
    for r, row in enumerate(rows):
        start = 0
        for number, index in enumerate(row):
            run = runs[index]
            sample_of[r, start : start + run.length] = number
            offset = r * length + start
            pictures += [(pixels, range(p.start + offset, p.stop + offset)) for pixels, p in run.pictures]
            for part in run.parts:
                span = slice(start, start + len(part.ids))
                ids[r, span] = part.ids
                position[r, span] = part.places
                branch[r, span] = part.branch
                if part.labels is not None:
                    causal[r, span] = True
                    labels[r, span] = part.labels
                    weights[r, span] = part.weight
                    objective[r, span] = number_of.get(part.objective, 0)  # an idle batch has none
                    key_of[r, span] = index
                if part.coarse is not None:
                    coarse[r, span] = part.coarse
                start = span.stop
    groups, patch_at = group_pictures(pictures)
    label_at = np.flatnonzero(labels.reshape(-1) != NO_LABEL)

    def chosen(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.reshape(-1)[label_at])

    return Batch(
        ids=torch.from_numpy(ids),
        position=torch.from_numpy(position),
        sample=torch.from_numpy(sample_of),
        branch=torch.from_numpy(branch),
        causal=torch.from_numpy(causal),
        pictures=groups,
        patch_at=patch_at,
        label_at=torch.from_numpy(label_at),
        labels=chosen(labels),
        weights=chosen(weights),
        objective=chosen(objective),
        label_sample=chosen(key_of),
        objectives=objectives,
        keys=tuple(sample.key for sample in samples),
        coarse=torch.from_numpy(coarse) if (coarse >= 0).any() else None,
    )
