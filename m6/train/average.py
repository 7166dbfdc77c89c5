"""A running mean of the weights of a training, which is what those who use the model get (Polyak averaging).

Weights go to and fro around what they approach, most of all where two players push each other; their mean lies nearer.
"""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a model whose weights are the mean; what is no weight, as a code book, is that of the model."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """decay: what the mean keeps of itself in an update; less in the first ones, when there is little to keep."""
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._of, self._decay = model, decay

    @torch.no_grad()
    def update(self, done: int) -> None:
        """To be called after each update of the model, with the number of updates so far."""
        keep = min(self._decay, (1 + done) / (10 + done))
        mine, theirs = ([each.detach() for each in model.parameters()] for model in (self.model, self._of))
        torch._foreach_lerp_(mine, theirs, 1 - keep)
        for own, other in zip(self.model.buffers(), self._of.buffers(), strict=True):
            own.copy_(other)

    def take(self) -> None:
        """Gives the model the weights of the mean."""
        self._of.load_state_dict(self.model.state_dict())
