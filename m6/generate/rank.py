"""Texts ranked by how well they follow a prefix, a picture most often.

The score of a text is log p(text | prefix) - log p(text), nats: how much likelier the prefix makes it. What makes a
text likely by itself, its length and the frequency of its words, does not count. Without the prior it is
log p(text | prefix) alone; per token, either is divided by the length, end mark and all.

Prefixes are read into caches once. Then texts follow, some in a row, each seeing the prefix and itself; what several
begin with is there once. It is the same row behind many prefixes, whose keys and values are overwritten by the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from m6.data.sample import Text
from m6.generate.engine import Engine
from m6.generate.prefill import Prefill, Prefix
from m6.run import progress
from m6.tokenizer.vocabulary import END, TEXT

ROW = 128
"""Tokens of texts behind one prefix: longer rows compute more attention between texts, which is thrown away."""
ROWS = 16  # prefixes at once


def fits(
    engine: Engine, prefixes: Sequence[Prefix], texts: Sequence[Text], prior: bool = True, per_token: bool = False
) -> np.ndarray:
    """The scores of all texts after all prefixes: [N, M] float64. Without `prior`, the likeliest counts, whatever it is
    by itself."""
    found = log_likelihoods(engine, prefixes, texts)
    if prior:
        found = found - log_likelihoods(engine, [()], texts)
    return found / np.array([len(text.ids) + 1 for text in texts]) if per_token else found


@torch.inference_mode()
def log_likelihoods(engine: Engine, prefixes: Sequence[Prefix], texts: Sequence[Text]) -> np.ndarray:
    """log p(text | prefix), end mark and all, of every text after every prefix, nats: [N, M] float64."""
    found = np.zeros((len(prefixes), len(texts)))
    rows = [Row(engine, texts, part) for part in _parts(texts)]
    room = max((len(row.ids) for row in rows), default=0)
    with progress(len(prefixes), "ranking", quiet=len(prefixes) < 2 * ROWS) as bar:
        for start in range(0, len(prefixes), ROWS):
            span = slice(start, start + ROWS)
            cached = Prefill(engine, prefixes[span], room)
            for row in rows:
                found[span, row.part] = row.behind(cached)
            bar.advance(len(prefixes[span]))
    return found


class Row:
    """Some texts as they stand behind any prefix: as a trie, each of whose nodes is the last token of a beginning that
    several may share, and sees those before it in that beginning."""

    def __init__(self, engine: Engine, texts: Sequence[Text], part: Sequence[int]) -> None:
        self.engine, self.part = engine, part
        own = [texts[index].ids for index in part]
        nodes: dict[tuple[int, ...], int] = {}
        for ids in own:
            for length in range(len(ids) + 1):
                nodes.setdefault(ids[:length], len(nodes))
        self.ids = torch.tensor([begun[-1] if begun else TEXT for begun in nodes])
        self.place = torch.tensor([len(begun) for begun in nodes])
        seen = torch.zeros(len(nodes), len(nodes), dtype=torch.bool)
        for begun, node in nodes.items():
            seen[node, [nodes[begun[:length]] for length in range(len(begun) + 1)]] = True
        self.mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
        # Every token of every text and its end: the text, the node that it follows, and what it is.
        steps = [
            (text, nodes[ids[:length]], label)
            for text, ids in enumerate(own)
            for length, label in enumerate((*ids, END))
        ]
        self.text, self.node, self.label = torch.tensor(steps).unbind(1)

    def behind(self, cached: Prefill) -> np.ndarray:
        """log p [B, M] of the M texts behind B prefixes; what was cached behind these is lost."""
        rows = len(cached.order)
        for cache in cached.caches:
            cache.length = cached.length
        order = cached.order[:, None] + self.place
        position = torch.stack([order, torch.zeros_like(order), torch.zeros_like(order)], -1)
        hidden = self.engine.hidden(self.ids.expand(rows, -1), position, self._mask(cached), caches=cached.caches)
        logits = self.engine.model.logits(hidden)
        chances = logits[:, self.node, self.label] - logits.logsumexp(-1)[:, self.node]
        sums = torch.zeros(rows, len(self.part), dtype=torch.float64).index_add(1, self.text, chances.double().cpu())
        found: np.ndarray = sums.numpy()
        return found

    def _mask(self, cached: Prefill) -> Tensor:
        """[B or 1, 1, T, P + T], to be added to scores."""
        hidden = ~(cached.visible if cached.padded else cached.visible[:1])[..., : cached.length].cpu()
        prefix = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf).expand(-1, -1, len(self.ids), -1)
        return torch.cat([prefix, self.mask.expand(len(prefix), 1, -1, -1)], -1)


def _parts(texts: Sequence[Text]) -> list[list[int]]:
    """So many texts together as make up a row, those that begin alike beside each other."""
    parts: list[list[int]] = []
    nodes: set[tuple[int, ...]] = set()
    for index in sorted(range(len(texts)), key=lambda index: texts[index].ids):
        ids = texts[index].ids
        own = {ids[:length] for length in range(len(ids) + 1)}
        if not parts or len(nodes | own) > ROW:
            parts.append([])
            nodes = set()
        parts[-1].append(index)
        nodes |= own
    return parts
