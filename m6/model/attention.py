"""Self-attention with rotary positions on three axes, and the cache that decoding needs.

Every token stands at a point (order, row, column). Text lies on the first axis only, row = column = 0; a picture takes
one step of order and spreads its patches or codes over rows and columns, which count from 1. The three axes share the
rotary pairs of a head: half for order, a quarter each for row and column. Seen from a text token (row 0, column 0) the
rotation of a picture token tells its absolute place, seen from another picture token their offset: so one mechanism
gives text its order, pictures their plane, and words like "left" something to hold on to. A token of a picture being
painted stands at the cell that it predicts, not at the one it shows, so that position says what is asked for.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from m6.model.config import ModelConfig
from m6.model.masks import Mask, PieceMask
from m6.model.sparse import Slots, Tiles

PLANE_BASE = 100.0  # rows and columns run to some tens, far fewer than words


@dataclass(frozen=True)
class Painted:
    """Places in the caches of codes that are painted behind a prefix; the same for all layers."""

    write: list[int]
    read: list[Tensor]
    """Those of the prefix too."""

    @classmethod
    def behind(cls, prefix: int, slots: Slots, device: torch.device) -> Painted:
        """Of codes behind `prefix` tokens, for caches on that device."""
        first = torch.arange(prefix)
        read = [torch.cat([first, prefix + seen]).to(device) for seen in slots.read]
        return cls([prefix + slot for slot in slots.write], read)


@dataclass
class Cache:
    """Keys and values of one layer, preallocated: [B, H, C, K] each, of which `length` are filled."""

    keys: Tensor
    values: Tensor
    length: int = 0
    behind: Painted | None = None
    """Where codes under a sparse rule stand, if such are painted now; `length` then counts them alone."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds [B, H, T, K] new keys and values; returns all that are filled, or those that the token may see."""
        if self.behind is not None:
            slot, seen = self.behind.write[self.length], self.behind.read[self.length]
            self.length += 1
            self.keys[:, :, slot] = key[:, :, 0]
            self.values[:, :, slot] = value[:, :, 0]
            keys, values = (x.permute(2, 0, 1, 3).index_select(0, seen) for x in (self.keys, self.values))
            return keys.permute(1, 2, 0, 3), values.permute(1, 2, 0, 3)
        end = self.length + key.shape[2]
        self.keys[:, :, self.length : end] = key
        self.values[:, :, self.length : end] = value
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


@dataclass
class SlotCache:
    """Keys and values of one layer, [S, H, C, K] each and contiguous, of rows that are filled unlike far."""

    keys: Tensor
    values: Tensor
    places: Tensor
    """[S * H] int64: where the next keys of each row and head go, in the flat [S * H * C]; the same for all layers."""
    span: int
    """Places that are read, at least one more than the longest row has."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Puts [S, H, 1, K] new keys and values behind each row; returns the first `span` places of all."""
        for whole, new in ((self.keys, key), (self.values, value)):
            whole.view(-1, whole.shape[-1]).index_copy_(0, self.places, new.reshape(-1, whole.shape[-1]))
        return self.keys[:, :, : self.span], self.values[:, :, : self.span]


