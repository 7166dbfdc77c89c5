"""Contrastive search (Su et al. 2022, arXiv 2202.06417): the next token is likely, and unlike what is written already.

    score(token) = (1 - contrast) p(token) - contrast max over what is written of cos(state of token, state of it)

States are the hidden states after the last norm. All candidates of a request are read side by side behind one cache;
what is compared with is what was written, its start mark included, but not the prefix: an answer may speak of its
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from m6.generate.decoding import CANDIDATES, Decoding, restrict
from m6.generate.grammar import Grammar
from m6.generate.prefill import Prefix, SideBySide
from m6.generate.writing import Writing
from m6.tokenizer.vocabulary import TEXT

if TYPE_CHECKING:
    from m6.generate.engine import Engine


@torch.inference_mode()
def contrastive_search(
    engine: Engine, prefixes: Sequence[Prefix], most: int, decoding: Decoding, grammar: Grammar | None = None
) -> list[list[int]]:
    """The ids after each prefix, of at most `most` tokens."""
    count, candidates = len(prefixes), decoding.top_k or CANDIDATES
    cached = SideBySide(engine, prefixes, candidates, most + 1)
    writing = Writing(count, grammar)
    hidden = cached.read(torch.full((count, 1), TEXT), 0)[:, 0].cpu()
    past = F.normalize(hidden, dim=-1)[:, None]
    for step in range(1, most + 1):
        logits = restrict(engine.text_logits(hidden), writing.written, decoding, writing.allowed())
        chances, tokens = logits.softmax(-1).topk(candidates)
        states_of = cached.read(tokens, step).cpu()
        chosen = _chosen(states_of, past, chances, decoding.contrast)
        cached.follow(chosen[:, None].expand(-1, candidates))
        hidden = states_of[torch.arange(len(chosen)), chosen]
        past = torch.cat([past, F.normalize(hidden, dim=-1)[:, None]], 1)
        rows = writing.add(tokens.gather(1, chosen[:, None])[:, 0])
        if writing.done:
            break
        if rows is not None:
            cached.keep(rows)
            hidden, past = hidden[rows], past[rows]
    return writing.answers


def _chosen(hidden: Tensor, past: Tensor, chances: Tensor, contrast: float) -> Tensor:
    """Which candidate [B] it is. hidden: [B, K, D]; past: [B, T, D], of length 1 each; chances: [B, K]."""
    alike = (F.normalize(hidden, dim=-1) @ past.transpose(1, 2)).amax(-1)
    return ((1 - contrast) * chances - contrast * alike).masked_fill(chances == 0, -torch.inf).argmax(-1)
