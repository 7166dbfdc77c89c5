"""Rows of the transformer that are written to at once, each as far as it is: what a step of the scheduler computes.

    prefix -> keys and values -> a free slot;  then one token a slot and step, whatever each slot is at

A step computes the first rows alone, as far as they are used, in groups of `ROWS`. So few that a product would take
another way, and add a row's numbers up in another order, it never has: a request gives the same answer, whatever its
neighbours do and however many there are. Keys are read in stretches of `STRETCH`, whose tail a mask hides.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from m6.data.sample import Codes, Picture, Text
from m6.generate.engine import Engine
from m6.generate.prefill import Prefill, Prefix
from m6.model.attention import Cache
from m6.model.config import CodeAttentionConfig
from m6.model.sparse import reaches
from m6.serve.step import make_step

STRETCH = 64
ROWS = 4
"""Rows that a step computes, or a multiple: libraries multiply fewer vectors than that in ways of their own."""


@dataclass
class Read:
    """A prefix that was read: keys and values [H, L, K] of each layer, and the order of what follows."""

    layers: list[tuple[Tensor, Tensor]]
    order: int

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[1] if self.layers else 0


class Slots:
    """`count` rows of at most `capacity` tokens."""

    def __init__(self, engine: Engine, count: int, capacity: int, kept: int = 0) -> None:
        """kept: pictures of which keys and values are kept for the next request about one of them."""
        self.engine, self.count, self.capacity = engine, count, _groups(capacity, STRETCH)
        rows = _groups(count, ROWS)
        self.lengths = [0] * rows
        self.used = [False] * rows
        self.caches = engine.model.make_caches(rows, self.capacity)
        for cache in self.caches:  # what is hidden is multiplied by nothing, but has to be a number
            cache.keys.zero_()
            cache.values.zero_()
        self.prefix = [0] * rows
        self.cells = torch.zeros(rows, self.capacity, 2, dtype=torch.long)
        """Where the codes of a slot that paints stand, for models whose codes see some of one another only."""
        self._step = make_step(engine.model, self.caches)
        self._kept, self._most = OrderedDict[bytes, Read](), kept

    @property
    def bytes(self) -> int:
        """Memory of all keys and values."""
        return sum(2 * cache.keys.numel() * cache.keys.element_size() for cache in self.caches)

    @torch.inference_mode()
    def read(self, prefix: Prefix) -> Read:
        """What the model makes of a prefix. Pictures at its start do not see what is behind them, so they are read
        once, however many questions are asked about them."""
        shared = tuple(segment for segment in prefix[:1] if not isinstance(segment, Text))
        own = prefix[len(shared) :]
        if not shared or any(not isinstance(segment, Text) for segment in own):
            return _read(self.engine, prefix)
        name = _digest(shared[0])
        seen = self._kept.pop(name, None) or _read(self.engine, shared)
        if self._most:
            self._kept[name] = seen
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return _read_on(self.engine, seen, [token for segment in own for token in getattr(segment, "ids", ())])

    def fill(self, slot: int, read: Read) -> None:
        """Puts a prefix into a slot, over whatever was there."""
        for cache, (keys, values) in zip(self.caches, read.layers, strict=True):
            cache.keys[slot, :, : read.length], cache.values[slot, :, : read.length] = keys, values
        self.lengths[slot] = self.prefix[slot] = read.length
        self.used[slot] = True

    @property
    def rows(self) -> int:
        """How many a step computes, up to the last that is used."""
        return _groups(max((slot + 1 for slot, used in enumerate(self.used) if used), default=0), ROWS)

    @torch.inference_mode()
    def step(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Hidden states [S, D] after one more token [S] of each of the first S = `rows` slots, at position [S, 3]; of
        free slots, anything."""
        rows, heads = len(tokens), self.engine.model.config.num_heads
        lengths = self.lengths[:rows]
        span = min(_groups(max(lengths) + 1, STRETCH), self.capacity)
        mask = self._seen(lengths, position[:, 1:], span)
        places = [
            (slot * heads + head) * self.capacity + length
            for slot, length in enumerate(lengths)
            for head in range(heads)
        ]
        cached = [whole[:rows] for cache in self.caches for whole in (cache.keys, cache.values)]
        given = (each.to(self.engine.device) for each in (tokens, position, mask, torch.tensor(places)))
        tokens, position, mask, at = given
        hidden = self._step(tokens, position, mask, at, cached)
        self.lengths[:rows] = [length + used for length, used in zip(lengths, self.used, strict=False)]
        return hidden

    @torch.inference_mode()
    def move(self, slot: int, to: int) -> None:
        """Puts what a slot has into a free one, and frees it."""
        length = self.lengths[slot]
        for cache in self.caches:
            for whole in (cache.keys, cache.values):
                whole[to, :, :length] = whole[slot, :, :length]
        self.cells[to] = self.cells[slot]
        self.lengths[to], self.prefix[to], self.used[to] = length, self.prefix[slot], True
        self.free(slot)

    def free(self, slot: int) -> None:
        """Nobody writes to a slot any more; it stays at its first place."""
        self.lengths[slot] = 0
        self.used[slot] = False

    def _seen(self, lengths: list[int], cells: Tensor, span: int) -> Tensor:
        """What each of the first slots sees, [S, span] bool, with a token at each of these cells [S, 2] behind it."""
        rows, place, end = len(lengths), torch.arange(span), torch.tensor(lengths)
        seen = place <= end[:, None]
        codes: CodeAttentionConfig = self.engine.model.config.code_attention
        if codes.pattern != "full":
            self.cells[torch.arange(rows), end] = cells
            before = self.cells[:rows]
            shown = torch.cat([before[:, :1] * 0, before[:, : span - 1]], 1)  # a token shows the cell before
            behind = place > torch.tensor(self.prefix[:rows])[:, None]
            painting = cells[:, :1] > 0
            near = reaches(codes, *cells[:, None].unbind(-1), *shown.unbind(-1))
            seen &= near | ~behind | ~painting
        return seen


def _groups(count: int, size: int) -> int:
    """The least multiple of `size` that is no less."""
    return -(-count // size) * size


def _read(engine: Engine, prefix: Prefix) -> Read:
    filled = Prefill(engine, [prefix], 0)
    layers = [(cache.keys[0, :, : filled.length], cache.values[0, :, : filled.length]) for cache in filled.caches]
    return Read(layers, int(filled.order[0]))


def _read_on(engine: Engine, seen: Read, ids: list[int]) -> Read:
    """A prefix of which the start has been read, with a text behind it that sees itself and that start."""
    if not ids:
        return seen
    caches = []
    for keys, values in seen.layers:
        heads, length, size = keys.shape
        cache = Cache(
            keys.new_empty(1, heads, length + len(ids), size), keys.new_empty(1, heads, length + len(ids), size)
        )
        cache.append(keys[None], values[None])
        caches.append(cache)
    order = seen.order + torch.arange(len(ids))
    position = torch.stack([order, torch.zeros_like(order), torch.zeros_like(order)], -1)[None]
    engine.remember(torch.tensor([ids]), position, None, caches=caches)
    return Read([(cache.keys[0], cache.values[0]) for cache in caches], seen.order + len(ids))


def _digest(segment: Picture | Codes | Text) -> bytes:
    values = segment.pixels if isinstance(segment, Picture) else getattr(segment, "grid", None)
    assert values is not None
    return hashlib.sha256(f"{type(segment).__name__} {values.shape}".encode() + values.tobytes()).digest()
