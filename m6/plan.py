"""`m6 plan`: what training a size on some GPUs takes of memory, traffic, time and money, and the mesh that suits.

In: a size, a recipe or a run folder, how many GPUs and which. Out: a page, or JSON of the same numbers, at once and
without torch: formulas give them (`m6.parallel.plan`, docs/en/plan.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m6 import flags
from m6.config import Config, UserError, nearest
from m6.model.flops import TRAINING, flops_per_token
from m6.model.sizes import SIZES, Size
from m6.parallel.plan.choose import CHECKPOINTING, Choice, Wish, choose, leanest, remedies
from m6.parallel.plan.hardware import GPU, GPUS, SOURCES, Efficiency, assumed_mfu
from m6.parallel.plan.memory import CONTEXT, FRAGMENTS
from m6.parallel.plan.time import flow_seconds, inside, part_of
from m6.parallel.plan.traffic import flows
from m6.plan_page import page
from m6.show import changed, count, find

PER_NODE = 8
TOKENS_PER_STEP = 2**20
CORPUS_TOKENS = 111.8e9
"""The paper's corpus (confirmed)."""
PAPER = {"samples_per_second": 1440, "length": 272, "gpus": 128, "size": "100b", "mark": "recalled"}
"""M6-100B on A100; of which memory is not known."""
OTHERS = 3
_ASSUMED = Efficiency()
HELP = f"""\
m6 plan SIZE | RECIPE | RUN --gpus N [--gpu GPU] [...]: memory, traffic, time and cost of a training, and its mesh.

SIZE is {", ".join(SIZES)}.
GPU is {", ".join(GPUS)}, or a JSON file; a100-80g if none is named.
  --gpus N                  GPUs, all alike; this many processes
  --gpus-per-node N         of them in one machine ({PER_NODE}, or all if they are fewer)
  --gpu.memory-gib X ...    a GPU of your own: tflops, memory-bandwidth, node-bandwidth, network-bandwidth (GB/s one
                            way); what is not given is that of --gpu
  --length N                tokens of a text, which is a row of a batch (1024, or the recipe's row_length)
  --samples-per-step N      texts of a step on all GPUs, or
  --tokens-per-step N       tokens at the least, filled up to as many texts for each GPU ({TOKENS_PER_STEP:,})
  --corpus-tokens N         read once ({CORPUS_TOKENS:,.0f}, the paper's corpus)
  --price X                 dollars for a GPU and hour
  --vocabulary N            text entries and image codes together
  --dry-run                 the training code itself on one such rank, with fake tensors, beside it: some minutes
  --json                    the same as JSON

What a training reaches of what GPUs can do, assumed until it is measured:
  --mfu X                   share of the peak FLOP/s while nobody waits (0.4; 0.25 for widths below 2,048), as
                            `mfu_datasheet` in the metrics of a run on one GPU
  --link-share X            share of the links' bandwidth ({_ASSUMED.link_share})
  --hidden X                share of gathering weights that computation hides ({_ASSUMED.hidden})
  --latency X, --hop X      seconds that a collective takes at the least ({_ASSUMED.latency:g}), and more for each \
further rank ({_ASSUMED.hop:g})

What is not to be chosen:
  --parallel.experts N ...  an axis (replicate, shard, experts), accumulate, or reshard_after_forward
  --rows N                  texts of a micro-batch on a GPU
  --checkpointing HOW       {", ".join(CHECKPOINTING)}
  --model.field value       something of the model

Numbers are formulas; docs/en/plan.md has them, what they assume, and what they were checked against."""
COUNTS: tuple[str, ...] = (
    "gpus", "gpus_per_node", "length", "samples_per_step", "tokens_per_step", "rows", "vocabulary",
)  # fmt: skip
_PARALLEL = ("replicate", "shard", "experts", "accumulate", "reshard_after_forward")


@dataclass(frozen=True)
class Request:
    """What the words of a command line ask for."""

    name: str
    size: Size
    gpu: str
    wish: Wish
    corpus_tokens: float
    price: float
    assumed: bool
    """Whether the MFU is."""


def plan(words: Sequence[str]) -> str:
    """The page or the JSON for the words of a command line. UserError for what is unknown or does not divide."""
    request = parse([word for word in words if word not in ("--json", "--dry-run")])
    facts = describe(request, dry="--dry-run" in words)
    return json.dumps(facts, ensure_ascii=False, indent=1) if "--json" in words else page(facts)


