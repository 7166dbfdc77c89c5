"""The layer: router, dispatcher and experts in the place of a feed-forward."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from m6.model.config import ModelConfig
from m6.model.experts.dispatch import Dispatcher, LocalDispatcher, capacity, limit
from m6.model.experts.ffn import Experts
from m6.model.experts.router import Router, Tally


class Routing(NamedTuple):
    """What a forward did with its N tokens, K choices each. Only the two losses have a gradient, those of `tally`."""

    expert: Tensor  # [N, K] int64, the experts chosen; E for padding
    kept: Tensor  # [N, K] bool, whether the expert took the token
    load: Tensor  # [E] int64, choices that fell on each expert, dropped ones included
    entropy: Tensor  # [N] float32, nats, of the router's probabilities
    tally: Tally

    @property
    def num_dropped(self) -> Tensor:
        """Choices that found no place."""
        return self.load.sum() - self.kept.sum()


class MixtureOfExperts(nn.Module):
    """[.., D] -> [.., D]. The last forward's `Routing` stays in `routing`, its losses with their gradient: read it
    before the backward.

    `dispatcher` may be set from outside. A capacity bounds what training takes of time and memory; in evaluation and
    generation nothing is dropped, or what a token becomes would hang on what else is computed with it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config.experts
        self.router = Router(config.experts, config.hidden_size)
        self.experts = Experts(config)
        self.dispatcher: Dispatcher = LocalDispatcher(config.experts.num_experts)
        self.routing: Routing | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What is copied or sent elsewhere leaves out the last routing, which holds on to its graph."""
        return {**self.__dict__, "routing": None}

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """x: [.., D]; real: [..] bool, false for padding, which goes to no expert and comes back as 0."""
        tokens = x.flatten(0, -2)
        choice = self.router(tokens, None if real is None else real.flatten())
        expert, limited = choice.expert, self.training and self.config.capacity_factor > 0
        if limited:
            most = capacity(expert.numel(), self.config.num_experts, self.config.capacity_factor)
            expert = limit(expert, most, self.config.num_experts)
        out = self.compute(tokens, expert, choice.gate, limited or real is not None)
        if self.training and self.config.balance == "bias":
            self.router.count_load(choice.load)
        kept = expert < self.config.num_experts
        self.routing = Routing(choice.expert, kept, choice.load, choice.entropy, choice.tally)
        return out.to(x.dtype).view(x.shape)

    def compute(self, tokens: Tensor, expert: Tensor, gate: Tensor, partial: bool) -> Tensor:
        """Tokens [N, D] through the experts that are chosen for them [N, K], weighted by gate [N, K] -> [N, D] float32.
        Done again with the same choice it gives the same. partial: as of `Dispatcher.dispatch`."""
        if torch.is_autocast_enabled(tokens.device.type):
            tokens = tokens.to(torch.get_autocast_dtype(tokens.device.type))  # half the bytes to move
        rows, ends, plan = self.dispatcher.dispatch(tokens, expert, partial=partial)
        return self.dispatcher.combine(self.experts(rows, ends), gate, plan)

    def update_bias(self) -> None:
        """After each update of the weights: evens the load, if that is done by bias. See `Router.update_bias`."""
        if self.config.balance == "bias":
            self.router.update_bias()
