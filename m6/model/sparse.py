"""Sparse attention among the codes of a picture that is painted: one rule, and what training and decoding make of it.

A painted token asks for a cell of the grid and shows the one before it in reading order; the first shows none, it is
the start mark. A code that asks for cell (r, c) sees, beside the whole prefix and the start mark, what shows a cell
(r', c') earlier in reading order with

    window           r - r' <= rows, and |c - c'| <= columns
    row_column       r' = r, or c' = c
    window_strided   those of the window, or r' and c' both multiples of stride (rows and columns count from 1)

which is what Sparse Transformers (arXiv 1904.10509) and Image Transformer (arXiv 1802.05751) do, told by cells, not by
places in the sequence: a picture may have any height and width, and a region of it may be painted alone.

Training gathers: queries in tiles, each with the keys that any of its queries sees, so that cost grows with the codes,
not with their square. Decoding keeps a key in a slot of the cache until the last code that sees it has been painted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from m6.model.config import CodeAttentionConfig

TILES = ((8, 8), (4, 8), (4, 4), (4, 16), (8, 16))
"""Rows and columns of query tiles that are tried."""
KEY_COST = 32
"""Pairs of a query and a key that take as long as to gather a key for a tile."""
WORTH = 0.75
"""Share of the dense work above which dense attention is taken instead."""
FULL = CodeAttentionConfig()


def reaches(codes: CodeAttentionConfig, row: Tensor, column: Tensor, other_row: Tensor, other_column: Tensor) -> Tensor:
    """Whether a code that asks for the cell (row, column) may see what shows the cell (other_row, other_column): bool
    of their common shape. Order is not looked at. The cell (0, 0) is none: whatever is no painted code, or shows none,
    is not restricted. Numbers of one place each, since a kernel of FlexAttention can look up nothing else."""
    free = (row == 0) | (other_row == 0)
    if codes.pattern == "full":
        return free | True
    if codes.pattern == "row_column":
        return free | (row == other_row) | (column == other_column)
    near = (row - other_row <= codes.rows) & ((column - other_column).abs() <= codes.columns)
    if codes.pattern == "window_strided":
        near = near | ((other_row % codes.stride == 0) & (other_column % codes.stride == 0))
    return free | near


def cells(sample: Tensor, branch: Tensor, causal: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """The cells [B, T, 2] that tokens ask for and show, (0, 0) for none. position: [B, T, 3]; others as in `masks`."""
    asked = position[..., 1:] * causal[..., None]  # texts lie at (0, 0)
    follows = (sample[:, 1:] == sample[:, :-1]) & (branch[:, 1:] == branch[:, :-1]) & causal[:, 1:]
    return asked, F.pad(asked[:, :-1] * follows[..., None], (0, 0, 1, 0))


@lru_cache(maxsize=64)
def grid(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """All cells in reading order."""
    return tuple((row, column) for row in range(1, height + 1) for column in range(1, width + 1))


def reach(codes: CodeAttentionConfig, places: tuple[tuple[int, int], ...]) -> Tensor:
    """The rule among N tokens that ask for these cells in this order: [N, N] bool, query by key."""
    asked = torch.tensor(places)
    shown = F.pad(asked[:-1], (0, 0, 1, 0))
    return reaches(codes, *asked[:, None].unbind(-1), *shown[None].unbind(-1)).tril()


@lru_cache(maxsize=256)
def pairs(codes: CodeAttentionConfig, places: tuple[tuple[int, int], ...]) -> int:
    """How many pairs of a query and a key that is."""
    return len(places) * (len(places) + 1) // 2 if codes.pattern == "full" else int(reach(codes, places).sum())


@dataclass(frozen=True)
class Tiles:
    """Queries in G tiles of Q with the L keys that a tile needs, both filled up where a tile has fewer: places among N
    painted tokens, or in a piece that begins with a prefix."""

    queries: Tensor  # [G, Q] int64
    keys: Tensor  # [G, L] int64
    bias: Tensor  # [G, 1, Q, L] float32: 0, or minus infinity where a query does not see a key
    order: Tensor  # [N] int64: where in [G * Q] each painted token is found
    prefix: int = 0

    @property
    def cost(self) -> int:
        """Work, in pairs of a query and a key."""
        return self.bias.numel() + KEY_COST * self.keys.numel()

    def behind(self, prefix: int) -> Tiles:
        """The same tokens behind a prefix, which all of them see."""
        seen = torch.arange(prefix).expand(len(self.keys), -1)
        return Tiles(
            prefix + self.queries, torch.cat([seen, prefix + self.keys], 1), F.pad(self.bias, (prefix, 0)), self.order,
            prefix,
        )  # fmt: skip


@lru_cache(maxsize=32)
def tiles(codes: CodeAttentionConfig, places: tuple[tuple[int, int], ...]) -> Tiles | None:
    """The cheapest tiles for tokens that ask for these cells; None where dense attention is as cheap."""
    if codes.pattern == "full":
        return None
    seen = reach(codes, places)
    best = min((_tiled(seen, places, *shape) for shape in TILES), key=lambda found: found.cost)
    return best if best.cost < WORTH * len(places) ** 2 else None


def _tiled(seen: Tensor, places: tuple[tuple[int, int], ...], rows: int, columns: int) -> Tiles:
    groups: dict[tuple[int, int], list[int]] = {}
    for place, (row, column) in enumerate(places):
        groups.setdefault(((row - 1) // rows, (column - 1) // columns), []).append(place)
    members = [torch.tensor(group) for group in groups.values()]
    needed = [seen[group].any(0).nonzero()[:, 0] for group in members]
    queries, keys = _filled(members), _filled(needed)
    bias = torch.zeros(len(members), 1, queries.shape[1], keys.shape[1])
    for tile, (group, own) in enumerate(zip(queries, needed, strict=True)):
        bias[tile, 0, :, : len(own)].masked_fill_(~seen[group][:, own], -torch.inf)
        bias[tile, 0, :, len(own) :] = -torch.inf
    order = torch.empty(len(places), dtype=torch.int64)
    for tile, group in enumerate(members):
        order[group] = tile * queries.shape[1] + torch.arange(len(group))
    return Tiles(queries, keys, bias, order)


def _filled(lists: list[Tensor]) -> Tensor:
    """One after the other, each filled up with its first entry to the length of the longest."""
    longest = max(map(len, lists))
    return torch.stack([torch.cat([one, one[:1].expand(longest - len(one))]) for one in lists])


@dataclass(frozen=True)
class Slots:
    """Where the keys of N painted tokens stand in a cache of `room` slots, and which of them each token sees."""

    write: tuple[int, ...]  # N slots
    read: tuple[Tensor, ...]  # N times the slots [M] that a token sees, its own key among them if it sees that
    room: int


@lru_cache(maxsize=32)
def slots(codes: CodeAttentionConfig, places: tuple[tuple[int, int], ...]) -> Slots:
    """A key has a slot from when it is written until the last token that sees it has read, and its slot is then the
    next one's: so many slots as there are keys still reachable, which for a window are some rows."""
    seen = reach(codes, places)
    count = len(places)
    backwards = seen.flip(0).to(torch.uint8).argmax(0)  # from the end, the first query that sees a key
    last = torch.where(seen.any(0), count - 1 - backwards, -1).tolist()
    freed: list[list[int]] = [[] for _ in places]
    free: list[int] = []
    write: list[int] = []
    room = 0
    for place in range(count):
        if not free:
            free.append(room)
            room += 1
        write.append(free.pop())
        freed[max(last[place], place)].append(write[place])
        free += freed[place]
    read = torch.tensor(write)[seen.nonzero()[:, 1]].split(seen.sum(1).tolist())
    return Slots(tuple(write), tuple(read), room)