def parse(words: Sequence[str]) -> Request:
    """The words of a command line, checked. UserError for a mistake."""
    alone, given = flags.split(words)
    if len(alone) != 1:
        raise UserError(f"m6 plan takes one size, recipe or run folder, got {' '.join(alone) if alone else 'none'}")
    if "gpus" not in given:
        raise UserError("m6 plan needs --gpus, how many there are; `m6 plan --help` tells the rest")
    size, recipe = find(alone[0])
    numbers = {name: count(name.replace("_", "-"), given.pop(name)) for name in COUNTS if name in given}
    world = numbers["gpus"]
    name, gpu = _gpu(given)
    corpus, price = (_positive(flag, given.pop(flag, default)) for flag, default in
                     (("corpus_tokens", str(CORPUS_TOKENS)), ("price", "0")))  # fmt: skip
    shares = {field: given.pop(field) for field in Efficiency.model_fields if field in given}
    named = {field: given.pop(f"parallel.{field}") for field in _PARALLEL if f"parallel.{field}" in given}
    checkpointing = given.pop("checkpointing", None)
    if checkpointing is not None and checkpointing not in CHECKPOINTING:
        raise UserError(f"--checkpointing {checkpointing!r}{nearest(checkpointing, CHECKPOINTING)}")
    changes = flags.values(given, recipe, "plan")
    if others := [field for field in changes if not field.startswith(("model.", "pretrain.loop.optimizer."))]:
        raise UserError(f"--{others[0]} is nothing that m6 plan takes; `m6 plan --help` lists what it does")
    recipe = recipe.override(changes)
    size = changed(size, recipe.model, numbers.get("vocabulary", 0))
    length = numbers.get("length", 1024 if alone[0] in SIZES else recipe.pretrain.data.row_length)
    wish = Wish(
        model=recipe.model,
        vocab_size=size.vocab_size,
        world=world,
        gpu=gpu,
        per_node=_per_node(world, numbers.get("gpus_per_node", min(PER_NODE, world))),
        length=length,
        samples=_samples(world, length, numbers),
        muon=recipe.pretrain.loop.optimizer.muon_learning_rate > 0,
        efficiency=Efficiency(**{"mfu": assumed_mfu(recipe.model)} | shares),
        named=_named(named),
        checkpointing=checkpointing,
        rows=numbers.get("rows", 0),
    )
    return Request(alone[0], size, name, wish, corpus, price, "mfu" not in shares)


def _gpu(given: dict[str, str]) -> tuple[str, GPU]:
    """The GPU that flags name or describe, which are taken out of them."""
    own = {name.removeprefix("gpu."): given.pop(name) for name in list(given) if name.startswith("gpu.")}
    name = given.pop("gpu", "a100-80g")
    if name not in GPUS and not name.endswith(".json"):
        raise UserError(f"--gpu: no GPU {name!r}{nearest(name, GPUS)}, or a JSON file of {', '.join(GPU.model_fields)}")
    gpu = GPUS[name] if name in GPUS else GPU.read(Path(name))
    return (f"{name}, changed" if own else name), gpu.override(own)


def _positive(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"--{flag.replace('_', '-')}: {text!r} is not a number from 0 on")
    return value


def _per_node(world: int, per_node: int) -> int:
    if world % per_node:
        raise UserError(f"--gpus-per-node {per_node} does not divide the {world} GPUs; give one that does")
    return per_node


