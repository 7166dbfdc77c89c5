"""Texts ranked by how well they follow a prefix, a picture most often.

The score of a text is log p(text | prefix) - log p(text), nats: how much likelier the prefix makes it. What makes a
text likely by itself, its length and the frequency of its words, does not count. Without the prior it is
log p(text | prefix) alone; per token, either is divided by the length, end mark and all.

Prefixes are read into caches once. Then texts follow as branches do, some in a row, each seeing the prefix and itself:
the same row of texts behind many prefixes, whose keys and values are overwritten by the next one's.
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


def choose(engine: Engine, prefix: Prefix, texts: Sequence[Text], prior: bool = True, per_token: bool = False) -> int:
    """Which text follows a prefix best."""
    return int(fits(engine, [prefix], texts, prior, per_token)[0].argmax())


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
                found[span, row.part.start : row.part.stop] = row.behind(cached)
            bar.advance(len(prefixes[span]))
    return found


class Row:
    """Some texts side by side, as they stand behind any prefix."""

    def __init__(self, engine: Engine, texts: Sequence[Text], part: range) -> None:
        self.engine, self.part = engine, part
        own = [texts[index].ids for index in part]
        self.ids = torch.tensor([token for ids in own for token in (TEXT, *ids)])
        self.labels = torch.tensor([token for ids in own for token in (*ids, END)])
        self.place = torch.cat([torch.arange(len(ids) + 1) for ids in own])
        self.text = torch.repeat_interleave(torch.arange(len(own)), torch.tensor([len(ids) + 1 for ids in own]))
        seen = (self.text[:, None] == self.text) & (self.place[:, None] >= self.place)
        self.mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)

    def behind(self, cached: Prefill) -> np.ndarray:
        """log p [B, M] of the M texts behind B prefixes; what was cached behind these is lost."""
        rows, tokens, model = len(cached.order), len(self.ids), self.engine.model
        for cache in cached.caches:
            cache.length = cached.length
        order = cached.order[:, None] + self.place
        position = torch.stack([order, torch.zeros_like(order), torch.zeros_like(order)], -1)
        hidden = model(self.ids.expand(rows, -1), position, self._mask(cached), caches=cached.caches)
        logits = model.logits(hidden)
        chances = logits.gather(-1, self.labels.expand(rows, tokens)[..., None])[..., 0] - logits.logsumexp(-1)
        sums = torch.zeros(rows, len(self.part), dtype=torch.float64).index_add(1, self.text, chances.double())
        found: np.ndarray = sums.numpy()
        return found

    def _mask(self, cached: Prefill) -> Tensor:
        """[B or 1, 1, T, P + T], to be added to scores."""
        hidden = ~(cached.visible if cached.padded else cached.visible[:1])[..., : cached.length]
        prefix = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf).expand(-1, -1, len(self.ids), -1)
        return torch.cat([prefix, self.mask.expand(len(prefix), 1, -1, -1)], -1)


def _parts(texts: Sequence[Text]) -> list[range]:
    """Texts in their order, so many together as make up a row."""
    parts, start, filled = [], 0, 0
    for index, text in enumerate(texts):
        if index > start and filled + len(text.ids) + 1 > ROW:
            parts.append(range(start, index))
            start, filled = index, 0
        filled += len(text.ids) + 1
    return [*parts, range(start, len(texts))] if texts else []
