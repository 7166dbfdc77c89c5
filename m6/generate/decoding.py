"""How an answer is written: greedily, by sampling, by beam search, by contrastive search; how long it may be, and what
it may not repeat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m6.config import UserError
from m6.generate.sampling import Sampling
from m6.tokenizer.vocabulary import END

MOST_BEAMS = 64
CANDIDATES = 4
"""Of contrastive search, if `top_k` does not say."""


@dataclass(frozen=True)
class Decoding(Sampling):
    """UserError for a value that makes no sense, or that another one rules out."""

    beams: int = 1
    """Answers that are followed up at once; 1 is greedy, or samples. Beam search takes no temperature."""
    length_penalty: float = 1.0
    """A finished answer's log-likelihood counts divided by its length, end mark and all, to this power (as in
    transformers); 0 favours short answers, more than 1 long ones."""
    contrast: float = 0.0
    """Of contrastive search (Su et al. 2022, arXiv 2202.06417): how much it counts that a token is unlike all before
    it, from 0 (nothing; greedy) to 1; 0.6 is theirs. It chooses among the `top_k` likeliest, or 4."""
    no_repeat_ngram: int = 0
    """So many tokens in a row are never written twice; 0 allows it."""
    repetition_penalty: float = 1.0
    """Scores of tokens that were written are divided by this, or multiplied where they are below 0 (Keskar et al. 2019,
    arXiv 1909.05858); 1 does nothing, 1.2 is theirs."""
    min_tokens: int = 0
    """Tokens before an answer may end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.beams <= MOST_BEAMS:
            raise UserError(f"beams {self.beams}: it has to be from 1 (no beam search) to {MOST_BEAMS}, such as 5")
        if self.beams > 1 and self.temperature:
            raise UserError(f"beams {self.beams} with temperature {self.temperature}: take one of them, or 1 and 0")
        if not abs(self.length_penalty) < float("inf"):
            raise UserError(f"length_penalty {self.length_penalty}: it has to be a number, such as 1")
        if not 0.0 <= self.contrast <= 1.0:
            raise UserError(f"contrast {self.contrast}: it has to be from 0 (no contrastive search) to 1, such as 0.6")
        if self.contrast and (self.beams > 1 or self.temperature):
            raise UserError(f"contrast {self.contrast}: it takes neither beams nor a temperature; leave these out")
        if not 0.0 < self.repetition_penalty < float("inf"):
            raise UserError(f"repetition_penalty {self.repetition_penalty}: it has to be above 0, such as 1.2")
        for name in ("no_repeat_ngram", "min_tokens"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} {getattr(self, name)}: it has to be 0 or above")

    def restricts(self, step: int) -> bool:
        """Whether anything is ruled out when `step` tokens are written."""
        return step < self.min_tokens or 0 < self.no_repeat_ngram <= step


def restrict(scores: Tensor, written: Tensor, decoding: Decoding, allowed: Tensor | None = None) -> Tensor:
    """Scores with minus infinity where a token may not follow.

    scores: [N, V'], logits or log-probabilities of the text vocabulary. written: [N, T] int64. allowed: [N, V] bool of
    a grammar, which always holds: where nothing that it allows would be left, `no_repeat_ngram` and `min_tokens` yield.
    """
    step = written.shape[1]
    if decoding.repetition_penalty != 1.0:
        known = scores.gather(1, written)
        lowered = torch.where(known > 0, known / decoding.repetition_penalty, known * decoding.repetition_penalty)
        scores = scores.scatter(1, written, lowered)
    ruled = scores.clone() if decoding.restricts(step) else scores
    if 0 < decoding.no_repeat_ngram <= step:
        rows, tokens = repeating(written, decoding.no_repeat_ngram)
        ruled[rows, tokens] = -torch.inf
    if step < decoding.min_tokens:
        ruled[:, END] = -torch.inf
    if allowed is None:
        return ruled
    outside = ~allowed[:, : scores.shape[1]]
    ruled = ruled.masked_fill(outside, -torch.inf)
    if not decoding.restricts(step):
        return ruled
    stuck = ruled.isneginf().all(1, keepdim=True)
    return torch.where(stuck, scores.masked_fill(outside, -torch.inf), ruled)


def repeating(written: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The rows [M] and tokens [M] that would write a run of `size` tokens a second time; written: [N, T >= size]."""
    runs = written.unfold(1, size, 1)
    last = written[:, None, written.shape[1] - size + 1 :]
    rows, places = (runs[..., :-1] == last).all(-1).nonzero(as_tuple=True)
    return rows, runs[rows, places, -1]
