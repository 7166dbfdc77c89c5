"""Codes of pictures, one after the other, or some guessed ahead and checked.

`plain` paints a code a step. `jacobi` guesses the next codes, runs them all through the model in one step, and keeps
those that come out as they were guessed, and the one behind them: Jacobi iteration (Song et al. 2021, arXiv 2002.03629)
as speculative Jacobi decoding does it for pictures (Teng et al. 2024, arXiv 2410.01699). Each cell of a picture draws
one number, once, whatever is guessed; given that number the code is a function of the codes before it, so the fixed
point that is found is the very picture that `plain` paints, and with it its distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from m6.generate.prefill import Prefill, Prefix
from m6.generate.sampling import Sampling, choose_at, guide, uniform
from m6.tokenizer.vocabulary import IMAGE

if TYPE_CHECKING:
    from m6.generate.engine import Engine

Watch = Callable[[np.ndarray, int], None]
"""Is told of all grids [B, h, w], `HIDDEN` where nothing is painted yet, and how many codes are."""
Told = Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Request:
    """Pictures that are painted at once."""

    prefixes: list[Prefix]
    blank: list[Prefix]  # for guidance; empty without
    places: tuple[tuple[int, int], ...]  # N cells, in the order in which they are painted
    sampling: Sampling
    draws: Sequence[torch.Generator]  # one a picture
    guidance: float
    coarse: Tensor | None = None  # [B, N], ids of the small pictures' codes at the cells

    def begin(self, engine: Engine, sparse: bool) -> Prefill:
        """All prefixes in caches, the blank ones behind the others."""
        places = self.places if sparse else ()
        return Prefill(engine, self.prefixes + self.blank, len(self.places), places)

    def beneath(self, start: int, end: int) -> Tensor | None:
        """Ids [B or 2 B, end - start] of what the small pictures show at these cells."""
        return None if self.coarse is None else self.coarse[:, start:end].repeat(2 if self.blank else 1, 1)

    def numbers(self) -> Tensor:
        """What each cell draws: [B, N] float64 in 0 to 1."""
        return uniform(self.draws, len(self.places))

    def codes(self, engine: Engine, hidden: Tensor, numbers: Tensor) -> Tensor:
        """Hidden states [B or 2 B, .., D] and numbers [B, ..] to codes [B, ..]."""
        logits = engine.code_logits(hidden)
        if self.blank:
            count = len(self.prefixes)
            logits = guide(logits[:count], logits[count:], self.guidance)
        return choose_at(logits, self.sampling, numbers.to(logits.device)).cpu()


@torch.inference_mode()
def plain(engine: Engine, request: Request, told: Told, ahead: int = 1) -> np.ndarray:
    """Codes [B, N], one a step."""
    sparse = engine.model.config.code_attention.pattern != "full"
    state, numbers = request.begin(engine, sparse), request.numbers()
    halves = 2 if request.blank else 1
    tokens = torch.full((len(request.prefixes),), IMAGE)
    painted = torch.full((len(request.prefixes), len(request.places)), -1)
    for index, (row, column) in enumerate(request.places):
        hidden = state.step(tokens.repeat(halves), state.order, row, column, request.beneath(index, index + 1))
        painted[:, index] = request.codes(engine, hidden, numbers[:, index])
        tokens = painted[:, index] + engine.vocabulary.text_size
        told(painted.numpy())
    return painted.numpy()


@torch.inference_mode()
def jacobi(engine: Engine, request: Request, told: Told, ahead: int) -> np.ndarray:
    """The same codes [B, N], up to `ahead` of them a step; pictures of one batch go on together, at the pace of the
    slowest."""
    state, numbers = request.begin(engine, sparse=False), request.numbers()
    halves, count = 2 if request.blank else 1, len(request.places)
    places = torch.tensor(request.places)
    painted = torch.full((len(request.prefixes), count), -1)
    guessed = torch.zeros(len(request.prefixes), count, dtype=torch.int64)
    done = 0
    while done < count:
        end = min(done + ahead, count)
        before = torch.cat([guessed[:, max(done - 1, 0) : done], guessed[:, done : end - 1]], 1)
        tokens = before + engine.vocabulary.text_size
        if not done:
            tokens = torch.cat([torch.full((len(tokens), 1), IMAGE), tokens], 1)
        hidden = state.several(tokens.repeat(halves, 1), places[done:end], request.beneath(done, end))
        found = request.codes(engine, hidden, numbers[:, done:end])
        wrong = (found != guessed[:, done:end]).any(0).nonzero()
        right = min(int(wrong[0, 0]) + 1 if len(wrong) else end - done, end - done)
        guessed[:, done:end] = found
        guessed[:, end : end + right] = found[:, -1:]  # the best guess for what has not been looked at yet
        painted[:, done : done + right] = found[:, :right]
        done += right
        state.forget(end - done)
        told(painted.numpy())
    return painted.numpy()
