"""What experts add to pretraining: two losses, and how their load is told in the metrics.

For every layer with experts, counted from 0, over the real tokens of a batch:

    experts/<layer>/load      tokens of the busiest expert over those of an even share; 1 is even, E all to one
    experts/<layer>/dropped   share of choices that found no place
    experts/<layer>/entropy   nats of the router's probabilities: ln(E) has no preference, 0 no doubt
    experts/<layer>/balance   the auxiliary loss, 1 at an even load
    experts/<layer>/z         the router's z-loss

The first three also for each modality, as experts/<layer>/load/patch: `text`, `patch` (a picture that is read as
pixels), `code` (one that is read or written as codes). The last layer sees the places of labels alone, where only they
are asked for; patches have none.

With several ranks the two losses are of all ranks' tokens together, as if they were one batch; load, dropped and
entropy are means over ranks. Micro-batches of a step are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from m6.data.packing import Batch
from m6.model.config import ExpertsConfig
from m6.model.experts import Routing
from m6.model.experts.router import Tally
from m6.model.transformer import Transformer
from m6.parallel.mesh import ALONE, Ranks
from m6.train.window import Figures

MODALITIES = ("text", "patch", "code")


def tallies(model: Transformer, ranks: Ranks = ALONE) -> dict[int, Tally]:
    """Of each layer with experts, by index: load and tokens of all ranks, beside this rank's sums of what has a
    gradient. So the losses of the tallies, added up over ranks, are those of one batch of all their tokens."""
    found = {layer: routing.tally for layer, routing in model.routings().items()}
    if not found or not ranks.joined:
        return found
    sums = ranks.sum(torch.stack([torch.cat([t.load.double(), t.tokens[None]]) for t in found.values()]))
    return {
        layer: t._replace(load=s[:-1], tokens=s[-1]) for (layer, t), s in zip(found.items(), sums.float(), strict=True)
    }


def routing_loss(found: Iterable[Tally], config: ExpertsConfig) -> Tensor | float:
    """The balance loss and the z-loss of the last forward, weighted, mean over layers with experts; 0 if none has."""
    balance_weight = config.balance_weight if config.balance == "loss" else 0.0
    losses = [balance_weight * tally.balance_loss + config.z_weight * tally.z_loss for tally in found]
    return torch.stack(losses).mean() if losses else 0.0


@torch.no_grad()
def update_bias(model: Transformer, ranks: Ranks = ALONE) -> None:
    """To be called after each update of the weights: evens the load of all ranks where that is done by bias."""
    layers = list(model.experts().values())
    if not layers or model.config.experts.balance != "bias":
        return
    loads = ranks.sum(torch.stack([layer.router.pending for layer in layers]))
    for layer, load in zip(layers, loads, strict=True):
        layer.router.pending.copy_(load)
        layer.update_bias()


def forget_load(model: Transformer) -> None:
    """To be called after a step that updates nothing: what it has routed does not count."""
    if model.config.experts.balance == "bias":
        for layer in model.experts().values():
            layer.router.pending.zero_()


@torch.no_grad()
def routing_figures(model: Transformer, batch: Batch, found: Mapping[int, Tally], ranks: Ranks = ALONE) -> Figures:
    """The metrics of the last forward, which was for the labels of `batch`, as (sum, count)."""
    everywhere = modality(batch)
    last = model.config.num_layers - 1
    figures: Figures = {}
    for layer, routing in model.routings().items():
        kinds = everywhere[batch.label_at] if layer == last else everywhere
        of_layer = layer_figures(routing, kinds)
        tally = found[layer]
        of_layer |= {"balance": (tally.balance_loss, 1 / ranks.world), "z": (tally.z_loss, 1 / ranks.world)}
        figures |= {f"experts/{layer}/{name}": value for name, value in of_layer.items()}
    return figures


def modality(batch: Batch) -> Tensor:
    """Of every place [R * T], an index into MODALITIES, or -1 for padding. Pictures alone stand off row 0."""
    kinds = torch.where(batch.position[..., 1] > 0, MODALITIES.index("code"), MODALITIES.index("text")).flatten()
    kinds = kinds.index_fill(0, batch.patch_at, MODALITIES.index("patch"))
    return torch.where(batch.sample.flatten() >= 0, kinds, -1)


def layer_figures(routing: Routing, kinds: Tensor) -> Figures:
    """One layer; kinds: [n], the modality of its first n tokens (what follows is filling)."""
    num_experts, count = len(routing.load), len(kinds)
    expert, kept, entropy = routing.expert[:count], routing.kept[:count], routing.entropy[:count]
    rows = []
    for chosen in (kinds >= 0, *(kinds == index for index in range(len(MODALITIES)))):
        slot = torch.where(chosen[:, None], expert, num_experts).flatten()
        load = torch.zeros(num_experts + 1, device=slot.device).index_add_(0, slot, torch.ones_like(slot).float())
        load = load[:num_experts]
        tokens = chosen.sum()
        rows.append(
            torch.stack([
                load.max() * num_experts / load.sum().clamp(min=1),
                (chosen[:, None] & ~kept).sum() / expert.shape[1],
                (entropy * chosen).sum(),
                tokens.float(),
            ])
        )  # fmt: skip
    figures: Figures = {}
    for suffix, row in zip(("", *(f"/{name}" for name in MODALITIES)), rows, strict=True):
        imbalance, dropped, total, tokens = row.unbind()
        there = tokens.clamp(max=1.0)  # a modality that a batch has nothing of is left out of the mean
        figures[f"load{suffix}"] = (imbalance * there, there)
        figures[f"dropped{suffix}"] = (dropped, tokens)
        figures[f"entropy{suffix}"] = (total, tokens)
    return figures
