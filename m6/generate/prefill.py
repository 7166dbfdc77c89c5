"""Prefixes read into caches once; then tokens behind them, one a request and step, or several side by side.

Side by side, all that is written to one request stands in one row of the caches, behind its only prefix, and a mask
tells each beam which of it is its own. When beams change places, only the mask does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from m6.data.packing import Run, group_pictures
from m6.data.sample import Segment, Text
from m6.model.attention import Cache, Painted
from m6.model.sparse import reaches, slots

if TYPE_CHECKING:
    from m6.generate.engine import Engine

Prefix = tuple[Segment, ...]
CROWDED = 0.8
"""Share of rows that are still worked on below which the others are taken out of the caches."""


class Prefill:
    """Prefixes of B requests, aligned at their ends; then one token a row and step.

    Pictures that a prefix begins with are what branches share in training (`m6.model.masks`), so they do not see the
    text behind them; all else of a prefix sees all of it.
    """

    def __init__(
        self, engine: Engine, prefixes: Sequence[Prefix], room: int, places: tuple[tuple[int, int], ...] = ()
    ) -> None:
        """`room`: tokens behind the prefix. `places`: cells that are painted behind it, where the model's codes see
        some of each other only; so many keys are kept then as are still needed."""
        self.engine, self.model = engine, engine.model
        painted = slots(engine.model.config.code_attention, places) if places else None
        room = painted.room if painted else room
        runs = []
        orders = []
        for prefix in prefixes:
            run = Run(engine.vocabulary, self.model.config.patch_grid)
            order, own = 0, 0
            for segment in prefix:
                own = 1 if isinstance(segment, Text) else own
                order = run.add_prefix(segment, order, own)
            runs.append(run)
            orders.append(order)
        self.order = torch.tensor(orders)
        """Where the target of each row starts."""
        rows, length = len(runs), max(run.length for run in runs)
        self.length = length
        self.padded = any(run.length < length for run in runs)
        self.visible = torch.ones(rows, 1, 1, length + room, dtype=torch.bool, device=engine.device)
        self.caches: list[Cache] = self.model.make_caches(rows, length + room, bool(painted))
        self.cells = torch.zeros(0, 2, dtype=torch.int64)
        """Where tokens of `several` stand."""
        ids = torch.zeros(rows, length, dtype=torch.long)
        position = torch.zeros(rows, length, 3, dtype=torch.int)
        branch = torch.zeros(rows, length, dtype=torch.int)
        pictures = []
        for row, run in enumerate(runs):
            pad = start = length - run.length
            self.visible[row, ..., :pad] = False
            for part in run.parts:
                span = slice(start, start + len(part.ids))
                ids[row, span] = torch.from_numpy(part.ids)
                position[row, span] = torch.from_numpy(part.places)
                branch[row, span] = part.branch
                start = span.stop
            offset = row * length + pad
            pictures += [(pixels, range(at.start + offset, at.stop + offset)) for pixels, at in run.pictures]
        if length:
            shared = (branch[:, None, :, None] == 1) | (branch[:, None, None, :] == 0)
            seen = self.visible[..., :length].cpu() & shared
            if self.padded:  # it looks at itself alone: a query that may look nowhere would give no number
                seen |= torch.eye(length, dtype=torch.bool)
            mask = None if bool(seen.all()) else seen
            self.engine.remember(ids, position, mask, *group_pictures(pictures), caches=self.caches)
        if painted:
            behind = Painted.behind(length, painted, engine.device)
            for cache in self.caches:
                cache.length, cache.behind = 0, behind

    def step(self, tokens: Tensor, order: Tensor, row: int, column: int, coarse: Tensor | None = None) -> Tensor:
        """Hidden states [B, D] after one more token [B] of each row, which stands at (order, row, column). coarse:
        [B, 1], what a small picture shows there, if it is painted over."""
        place = torch.stack([order, torch.full_like(order, row), torch.full_like(order, column)], -1)[:, None]
        cache = self.caches[0]
        mask = None
        if self.padded:
            seen = cache.behind.read[cache.length] if cache.behind else slice(cache.length + 1)
            mask = self.visible[..., seen]
        return self.engine.hidden(tokens[:, None], place, mask, caches=self.caches, coarse=coarse)[:, 0]

    def several(self, tokens: Tensor, cells: Tensor, coarse: Tensor | None = None) -> Tensor:
        """Hidden states [B, T, D] after T more tokens [B, T] of each row, of one picture, which stand at the cells
        [T, 2] (row, column); each sees those before it. coarse: [B, T], as for `step`."""
        rows, count = tokens.shape
        order = self.order[:, None, None].expand(-1, count, -1)
        place = torch.cat([order, cells.expand(rows, -1, -1)], -1)
        start = self.caches[0].length
        codes = self.model.config.code_attention
        allowed = torch.ones(count, start + count, dtype=torch.bool).tril(start)
        if codes.pattern != "full":
            shown = torch.cat([cells.new_zeros(self.length + 1, 2), self.cells, cells[:-1]])[: start + count]
            allowed &= reaches(codes, *cells[:, None].unbind(-1), *shown.unbind(-1))
            self.cells = torch.cat([self.cells, cells])
        mask = allowed.to(self.visible.device) & self.visible[..., : start + count]
        return self.engine.hidden(tokens, place, mask, caches=self.caches, coarse=coarse)

    def forget(self, count: int) -> None:
        """Takes the last `count` tokens of `several` back."""
        for cache in self.caches:
            cache.length -= count
        self.cells = self.cells[: len(self.cells) - count]

    def keep(self, rows: Tensor) -> None:
        """Takes all other rows out. rows: [N] int64, in order."""
        self.order, self.visible = self.order[rows], self.visible[rows]
        for cache in self.caches:
            for whole in (cache.keys, cache.values):
                whole[: len(rows), :, : cache.length] = whole[rows, :, : cache.length]
            cache.keys, cache.values = cache.keys[: len(rows)], cache.values[: len(rows)]


class SideBySide:
    """B requests with K beams each, behind one prefix a request."""

    def __init__(self, engine: Engine, prefixes: Sequence[Prefix], beams: int, most: int) -> None:
        self.prefill = Prefill(engine, prefixes, beams * most)
        self.beams = beams
        hidden = ~self.prefill.visible.expand(-1, -1, beams, -1)
        self.mask = torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, -torch.inf)
        """[B, 1, K, C] float32: 0 where a beam sees a place of the caches, else minus infinity."""
        self.mask[..., self.prefill.length :] = -torch.inf

    def read(self, tokens: Tensor, step: int) -> Tensor:
        """Hidden states [B, K, D] after the token [B, K] number `step` of every beam; or [B, 1, D] of [B, 1], which all
        beams then have."""
        start, count = self.prefill.caches[0].length, tokens.shape[1]
        if count == 1:
            self.mask[..., start] = 0.0
        else:
            self.mask[:, 0, range(count), range(start, start + count)] = 0.0
        order = self.prefill.order + step
        place = torch.stack([order, torch.zeros_like(order), torch.zeros_like(order)], -1)
        mask = self.mask[:, :, :count, : start + count]
        place = place[:, None].expand(-1, count, -1)
        return self.prefill.engine.hidden(tokens, place, mask, caches=self.prefill.caches)

    def follow(self, parents: Tensor) -> None:
        """Makes beam k of a request go on from what beam parents[b, k] has seen; parents: [B, K]."""
        own = self.mask[..., self.prefill.length : self.prefill.caches[0].length]
        beams = parents.to(own.device)[:, None, :, None]
        own.copy_(own.gather(2, beams.expand(-1, 1, -1, own.shape[-1])))

    def keep(self, rows: Tensor) -> None:
        """Takes all other requests out. rows: [N] int64, in order."""
        self.prefill.keep(rows)
        self.mask = self.mask[rows]