def _samples(world: int, length: int, numbers: dict[str, int]) -> int:
    """Texts of a step."""
    if "samples_per_step" in numbers and "tokens_per_step" in numbers:
        raise UserError("give --samples-per-step or --tokens-per-step, not both")
    if samples := numbers.get("samples_per_step", 0):
        return samples
    per_rank = -(-numbers.get("tokens_per_step", TOKENS_PER_STEP) // (length * world))
    multiple = max(1, 1 << per_rank.bit_length() - 3)  # a prime number has no micro-batches
    return -(-per_rank // multiple) * multiple * world


class _Named(Config):
    replicate: int = 0
    shard: int = 0
    experts: int = 0
    accumulate: int = 0
    reshard_after_forward: bool | None = None


def _named(given: dict[str, str]) -> dict[str, int]:
    values = _Named().override(given).model_dump(exclude_none=True)
    if wrong := [name for name in given if name in values and name != "reshard_after_forward" and values[name] < 1]:
        raise UserError(f"--parallel.{wrong[0]}: {given[wrong[0]]!r} is not a whole number from 1 on")
    return {name: int(values[name]) for name in given if name in values}


def describe(request: Request, dry: bool = False) -> dict[str, Any]:
    """Every number that is shown, as plain values; with `dry`, those of a dry run too."""
    wish = request.wish
    found = choose(wish, 1 + OTHERS)
    best = found[0] if found else leanest(wish)
    facts: dict[str, Any] = {
        "name": request.name,
        "about": request.size.about,
        "gpus": wish.world,
        "gpus_per_node": wish.per_node,
        "gpu": {"name": request.gpu, **wish.gpu.model_dump(), "source": SOURCES.get(request.gpu, "as given")},
        "efficiency": {**wish.efficiency.model_dump(), "mfu_assumed": request.assumed},
        "allowance": {"context_bytes": CONTEXT, "fragments": FRAGMENTS},
        "fits": bool(found),
        "plan": of_choice(best, request),
        "others": [of_choice(other, request) for other in found[1:]],
        "would_fit": {} if found else {words: brief(choice) for words, choice in remedies(wish).items()},
    }
    if request.size is SIZES[str(PAPER["size"])]:
        facts["paper"] = _paper(wish)
    if dry:
        facts["dry_run"] = _dry_run(best)
    return facts


def brief(choice: Choice) -> dict[str, Any]:
    """A choice in a few numbers."""
    job = choice.job
    return {
        "mesh": job.axes._asdict() | {"expert_shard": job.expert_shard},
        "rows": job.rows,
        "accumulate": job.parallel.accumulate,
        "checkpointing": job.checkpointing,
        "reshard_after_forward": job.parallel.reshard_after_forward,
        "device_bytes": round(choice.memory.device),
        "step_seconds": choice.time.seconds,
        "tokens_per_second": choice.tokens / choice.time.seconds,
    }


def of_choice(choice: Choice, request: Request) -> dict[str, Any]:
    """All of a choice."""
    wish, time, memory = choice.wish, choice.time, choice.memory
    rate = choice.tokens / time.seconds
    days = request.corpus_tokens / rate / 86_400
    cost = days * 24 * wish.world * request.price if request.price else None
    parts = ("weights", "gradients", "optimizer", "activations", "gathered", "buffers")
    return brief(choice) | {
        "length": wish.length,
        "samples_per_step": wish.samples,
        "tokens_per_step": choice.tokens,
        "memory": {part: getattr(memory, part) for part in parts}
        | {"allowance": memory.device - memory.tensors, "peak_at": memory.moment},
        "traffic": [_flow(flow, choice) for flow in flows(choice.job)],
        "seconds": {part: getattr(time, part) for part in ("products", "again", "weights", "tokens", "update")}
        | {"step": time.seconds, "step_in_turn": time.in_turn},
        "samples_per_second": wish.samples / time.seconds,
        "mfu": time.flops / time.seconds / wish.gpu.tflops / 1e12,
        "corpus": {"tokens": request.corpus_tokens, "days": days, "price": request.price or None, "dollars": cost},
    }


def _flow(flow: Any, choice: Choice) -> dict[str, Any]:
    wish, job = choice.wish, choice.job
    return {
        "kind": flow.kind,
        "axis": flow.axis,
        "ranks": flow.ranks,
        "in_a_node": inside(flow.axis, job, wish.per_node),
        "calls": flow.calls,
        "bytes": flow.bytes,
        "wire_bytes": flow.wire,
        "seconds": flow_seconds(flow, job, wish.gpu, wish.efficiency, wish.per_node),
        "part": part_of(flow),
    }


def _paper(wish: Wish) -> dict[str, Any]:
    """The paper's figure, and what share of the peak of its GPUs that is for the model as it is here."""
    tokens = PAPER["samples_per_second"] * PAPER["length"]  # type: ignore[operator]
    per_token = TRAINING * sum(flops_per_token(wish.model, wish.vocab_size, PAPER["length"], causal=True).values())  # type: ignore[arg-type]
    peak = GPUS["a100-80g"].tflops * 1e12 * PAPER["gpus"]  # type: ignore[operator]
    return {**PAPER, "tokens_per_second": tokens, "mfu": tokens * per_token / peak}


def _dry_run(choice: Choice) -> dict[str, Any]:
    from m6.train.config import LoopConfig
    from m6.train.dry_run import dry_run

    job = choice.job
    loop = LoopConfig().override({"checkpointing": job.checkpointing})
    loop = loop if job.muon else loop.override({"optimizer.muon_learning_rate": 0.0})
    real = dry_run(job.model, job.vocab_size, job.world, job.parallel, loop, job.rows, job.length)
    traffic = [
        {"kind": what.kind, "axis": what.group, "calls": sent.calls, "bytes": sent.bytes}
        for what, sent in real.traffic.items()
    ]
    return {**vars(real), "traffic": traffic, "planned_peak": choice.memory.tensors}
