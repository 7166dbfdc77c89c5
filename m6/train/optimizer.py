"""AdamW and Muon behind one object, and the schedule of their rates.

Muon (Keller Jordan, 2024) replaces the momentum of a matrix by its nearest orthogonal matrix, found by a few
Newton-Schulz steps. Matrices of one shape go through these steps together, as one batched product, which is what makes
it cheap on a CPU; torch.optim.Muon takes them one by one and in bfloat16.
"""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.parallel.clip import clip_gradients
from m6.parallel.fsdp import local
from m6.parallel.matrices import Rows, rows_of
from m6.parallel.mesh import ALONE, Ranks
from m6.parallel.state import Part, spread_names
from m6.train.config import OptimizerConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration
NEWTON_SCHULZ_STEPS = 5
ELEMENTS_AT_ONCE = 2**25
"""Of the matrices that go through these steps together: bounds what an update takes beside weights and momentum."""


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, about: singular values end between 0.7 and 1.2. [N, R, C] -> [N, R, C].

    Each iteration multiplies x by a polynomial of its Gram matrix x x^T. All these polynomials commute, so they are
    gathered on the small Gram matrix and multiplied to x once, at the end: about a third less work for wide matrices.
    On CUDA the products are in bfloat16, which is enough for a direction.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if x.is_cuda else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    gathered = identity
    for step in range(NEWTON_SCHULZ_STEPS):
        polynomial = a * identity + b * gram + c * (gram @ gram)
        gathered = polynomial @ gathered if step else polynomial
        if step < NEWTON_SCHULZ_STEPS - 1:
            gram = polynomial @ gram @ polynomial
    x = gathered @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum with Nesterov's look-ahead, orthogonalised, scaled by sqrt(max(1, rows / columns)).

    Takes matrices [R, C] and stacks of matrices [N, R, C]. Decoupled weight decay. `sharded` tells of matrices of which
    only some rows are here.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        sharded: Mapping[Tensor, Rows] | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._sharded = sharded or {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[int, int, Rows | None], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rows, columns = parameter.shape[-2:]
                    shards = self._sharded.get(parameter)
                    alike[shards.count if shards else rows, columns, shards].append(parameter)
            for (rows, columns, shards), parameters in alike.items():
                for stacks in self._stacks(parameters, (shards.most if shards else rows) * columns):
                    _update(stacks, group, max(1.0, rows / columns) ** 0.5, shards)

    def _stacks(self, parameters: list[Tensor], elements: int) -> Iterator[list[tuple[Tensor, ...]]]:
        """Weights, gradient and momentum of every parameter as stacks [n, R, C], so many at once as are bounded."""
        most = max(1, ELEMENTS_AT_ONCE // elements)
        together: list[tuple[Tensor, ...]] = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            assert parameter.grad is not None
            triple = (parameter, parameter.grad.contiguous(), state["momentum"])
            stacked = (each if each.dim() == 3 else each[None] for each in triple)
            for stack in zip(*(each.split(most) for each in stacked), strict=True):
                if sum(len(weights) for weights, _, _ in together) + len(stack[0]) > most:
                    yield together
                    together = []
                together.append(stack)
        yield together


def _update(stacks: list[tuple[Tensor, ...]], group: dict[str, Any], scale: float, shards: Rows | None = None) -> None:
    """Moves weights [n, R, C] and momenta of a group of stacks, in place; with `shards`, R is the rows of this rank."""
    directions = []
    for _, gradient, momentum in stacks:
        momentum.lerp_(gradient, 1 - group["momentum"])
        directions.append(gradient.lerp(momentum, group["momentum"]))
    lengths = [len(direction) for direction in directions]
    together = torch.cat(directions)
    turned = (shards.turn(together, orthogonalize) if shards else orthogonalize(together)).split(lengths)
    for (weights, _, _), direction in zip(stacks, turned, strict=True):
        weights.mul_(1 - group["lr"] * group["weight_decay"])
        weights.add_(direction, alpha=-group["lr"] * scale)


def rate_at(step: int, num_steps: int, config: OptimizerConfig) -> float:
    """Share of the peak rate at update `step` (0 to num_steps - 1): that of the schedule when the update is done."""
    done, rate = zip(*config.schedule, strict=True)
    return float(np.interp((step + 1) / num_steps, done, rate))


def _adamw(groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW with states as the config says. UserError where 8-bit ones are asked for without torchao."""
    if config.states == "float32":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    states: torch.optim.Optimizer = adamw_8bit()(groups, lr=config.learning_rate, betas=config.betas)
    return states


def adamw_8bit() -> Any:
    """The class of torchao. UserError if it is missing."""
    logging.disable(logging.WARNING)  # it tells of kernels for GPUs that are not here
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise UserError("optimizer.states '8bit' needs torchao: pip install 'open-m6[fast]'") from None
    finally:
        logging.disable(logging.NOTSET)
    warnings.filterwarnings("ignore", message="OptimState8bit does not implement _stable_hash")
    return AdamW8bit


class Optimizers:
    """All parameters of a model, split between Muon and AdamW.

    `matrices` names the parameters that Muon takes; the embedding, norms and convolutions stay with AdamW.
    `rate_shares` names those of AdamW that have only a share of its rate: what was trained elsewhere is undone by a
    rate that suits what starts from chance.

    Of a sharded model each rank updates the parts that lie there, as plain tensors; only Muon needs whole matrices.
    """

    def __init__(
        self,
        model: nn.Module,
        config: OptimizerConfig,
        num_steps: int,
        matrices: Iterable[str] = (),
        rate_shares: Mapping[str, float] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config = config
        self.num_steps = num_steps
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._ranks = ranks
        self._spread = spread_names(model)
        self._whole = dict(model.named_parameters())
        named = {name: local(parameter) for name, parameter in self._whole.items()}
        self._names = {part: name for name, part in named.items()}
        with_muon = set(matrices) if config.muon_learning_rate else set()
        alike: dict[tuple[float, bool], list[Tensor]] = defaultdict(list)
        for name, parameter in named.items():
            if name not in with_muon:
                alike[(rate_shares or {}).get(name, 1.0), parameter.dim() >= 2].append(parameter)
        groups = [
            {"params": alike[share, decays], "weight_decay": config.weight_decay * decays, "share": share}
            for share, decays in sorted(alike, reverse=True)
        ]
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [(_adamw(groups, config), config.learning_rate)]
        if with_muon:
            muon = Muon(
                [named[name] for name in sorted(with_muon)],
                config.muon_learning_rate,
                config.momentum,
                config.weight_decay,
                {named[name]: rows for name in with_muon if (rows := rows_of(self._whole[name], ranks))},
            )
            self.parts.append((muon, config.muon_learning_rate))

    def clip(self) -> Tensor:
        """Scales the gradients to `clip_norm` at the most; returns their norm [] before."""
        return clip_gradients(self.parameters, self.config.clip_norm, self._ranks)

    def step(self, step: int) -> float:
        """One update at the rate of `step`, gradients cleared; returns the share of the peak rate."""
        share = rate_at(step, self.num_steps, self.config)
        for part, name in self._names.items():
            whole = self._whole[name]
            if whole is not part:
                now = local(whole).untyped_storage()
                assert now._cdata == part.untyped_storage()._cdata, f"{name} was moved after it was sharded"
                part.grad = None if whole.grad is None else local(whole.grad)
        for optimizer, peak in self.parts:
            for group in optimizer.param_groups:
                rate = peak * share * group.get("share", 1.0)
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
            optimizer.step()
        self.zero_grad()
        return share

    def zero_grad(self) -> None:
        """Forgets all gradients, those of the parts on this rank too."""
        for optimizer, _ in self.parts:
            optimizer.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.grad = None

    def parts_of_states(self) -> dict[str, Part]:
        """What lies on this rank of all states, sharing their memory, as "exp_avg.<parameter>"; of an 8-bit state each
        of its tensors, as "exp_avg.codes.<parameter>". A parameter that had no gradient yet gets the state that it
        starts with, so that the names depend on nothing but the config."""
        found = {}
        for optimizer, _ in self.parts:
            for group in optimizer.param_groups:
                for part in group["params"]:
                    name = self._names[part]
                    whole = self._whole[name]
                    if not whole.requires_grad:
                        continue
                    state = optimizer.state[part]
                    if not state:
                        state |= first_state(optimizer, part)
                    for key, value in state.items():
                        if value.shape == part.shape and type(value) is Tensor:
                            found[f"{key}.{name}"] = Part(value, whole, name in self._spread)
                        else:  # whole on every rank
                            found |= {f"{key}{field}.{name}": Part(each, each, False) for field, each in _plain(value)}
        return found


def first_state(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """The state with which an optimizer begins."""
    if isinstance(optimizer, Muon):
        return {"momentum": torch.zeros_like(parameter)}
    if isinstance(optimizer, torch.optim.AdamW):
        step = torch.zeros((), device=parameter.device)
        return {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
    new: Callable[[Tensor, bool], Tensor] = optimizer._new_buffer  # type: ignore[attr-defined]
    return {"step": torch.tensor(0.0), "exp_avg": new(parameter, True), "exp_avg_sq": new(parameter, False)}


def _plain(value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a tensor is made of: those of an 8-bit state are its codes, their scales and their table."""
    if not hasattr(value, "__tensor_flatten__"):
        yield "", value
        return
    for field in value.__tensor_flatten__()[0]:
        yield f".{field}", getattr(value, field)
