"""The transformer: one stack for text and pictures, prefix and target (paper section 3.2).

Token ids and patches become vectors of one sequence; pre-norm blocks of attention and feed-forward pass over it under
the partial mask; the output layer shares its weights with the embedding. The model knows no trainer, no loss weights
and no device mesh: it maps ids to hidden states, and hidden states to logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.model.attention import Attention, Cache, SlotCache, rotary
from m6.model.config import ModelConfig
from m6.model.experts import MixtureOfExperts, Routing
from m6.model.initial import initialise
from m6.model.masks import Mask
from m6.model.vision import PatchEmbedding


class FeedForward(nn.Module):
    """[.., D] -> [.., F] -> [.., D] with GELU between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.down = nn.Linear(config.ffn_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """Attention and feed-forward or experts, each behind a norm and beside a residual path."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.attention = Attention(config)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.ffn = MixtureOfExperts(config) if config.has_experts(layer) else FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        mask: Mask | None,
        cache: Cache | SlotCache | None,
        at: Tensor | None = None,
        real: Tensor | None = None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D], or [N, D] of the flat places `at` [N] alone, where nothing else is needed. real:
        [B, T] bool, what is not padding; only experts ask for it."""
        if cache is not None and at is not None and not len(at):
            self.attention.remember(self.attention_norm(x), rotation, cache)
            return x.new_empty(at.shape[0], x.shape[-1])
        x = x + self.attention(self.attention_norm(x), rotation, mask, cache)
        if at is not None:
            x = x.flatten(0, 1).index_select(0, at.clamp(min=0))
            real = real.flatten()[at] & (at >= 0) if real is not None else None
        normed = self.ffn_norm(x)
        return x + (self.ffn(normed, real) if isinstance(self.ffn, MixtureOfExperts) else self.ffn(normed))


class Transformer(nn.Module):
    """M6 of any size. `vocab_size` counts text entries and image codes together; `backbone` is the image tokenizer's
    encoder, for the stem of that name. The stem "crops" reads a vision model from its own folder.

    Initial weights are those of `seed`, which is drawn from PyTorch's. Made under `torch.device("meta")`, it has none
    until `initial.materialise` gives them.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.seed = int(torch.randint(2**62, (), device="cpu"))  # before others draw, who do not on "meta"
        self.embedding = nn.Embedding(vocab_size, config.hidden_size)
        self.row_embedding = nn.Embedding(config.max_side + 1, config.hidden_size)
        self.column_embedding = nn.Embedding(config.max_side + 1, config.hidden_size)
        self.patch_embedding = PatchEmbedding(config, backbone)
        width = config.hidden_size
        self.coarse_projection = nn.Linear(width, width, bias=False) if config.coarse_codes else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = nn.LayerNorm(config.hidden_size, bias=False)
        initialise(self, config, self.seed)

    def forward(
        self,
        ids: Tensor,
        position: Tensor,
        mask: Mask | None,
        pictures: Sequence[Tensor] = (),
        patch_at: Tensor | None = None,
        caches: Sequence[Cache | SlotCache] | None = None,
        at: Tensor | None = None,
        real: Tensor | None = None,
        coarse: Tensor | None = None,
    ) -> Tensor:
        """Hidden states [B, T, D] after the last norm; with `at` [N], flat places in [B * T], only theirs: [N, D];
        -1 is filling, whose states mean nothing. With caches and nothing in `at` they are filled, and no more is done.

        ids: [B, T] int; position: [B, T, 3] int (order, row, column); mask: see `masks`.
        pictures: groups [N, S, S', 3] uint8 of one size each; their P patches together, in reading order, are written
        over the embeddings at the flat places patch_at [P] in [B * T]. caches: one a layer, filled in place.
        real: [B, T] bool, false for padding, which then takes no expert's time and place.
        coarse: [B, T] int, -1 for none, see `Batch`; only with `config.coarse_codes`.
        """
        x = self.embedding(ids)
        if patch_at is not None and len(patch_at):
            patches = torch.cat([self.patch_embedding(group) for group in pictures])
            x = x.reshape(-1, x.shape[-1]).index_copy(0, patch_at, patches).view_as(x)
        x = x + self.row_embedding(position[..., 1]) + self.column_embedding(position[..., 2])
        if coarse is not None:
            assert self.coarse_projection is not None, "a model without coarse_codes"
            beneath = self.coarse_projection(self.embedding(coarse.clamp(min=0)))
            x = x + beneath.masked_fill((coarse < 0)[..., None], 0.0)
        rotation = rotary(position, self.config.hidden_size // self.config.num_heads, self.config.rope_base)
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            x = block(x, rotation, mask, caches[index] if caches else None, at if index == last else None, real)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """[.., D] -> [.., V]."""
        return F.linear(hidden, self.embedding.weight)

    def occasional(self) -> list[nn.Parameter]:
        """The trained parameters that only some batches use."""
        parts = (self.patch_embedding, self.coarse_projection)
        return [p for part in parts if part is not None for p in part.parameters() if p.requires_grad]

    def experts(self) -> dict[int, MixtureOfExperts]:
        """The layers with experts, by index."""
        found = {index: block.ffn for index, block in enumerate(self.blocks)}
        return {index: ffn for index, ffn in found.items() if isinstance(ffn, MixtureOfExperts)}

    def routings(self) -> dict[int, Routing]:
        """What the last forward did in each layer with experts, by index; see `Routing`."""
        return {index: layer.routing for index, layer in self.experts().items() if layer.routing is not None}

    def make_caches(self, batch: int, capacity: int, by_place: bool = False) -> list[Cache]:
        """Empty caches for `batch` rows of at most `capacity` tokens; `by_place`, what stands at one place lies
        together in memory, which makes it quick to take out some places alone."""
        heads = self.config.num_heads
        size = self.config.hidden_size // heads
        weight = self.embedding.weight

        def empty() -> Tensor:
            if by_place:
                return weight.new_empty(capacity, batch, heads, size).permute(1, 2, 0, 3)
            return weight.new_empty(batch, heads, capacity, size)

        return [Cache(empty(), empty()) for _ in self.blocks]
