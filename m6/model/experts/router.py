"""The router: which experts a token goes to, and with what weight.

Experts are divided into prototypes (M6-T, arXiv 2105.15082), and each prototype chooses `top_k` of its own by a softmax
over its own. Their outputs are added up. One prototype is the common mixture of experts.

The weight of an expert is its probability if one is chosen (Switch, arXiv 2101.03961): were it made 1, the router would
learn nothing from the loss. Of two and more, the probabilities of the chosen are divided by their sum (GShard, arXiv
2006.16668), so that the output has the size of one feed-forward from the start.

All of it is float32: probabilities near each other decide the choice, and bfloat16 holds three digits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.model.config import ExpertsConfig


class Choice(NamedTuple):
    """What a router says of N tokens. K is prototypes * top_k: first choices of all prototypes, then second ones."""

    expert: Tensor  # [N, K] int64, 0 to E - 1; E where a place is padding, which goes to none
    gate: Tensor  # [N, K] float32
    load: Tensor  # [E] int64, tokens that chose an expert, whether it takes them or not
    entropy: Tensor  # [N] float32, nats, of the probabilities of a token, mean over prototypes; no gradient
    tally: Tally


class Tally(NamedTuple):
    """What the two losses of a router are made of: sums over tokens, so that those of several batches add up."""

    load: Tensor  # [E], choices that fell on each expert, whether it takes them or not
    probability: Tensor  # [E] float32, mean over prototypes
    squares: Tensor  # float32, squared logs of the sums of exponentials, mean over prototypes
    tokens: Tensor  # number of tokens

    @property
    def balance_loss(self) -> Tensor:
        """E * sum of (share of choices x mean probability), 1 at an even load."""
        share = self.load / self.load.sum().clamp(min=1)
        return len(share) * (share * self.probability).sum() / self.tokens.clamp(min=1)

    @property
    def z_loss(self) -> Tensor:
        """Mean squared log of the sum of exponentials."""
        return self.squares / self.tokens.clamp(min=1)


class Router(nn.Module):
    """One matrix [E, D] for all prototypes: prototype p owns the rows from p * E / prototypes on."""

    bias: Tensor
    pending: Tensor

    def __init__(self, config: ExpertsConfig, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.num_experts, hidden_size))
        nn.init.normal_(self.weight, std=0.02)
        if config.balance == "bias":
            self.register_buffer("bias", torch.zeros(config.num_experts))
            self.register_buffer("pending", torch.zeros(config.num_experts, dtype=torch.int64), persistent=False)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Choice:
        """tokens: [N, D] of any type; real: [N] bool, false for padding, which is neither routed nor counted."""
        experts, prototypes, top_k = self.config.num_experts, self.config.prototypes, self.config.top_k
        with torch.autocast(tokens.device.type, enabled=False):
            logits = F.linear(tokens.float(), self.weight.float()).unflatten(-1, (prototypes, -1))  # [N, p, E / p]
            log_sum = logits.logsumexp(-1, keepdim=True)
            log_probability = logits - log_sum
            probability = log_probability.exp()
            chosen = self._choose(logits.detach())  # [N, p, k]
            gate = probability.gather(-1, chosen)
            if top_k > 1:
                gate = gate / gate.sum(-1, keepdim=True)
            first = torch.arange(0, experts, experts // prototypes, device=tokens.device)
            expert = (chosen + first[:, None]).transpose(1, 2).flatten(1)
            if real is not None:
                expert = expert.masked_fill(~real[:, None], experts)
            load = count(expert, experts)
            weight = torch.ones_like(log_sum[:, 0, 0]) if real is None else real.float()
            return Choice(
                expert=expert,
                gate=gate.transpose(1, 2).flatten(1).clone(),  # FSDP wants no view
                load=load,
                entropy=-(probability * log_probability).detach().sum(-1).mean(-1),
                tally=Tally(
                    load=load,
                    probability=weight @ probability.flatten(1) / prototypes,
                    squares=weight @ log_sum.squeeze(-1).square().mean(-1),
                    tokens=weight.sum(),
                ),
            )

    def _choose(self, logits: Tensor) -> Tensor:
        """The best of each prototype, best first: [N, p, E / p] -> [N, p, k]. A bias moves the choice alone."""
        if self.config.balance == "bias":
            logits = logits + self.bias.view(logits.shape[1:])
        if self.config.top_k == 1:
            return logits.argmax(-1, keepdim=True)
        return logits.topk(self.config.top_k).indices

    @torch.no_grad()
    def count_load(self, load: Tensor) -> None:
        """Notes the load of a forward for the next `update_bias`."""
        self.pending += load

    @torch.no_grad()
    def update_bias(self) -> None:
        """Moves the bias of every expert by `balance_weight`: up if it got less than its even share since the last
        call, down if it got more (DeepSeek-V3, arXiv 2412.19437). The bias is added to logits, so that a step means the
        same for 8 experts and for 1,024. Only the sign counts, so a load that is counted twice does no harm."""
        load = self.pending.view(self.config.prototypes, -1).float()
        self.bias += self.config.balance_weight * (load.mean(-1, keepdim=True) - load).sign().flatten()
        self.pending.zero_()


def count(expert: Tensor, num_experts: int) -> Tensor:
    """How often each expert stands in [N, K]: [E] int64. Values of E are not counted. Without a wait for the device."""
    expert = expert.flatten()
    bins = torch.zeros(num_experts + 1, dtype=torch.int64, device=expert.device)
    return bins.scatter_add(0, expert, torch.ones_like(expert))[:num_experts]