def rotary(position: Tensor, head_size: int, base: float) -> Tensor:
    """The rotation of every token, as complex numbers of length 1.

    position: [B, T, 3] int (order, row, column). Returns complex64 [B, T, K / 2].
    """
    pairs = head_size // 2
    plane = pairs // 4
    angles = []
    for axis, (count, axis_base) in enumerate([(pairs - 2 * plane, base), (plane, PLANE_BASE), (plane, PLANE_BASE)]):
        exponent = torch.arange(count, device=position.device, dtype=torch.float32) / max(count, 1)
        angles.append(position[..., axis, None].float() * axis_base**-exponent)
    angle = torch.cat(angles, dim=-1)
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turns the pairs (2 i, 2 i + 1) of x [B, T, .., K] by rotation [B, T, K / 2]."""
    rotation = rotation.view(*rotation.shape[:2], *([1] * (x.dim() - 3)), rotation.shape[-1])
    pairs = x.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # which makes no kernels of complex numbers
        cosine, sine = torch.view_as_real(rotation).unbind(-1)
        even, odd = pairs.unbind(-1)
        return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2).type_as(x)
    return torch.view_as_real(torch.view_as_complex(pairs) * rotation).flatten(-2).type_as(x)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Mask | None) -> Tensor:
    """Scaled dot-product attention [B, H, T, K] under any form of mask; None lets every query see every key."""
    if isinstance(mask, PieceMask):
        return attend_in_pieces(query, key, value, mask)
    if isinstance(mask, BlockMask):
        alone = query.is_cuda and not torch.compiler.is_compiling()
        attention = _compiled_flex_attention() if alone else flex_attention
        mixed: Tensor = attention(query, key, value, block_mask=mask)
        return mixed
    if mask is not None and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        # The fused kernel of the CPU leaves the matrix units idle on its way back: written out it takes half the time.
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + mask.to(query.dtype)
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


@functools.cache
def _compiled_flex_attention() -> Any:
    """Without being compiled it would make the whole matrix of scores."""
    return torch.compile(flex_attention, dynamic=True)


def attend_in_pieces(query: Tensor, key: Tensor, value: Tensor, mask: PieceMask) -> Tensor:
    """The same piece by piece. Lengths differ from batch to batch: whoever compiles the model leaves it out, which is
    not done here since `torch.compiler` takes a second to load."""
    batch, heads, length, size = query.shape
    ends_met = [x.transpose(1, 2).reshape(1, -1, heads, size).transpose(1, 2) for x in (query, key, value)]
    pieces = zip(*(x.split(mask.lengths, dim=2) for x in ends_met), mask.masks, strict=True)
    mixed = torch.cat([_attend_in_piece(*piece).transpose(1, 2) for piece in pieces], dim=1)
    return mixed.view(batch, length, heads, size).transpose(1, 2)


def _attend_in_piece(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | Tiles) -> Tensor:
    """One piece [1, H, L, K]. Of one in tiles, the prefix sees itself, and is seen whole by every code."""
    if isinstance(mask, Tensor):
        return attend(query, key, value, mask)
    codes = _attend_in_tiles(query[0], key[0], value[0], mask)[None]
    if not mask.prefix:
        return codes
    own_query, own_key, own_value = (x[:, :, : mask.prefix] for x in (query, key, value))
    return torch.cat([attend(own_query, own_key, own_value, None), codes], 2)


def _attend_in_tiles(query: Tensor, key: Tensor, value: Tensor, tiles: Tiles) -> Tensor:
    """Of a piece [H, L, K] what its N painted codes get: [H, N, K]."""
    heads, _, size = query.shape

    def gathered(x: Tensor, places: Tensor) -> Tensor:
        """[H, L, K] -> [G, H, places, K]. As an embedding, since the way back of that adds rows up fastest."""
        rows = F.embedding(places, x.transpose(0, 1).reshape(-1, heads * size))
        return rows.view(*places.shape, heads, size).transpose(1, 2)

    mixed = attend(gathered(query, tiles.queries), gathered(key, tiles.keys), gathered(value, tiles.keys), tiles.bias)
    return mixed.transpose(1, 2).reshape(-1, heads, size)[tiles.order].transpose(0, 1)


class Attention(nn.Module):
    """Multi-head self-attention without biases; queries and keys are normalised, which keeps training steady."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.head_size = config.hidden_size // config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rotation: Tensor, mask: Mask | None, cache: Cache | SlotCache | None) -> Tensor:
        """x: [B, T, D]; rotation: from `rotary`; mask: over T queries and all keys, cached ones first."""
        query, key, value = self._projected(x, rotation)
        if cache is not None:
            key, value = cache.append(key, value)
        mixed = attend(query, key, value, mask)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))

    def remember(self, x: Tensor, rotation: Tensor, cache: Cache | SlotCache) -> None:
        """Fills the cache alone: all that is needed of the last block where nobody reads its states."""
        _, key, value = self._projected(x, rotation)
        cache.append(key, value)

    def _projected(self, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, H, T, K] of x [B, T, D]."""
        batch, length, width = x.shape
        query_key, value = self.qkv(x).split([2 * width, width], dim=-1)
        query_key = query_key.reshape(batch, length, 2, self.num_heads, self.head_size)
        # Autocast of CUDA norms in float32, and FlexAttention takes all three as they are.
        query_key = rotate(F.layer_norm(query_key, (self.head_size,)), rotation).type_as(value)
        query, key = query_key.permute(2, 0, 3, 1, 4)
        return query, key, value.view(batch, length, self.num_heads, self.head_size).transpose(1, 2)
