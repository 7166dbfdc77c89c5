"""`m6 plan`: what a training on many GPUs would take, told at once and without torch.

In: a size, recipe or run folder, a number of GPUs and their kind. Out: the mesh, micro-batch and recomputation that
suit, with memory, traffic, time and cost, as a page or as JSON of the same numbers; with --dry-run, beside them what
the training code itself does on such a rank.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from m6 import flags
from m6.config import UserError, nearest
from m6.model.sizes import SIZES
from m6.parallel.plan.choose import CHECKPOINTING, Plan, Wish, choose, enough
from m6.parallel.plan.hardware import GPUS, find
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import CONTEXT, FRAGMENTS
from m6.parallel.plan.time import HIDDEN, assumed_mfu
from m6.parallel.plan.traffic import Flow, by_group, flows
from m6.show import sized

HELP = f"""\
m6 plan SIZE --gpus N [--gpu KIND] [flags]: what a training on N GPUs takes: the mesh that suits, memory, traffic, time,
cost. SIZE is a size ({", ".join(SIZES)}), a recipe or a run folder.

  --gpus N               GPUs in all
  --gpu KIND             {", ".join(GPUS)} (a100-80g), or a .json file of the fields of one
  --gpus-per-node N      (8)
  --length N             tokens of a text (1024)
  --vocabulary N         text entries and image codes together
  --tokens-per-step N    of all GPUs together, about (1048576)
  --corpus-tokens N      tokens to train on, for the days and the cost
  --price X              of a GPU for an hour, in any currency
  --mfu X                share of the data sheet's FLOP/s that products reach; assumed if it is not given
  --replicate N, --experts N, --rows N, --checkpointing none|selective|full
                         one that you choose yourself: copies of the model, groups of experts, texts of a micro-batch
  --dry-run              run the training code on one such rank, with fake tensors, and compare: up to some minutes
  --json                 the numbers as JSON
  --model.field value    a size with something changed

