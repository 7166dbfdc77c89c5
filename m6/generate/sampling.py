"""From logits to the next token: pure functions on [B, V], the same for text and pictures.

Every request draws from a generator of its own, so that its result does not depend on what shares its batch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m6.config import UserError

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. UserError for a value that makes no sense."""

    temperature: float = 0.0
    """0 takes the likeliest; 1 samples as learnt."""
    top_k: int = 0
    """Sample among the k likeliest only; 0 among all."""
    top_p: float = 1.0
    """Sample among the likeliest that together reach this probability."""
    seed: int = 0
    """Where chance starts: a text draws by seed and request, picture i of a batch by seed + i."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise UserError(f"temperature {self.temperature}: it has to be 0 (the likeliest) or above, such as 0.8")
        if self.top_k < 0:
            raise UserError(f"top_k {self.top_k}: it has to be 0 (all tokens) or above, such as 50")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"top_p {self.top_p}: it has to be above 0 and at most 1 (all tokens), such as 0.9")
        if not 0 <= self.seed <= MAX_SEED:
            raise UserError(f"seed {self.seed}: it has to be a whole number from 0 to {MAX_SEED}")


GREEDY = Sampling()


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: away from the unconditional logits; 1 leaves the conditional ones as they are."""
    return unconditional + scale * (conditional - unconditional)


def keep_likeliest(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits with everything outside the k likeliest, or outside the smallest set that reaches p, at minus infinity."""
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1.0:
        ordered, order = logits.softmax(-1).sort(descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= top_p
        logits = logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)
    return logits


def choose(logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """The next token of every row: [B, V] -> [B]."""
    numbers = uniform(generators, 1)[:, 0] if sampling.temperature else logits[:, 0]
    return choose_at(logits, sampling, numbers)


def uniform(generators: Sequence[torch.Generator], count: int) -> Tensor:
    """Numbers that rows draw, one a token: [B, count] float64 in 0 to 1; the same, drawn one by one or together."""
    return torch.stack([
        torch.stack([torch.rand((), generator=generator, dtype=torch.float64) for _ in range(count)])
        for generator in generators
    ])  # fmt: skip


def choose_at(logits: Tensor, sampling: Sampling, numbers: Tensor) -> Tensor:
    """The token at which the probabilities, added up, reach a number: [.., V] and [..] -> [..]."""
    if sampling.temperature == 0.0:
        return logits.argmax(-1)
    kept = keep_likeliest(logits / sampling.temperature, sampling.top_k, sampling.top_p)
    reached = kept.double().softmax(-1).cumsum(-1)
    chosen = torch.searchsorted(reached, numbers[..., None] * reached[..., -1:], right=True)[..., 0]
    return chosen.clamp_max(logits.shape[-1] - 1)


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One generator a request, seeded `seed`, `seed` + 1, ..."""
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def generators_of(seed: int, requests: Sequence[bytes]) -> list[torch.Generator]:
    """One generator a request, seeded by `seed`, by the request itself, and by how often it stands before in the list:
    so it draws the same whatever else is asked, and copies of it draw otherwise."""
    asked: Counter[bytes] = Counter()
    found = []
    for request in requests:
        digest = hashlib.sha256(b"%d %d " % (seed, asked[request]) + request).digest()
        found.append(torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1))
        asked[request] += 1
    return found
