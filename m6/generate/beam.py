"""Beam search: several answers to each request followed up at once, the best finished one taken.

Which beams go on, when an answer is finished and when a request is done are those of `generate` in transformers, so
that equal weights give equal answers, but where two are equally likely. A request is done earlier if no beam can win
any more, which changes no answer; then it leaves the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from m6.generate.decoding import Decoding, restrict
from m6.generate.grammar import Grammar
from m6.generate.prefill import CROWDED, Prefix, SideBySide
from m6.tokenizer.vocabulary import END, TEXT

if TYPE_CHECKING:
    from m6.generate.engine import Engine

CHUNK = 64
"""Tokens of which the likeliest is looked for first."""


class Beams:
    """The state of B requests with K beams each."""

    def __init__(
        self, engine: Engine, prefixes: Sequence[Prefix], most: int, decoding: Decoding, grammar: Grammar | None
    ) -> None:
        count, beams = len(prefixes), decoding.beams
        self.engine, self.decoding, self.grammar, self.most = engine, decoding, grammar, most
        self.cached = SideBySide(engine, prefixes, beams, most)
        self.request = torch.arange(count)
        """Which request a row is."""
        self.scores = torch.zeros(count, 1)
        """Log-likelihoods of the beams, best first; one beam before the first token."""
        self.written = torch.zeros(count, 1, 0, dtype=torch.long)
        self.states: list[list[Any]] = [[grammar.start] for _ in prefixes] if grammar is not None else []
        self.best = torch.full((count, beams), -torch.inf)
        """Scores of finished answers, best first: log-likelihood over length."""
        self.answers: list[list[int]] = [[] for _ in prefixes]
        """The best finished answer to each request."""

    def run(self) -> list[list[int]]:
        """The best answer to every request."""
        tokens = torch.full((len(self.request), 1), TEXT)
        left = torch.ones(len(self.request), dtype=torch.bool)
        for step in range(self.most):
            logits = self.engine.text_logits(self.cached.read(tokens, step))
            tokens = self._follow(*self._best(logits), step + 1, left)
            left &= ~self._done(step + 1)
            if not bool(left.any()):
                break
            if float(left.float().mean()) < CROWDED:
                tokens = tokens[left]
                self._keep(left.nonzero().flatten())
                left = left[left]
        return self.answers

    def _best(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, beams and tokens [B, 2 K] of the best continuations; logits: [B, K, V'], K = 1 at first."""
        before = self.scores
        if self.grammar is not None or self.decoding.restricts(self.written.shape[-1]):
            allowed = None
            if self.grammar is not None:
                allowed = self.grammar.masks([state for row in self.states for state in row])
            chances = logits.log_softmax(-1).flatten(0, 1)
            logits = restrict(chances, self.written.flatten(0, 1), self.decoding, allowed).view_as(logits)
        else:
            before = before - logits.logsumexp(-1)
        return likeliest(logits, before, 2 * self.decoding.beams)

    def _follow(self, scores: Tensor, parents: Tensor, tokens: Tensor, length: int, left: Tensor) -> Tensor:
        """Notes answers that end and chooses the beams that go on; returns the last token [B, K] of each."""
        beams = self.decoding.beams
        ends = tokens == END
        self._finish(scores[:, :beams], parents, tokens, ends[:, :beams] | (length == self.most), length, left)
        chosen = scores.masked_fill(ends, -torch.inf).topk(beams).indices
        self.scores = scores.masked_fill(ends, -torch.inf).gather(1, chosen)
        parents, tokens = parents.gather(1, chosen), tokens.gather(1, chosen)
        past = self.written.gather(1, parents[..., None].expand(-1, -1, length - 1))
        self.written = torch.cat([past, tokens[..., None]], -1)
        if length > 1:  # else all beams come from one
            self.cached.follow(parents)
        if self.grammar is not None:
            self.states = [
                [self.grammar.after(states[parent], token) for parent, token in zip(own, last, strict=True)]
                for states, own, last in zip(self.states, parents.tolist(), tokens.tolist(), strict=True)
            ]
        return tokens

    def _finish(self, scores: Tensor, parents: Tensor, tokens: Tensor, ends: Tensor, length: int, left: Tensor) -> None:
        """Notes what ends among the K best, each by its log-likelihood over its length, end mark and all."""
        ended = (scores / length**self.decoding.length_penalty).masked_fill(~(ends & left[:, None]), -torch.inf)
        first, places = ended.max(1)
        for row in (first > self.best[:, 0]).nonzero().flatten().tolist():
            place = int(places[row])
            last = int(tokens[row, place])
            written = self.written[row, parents[row, place]].tolist()
            self.answers[self.request[row]] = written + ([last] if last != END else [])
        self.best = torch.cat([self.best, ended], 1).topk(self.decoding.beams).values

    def _done(self, length: int) -> Tensor:
        """The requests for which K answers have ended that are as good as the best beam would be if it ended here; and
        those whose best answer no beam can beat, however long it becomes."""
        power = self.decoding.length_penalty
        now = self.scores[:, 0] / length**power
        ever = self.scores[:, 0] / self.most**power if power > 0 else now
        return (self.best[:, -1] >= now) | (self.best[:, 0] >= ever)

    def _keep(self, rows: Tensor) -> None:
        """Takes all other rows out."""
        self.cached.keep(rows)
        self.request, self.scores, self.written = self.request[rows], self.scores[rows], self.written[rows]
        self.best = self.best[rows]
        if self.grammar is not None:
            self.states = [self.states[row] for row in rows.tolist()]


def likeliest(scores: Tensor, before: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of each request: their sums scores + before, beams and tokens, [B, count] each.

    scores: [B, K, V']; before: [B, K]. The best `count` lie within the `count` chunks with the highest peaks: a look
    at peaks is much cheaper than one at all.
    """
    rows, beams, size = scores.shape
    chunks = F.pad(scores, (0, -size % CHUNK), value=-torch.inf).view(rows, beams, -1, CHUNK)
    per_beam = chunks.shape[2]
    peaks = (chunks.amax(-1) + before[..., None]).flatten(1)
    high = peaks.topk(min(count, peaks.shape[1])).indices
    inside = chunks.flatten(1, 2).gather(1, high[..., None].expand(-1, -1, CHUNK))
    sums, places = (inside + before.gather(1, high // per_beam)[..., None]).flatten(1).topk(count)
    found = high.gather(1, places // CHUNK)
    tokens = (found % per_beam * CHUNK + places % CHUNK).clamp(max=size - 1)  # of what cannot be written, any
    return sums, found // per_beam, tokens


@torch.inference_mode()
def beam_search(
    engine: Engine, prefixes: Sequence[Prefix], most: int, decoding: Decoding, grammar: Grammar | None = None
) -> list[list[int]]:
    """The ids of the best answer after each prefix, of at most `most` tokens."""
    return Beams(engine, prefixes, most, decoding, grammar).run()