docs/en/plan.md has the formulas, and how far they were checked."""
COUNTS = ("gpus", "gpus_per_node", "length", "vocabulary", "tokens_per_step", "corpus_tokens", "replicate", "experts",
          "rows")  # fmt: skip
AMOUNTS = ("price", "mfu")
WORDS = ("gpu", "checkpointing")
PAPER = {"gpus": 128, "samples_per_second": 1440, "length": 272}
"""M6-100B on 128 A100, as recalled from the paper; not confirmed."""


@dataclass(frozen=True)
class Asked:
    """The words of the command line, read."""

    name: str
    wish: Wish
    gpu: str
    corpus_tokens: int | None
    price: float | None
    mfu_given: bool


def plan(words: Sequence[str]) -> str:
    """What the words of the command line ask for. UserError for whatever is wrong with them."""
    switches = {"--json", "--dry-run"}
    asked = _asked([word for word in words if word not in switches])
    found, fits = choose(asked.wish)
    facts = describe(asked, found, fits)
    if "--dry-run" in words:
        facts["dry_run"] = _dry_run(found)
    return json.dumps(facts, ensure_ascii=False, indent=1) if "--json" in words else page(asked, found, facts)


def _asked(words: Sequence[str]) -> Asked:
    alone, given = flags.split(words)
    if len(alone) != 1:
        raise UserError(f"m6 plan takes one size, recipe or run folder, got {' '.join(alone) or 'none'}; see --help")
    counts = {name: _count(name, given.pop(name)) for name in COUNTS if name in given}
    amounts = {name: _amount(name, given.pop(name)) for name in AMOUNTS if name in given}
    chosen = {name: given.pop(name) for name in WORDS if name in given}
    for name in given:
        if not name.startswith("model."):
            known = [each.replace("_", "-") for each in (*COUNTS, *AMOUNTS, *WORDS, "json", "dry_run")]
            flag = name.replace("_", "-")
            raise UserError(f"--{flag}: no such flag{nearest(flag, known)}")
    if "gpus" not in counts:
        raise UserError("m6 plan needs --gpus, how many there are")
    if amounts.get("mfu", 0.5) > 1:
        raise UserError(f"--mfu {amounts['mfu']:g}: a share, from 0 to 1")
    if chosen.get("checkpointing", "none") not in CHECKPOINTING:
        raise UserError(f"--checkpointing {chosen['checkpointing']!r}: allowed are {', '.join(CHECKPOINTING)}")
    kind = chosen.get("gpu", "a100-80g")
    gpu = find(kind)
    if "gpus_per_node" in counts:
        gpu = gpu.override({"per_node": counts["gpus_per_node"]})
    size = sized(alone[0], given, counts.get("vocabulary", 0), "plan")
    own: dict[str, Any] = {name: counts[name] for name in Wish.__dataclass_fields__ if name in counts}
    mfu = amounts.get("mfu", assumed_mfu(size.model))
    own |= {"gpu": gpu, "mfu": mfu, "checkpointing": chosen.get("checkpointing")}
    wish = Wish(model=size.model, vocab_size=size.vocab_size, **own)
    return Asked(alone[0], wish, kind, counts.get("corpus_tokens"), amounts.get("price"), "mfu" in amounts)


def _count(flag: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--{flag.replace('_', '-')}: {text!r} is not a whole number from 1 on")
    return int(text)


def _amount(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"--{flag}: {text!r} is not a number above 0")
    return value


def describe(asked: Asked, found: Plan, fits: bool) -> dict[str, Any]:
    """Every number that is shown, as plain values: bytes, seconds, tokens."""
    job, wish = found.job, asked.wish
    facts: dict[str, Any] = {
        "name": asked.name,
        "gpu": {"kind": asked.gpu, **wish.gpu.model_dump()},
        "gpus": wish.gpus,
        "fits": fits,
        "mesh": job.axes._asdict(),
        "rows": job.rows,
        "length": job.length,
        "accumulate": job.parallel.accumulate,
        "checkpointing": job.checkpointing,
        "memory": {**asdict(found.memory), "tensors": found.memory.tensors, "device": found.memory.device},
        "traffic": [{**asdict(flow), "wire": flow.wire} for flow in flows(job)],
        "mfu": {"value": wish.mfu, "assumed": not asked.mfu_given},
        "seconds": {**asdict(found.seconds), "step": found.seconds.step},
        "tokens_per_step": found.tokens_per_step,
        "tokens_per_second": found.tokens_per_second,
        "samples_per_second": found.tokens_per_second / job.length,
    }
    if asked.corpus_tokens:
        facts["days"] = asked.corpus_tokens / found.tokens_per_second / 86_400
        if asked.price:
            facts["cost"] = facts["days"] * 24 * wish.gpus * asked.price
    if asked.price:
        facts["cost_per_billion_tokens"] = 1e9 / found.tokens_per_second / 3600 * wish.gpus * asked.price
    if not fits:
        others = {name: gpu for name, gpu in GPUS.items() if gpu.memory_gib > wish.gpu.memory_gib}
        facts["would_fit"] = {
            "gpus": enough(wish),
            "kinds": [name for name, gpu in others.items() if choose(replace(wish, gpu=gpu))[1]],
        }
    if asked.name == "100b" and wish.gpus == PAPER["gpus"] and asked.gpu.startswith("a100"):
        same, _ = choose(replace(wish, length=PAPER["length"]))
        facts["paper"] = {**PAPER, "mark": "recalled", "ours": same.tokens_per_second / PAPER["length"]}
    return facts


def _dry_run(found: Plan) -> dict[str, Any]:
    from m6.train.config import LoopConfig
    from m6.train.dry_run import dry_run

    job = brief(found.job)
    loop = LoopConfig().override({"checkpointing": job.checkpointing})
    real = dry_run(job.model, job.vocab_size, job.world, job.parallel, loop, job.rows, job.length)
    traffic = [
        {"kind": what.kind, "axis": what.group, "calls": sent.calls, "bytes": sent.bytes}
        for what, sent in real.traffic.items()
    ]
    return {**vars(real), "traffic": traffic}


def brief(job: Job) -> Job:
    """The same with two micro-batches at the most: the others do what the second does."""
    return replace(job, parallel=job.parallel.override({"accumulate": min(2, job.parallel.accumulate)}))


def page(asked: Asked, found: Plan, facts: dict[str, Any]) -> str:
    """The numbers for a person."""
    job, wish, memory = found.job, asked.wish, facts["memory"]
    room = wish.gpu.memory_gib
    verdict = "fits" if facts["fits"] else "DOES NOT FIT"
    lines = [
        f"{asked.name} on {wish.gpus} x {asked.gpu}: {verdict}, {_gib(memory['device'])} of {room:.1f} GiB",
        "",
        f"mesh           {job.axes.replicate} cop{'ies' if job.axes.replicate > 1 else 'y'} of the model over"
        f" {job.axes.shard} GPUs each" + (f", experts in {job.axes.experts} groups" if job.sparse else ""),
        f"micro-batch    {job.rows} texts of {job.length:,} tokens, {job.parallel.accumulate} in a step;"
        f" {found.tokens_per_step:,} tokens a step in all",
        f"checkpointing  {job.checkpointing}",
        "",
        *_table([("memory of a GPU", ""), *_memory_rows(memory)]),
        "",
        *_table([("traffic of a GPU, a step", "calls", "whole", "sent"), *map(_flow_row, flows(job))]),
        "",
        *_table([("seconds of a step", ""), *((name, f"{value:.3g}") for name, value in facts["seconds"].items())]),
        "",
        f"{found.tokens_per_second:,.0f} tokens/s, {facts['samples_per_second']:,.0f} texts/s",
        *_costs(asked, facts),
        *_missing(facts),
        *_dry_lines(found, facts),
        "",
        _command(asked, found),
        "",
        f"Assumed: products at {wish.mfu:.0%} of the data sheet's {wish.gpu.tflops:,.0f} TFLOP/s"
        f"{' (given)' if asked.mfu_given else ''}; {HIDDEN:.0%} of gathering hidden behind them; "
        f"{CONTEXT / 2**30:.1f} GiB for CUDA and {FRAGMENTS:.0%} lost to fragments; "
        f"{wish.gpu.network_gb_per_s:g} GB/s between nodes for each GPU.",
    ]
    return "\n".join(lines)


def _memory_rows(memory: dict[str, Any]) -> list[tuple[str, str]]:
    names = {"weights": "weights", "optimizer": "optimizer states", "gradients": "gradients",
             "activations": "activations", "gathered": "gathered weights and gradients", "buffers": "buffers",
             "tensors": "all tensors, at the peak", "device": "with CUDA and fragments"}  # fmt: skip
    rows = [(label, _gib(memory[name])) for name, label in names.items()]
    return [*rows, ("the peak is at", memory["moment"])]


def _flow_row(flow: Flow) -> tuple[str, ...]:
    return f"{flow.kind} among {flow.ranks} ({flow.axis})", f"{flow.calls:,}", _gib(flow.bytes), _gib(flow.wire)


def _costs(asked: Asked, facts: dict[str, Any]) -> list[str]:
    lines = []
    if "days" in facts:
        cost = f", {facts['cost']:,.0f} at {asked.price:g} a GPU and hour" if "cost" in facts else ""
        lines.append(f"{asked.corpus_tokens:,} tokens take {facts['days']:,.1f} days{cost}")
    elif "cost_per_billion_tokens" in facts:
        lines.append(f"a billion tokens cost {facts['cost_per_billion_tokens']:,.2f}")
    if "paper" in facts:
        paper = facts["paper"]
        lines.append(
            f"at {paper['length']} tokens a text {paper['ours']:,.0f} texts/s; the paper has "
            f"{paper['samples_per_second']:,} on as many A100 ({paper['mark']}, not confirmed)"
        )
    return lines


def _missing(facts: dict[str, Any]) -> list[str]:
    if facts["fits"]:
        return []
    would = facts["would_fit"]
    ways = [f"{would['gpus']:,} of these GPUs"] if would["gpus"] else []
    ways += [f"as many {kind}" for kind in would["kinds"]]
    return [
        "",
        f"This is what takes least memory. What would fit: {'; or '.join(ways) or 'nothing that is known here'}.",
    ]


def _dry_lines(found: Plan, facts: dict[str, Any]) -> list[str]:
    if "dry_run" not in facts:
        return []
    real = facts["dry_run"]
    planned = by_group(brief(found.job))
    rows = [("dry run", "planned", "counted"),
            ("tensors at the peak", _gib(found.memory.tensors), _gib(real["peak"]))]  # fmt: skip
    for sent in real["traffic"]:
        if flow := planned.get((sent["kind"], sent["axis"])):
            rows.append((f"{flow.kind} ({flow.axis})", _gib(flow.bytes), _gib(sent["bytes"])))
    few = " (of a step with two micro-batches)" if found.job.parallel.accumulate > 2 else ""
    return ["", *_table(rows), f"in {real['seconds']:.0f} s and {real['host_gib']:.2f} GiB here{few}"]


def _command(asked: Asked, found: Plan) -> str:
    job, nodes = found.job, -(-asked.wish.gpus // asked.wish.gpu.per_node)
    changed = {"replicate": job.axes.replicate, "experts": job.axes.experts, "accumulate": job.parallel.accumulate}
    given = [f"--pretrain.parallel.{name} {value}" for name, value in changed.items() if value > 1]
    if job.checkpointing != "none":
        given.append(f"--pretrain.loop.checkpointing {job.checkpointing}")
    there = f"--nnodes {nodes} " if nodes > 1 else ""
    each = min(asked.wish.gpus, asked.wish.gpu.per_node)
    words = [f"torchrun {there}--nproc-per-node {each} -m m6.cli pretrain", shlex.quote(asked.name), *given]
    return " ".join(words)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()

    return [line(row) for row in rows]


def _gib(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 / 100 else f"{count / 2**20:,.2f} MiB"
