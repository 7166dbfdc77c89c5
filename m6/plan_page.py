"""The page that `m6 plan` prints, out of the facts that it has as JSON."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from typing import Any

from m6.show import columns, in_bytes, short

Row = tuple[str, ...]
MEMORY = {
    "weights": "float32, this rank's part",
    "gradients": "float32, this rank's part, of blocks that are done",
    "optimizer": "moments of AdamW, momentum of Muon",
    "activations": "wait for the backward, or are made again for it",
    "gathered": "whole weights, and whole gradients before they are divided",
    "buffers": "logits, what Muon turns at once",
    "allowance": "CUDA, NCCL and gaps between tensors: assumed",
}
MOMENTS = {
    "logits": "at the loss",
    "compute": "in the backward of a block",
    "gradients": "at the end of the backward of a block",
    "reduce": "while gradients of a block are divided",
    "embedding": "while gradients of the embedding are divided",
    "update": "at the update",
}
SECONDS = {
    "products": "forward and backward",
    "again": "computed again by checkpointing",
    "weights": "weights gathered, gradients added up: most of it while the two above go on",
    "tokens": "tokens to experts and back: all wait",
    "update": "clipping, optimizers, and what Muon sends: all wait",
    "step": "all of it, less what is hidden",
    "step_in_turn": "if nothing is hidden",
}


def page(facts: dict[str, Any]) -> str:
    """The whole page."""
    chosen = facts["plan"]
    nodes = facts["gpus"] // facts["gpus_per_node"]
    heading = f"{facts['name']} ({facts['about']}) on {facts['gpus']} x {facts['gpu']['name']}, {nodes} "
    heading += f"node{'s' if nodes > 1 else ''} of {facts['gpus_per_node']}"
    verdict = [heading] if facts["fits"] else [heading, *_refusal(facts)]
    parts = [verdict, _mesh(facts), _memory(facts), _traffic(chosen), _time(chosen), _result(facts)]
    if facts["others"]:
        parts.append(_others(facts["others"]))
    if "dry_run" in facts:
        parts.append(_dry(facts))
    return "\n\n".join("\n".join(part) for part in [*parts, _closing(facts)] if part)


def _refusal(facts: dict[str, Any]) -> list[str]:
    least = facts["plan"]["device_bytes"]
    lines = [
        f"It does NOT fit: what takes least needs {in_bytes(least)} of each GPU, which has "
        f"{facts['gpu']['memory_gib']:.1f} GiB. Below is that one."
    ]
    for words, choice in facts["would_fit"].items():
        lines.append(f"It would fit with {words}: {in_bytes(choice['device_bytes'])}, {_axes(choice)}.")
    return (
        lines if facts["would_fit"] else [*lines, "No GPU of the table and no number of GPUs that was tried would do."]
    )


def _axes(choice: dict[str, Any]) -> str:
    mesh = choice["mesh"]
    shared = f"replicate {mesh['replicate']} x shard {mesh['shard']}"
    return f"{shared}, experts {mesh['experts']}, checkpointing {choice['checkpointing']}"


def _mesh(facts: dict[str, Any]) -> list[str]:
    chosen = facts["plan"]
    mesh, accumulate = chosen["mesh"], chosen["accumulate"]
    freed = "freed after the forward" if chosen["reshard_after_forward"] else "kept until the backward"
    rows: list[Row] = [
        ("copies of the model (replicate)", f"{mesh['replicate']:,}", ""),
        ("ranks that share one (shard)", f"{mesh['shard']:,}", ""),
        ("groups of experts (experts)", f"{mesh['experts']:,}", f"each shared by {mesh['expert_shard']:,}"),
        ("texts of a micro-batch", f"{chosen['rows']:,}", f"of {chosen['length']:,} tokens"),
        ("micro-batches (accumulate)", f"{accumulate:,}", ""),
        ("step, texts", f"{chosen['samples_per_step']:,}", f"{chosen['tokens_per_step']:,} tokens"),
    ]
    flags = {
        "parallel.replicate": mesh["replicate"],
        "parallel.experts": mesh["experts"],
        "parallel.accumulate": accumulate,
        "parallel.reshard_after_forward": chosen["reshard_after_forward"],
        "loop.checkpointing": chosen["checkpointing"],
    }
    plain: dict[str, Any] = {"parallel.replicate": 1, "parallel.experts": 1, "parallel.accumulate": 1}
    plain |= {"parallel.reshard_after_forward": True, "loop.checkpointing": None}  # recipes differ in it
    words = [f"--pretrain.{name} {str(value).lower()}" for name, value in flags.items() if value != plain[name]]
    count = facts["gpus"] // facts["gpus_per_node"]
    where = f"--nnodes {count} --rdzv-backend c10d --rdzv-endpoint NODE:PORT" if count > 1 else "--standalone"
    nodes = f"{where} --nproc-per-node {facts['gpus_per_node']}"
    return [
        *columns(rows, words=True),
        f"checkpointing {chosen['checkpointing']}; gathered weights of a block are {freed}",
        *textwrap.wrap(f"torchrun {nodes} -m m6.cli pretrain ... {' '.join(words)}", 118, subsequent_indent="  ",
                       break_on_hyphens=False),
    ]  # fmt: skip


def _memory(facts: dict[str, Any]) -> list[str]:
    chosen = facts["plan"]
    memory = chosen["memory"]
    rows: list[Row] = [(f"memory, {part}", in_bytes(memory[part]), words) for part, words in MEMORY.items()]
    total = f"of {facts['gpu']['memory_gib']:.1f} GiB; the peak is {MOMENTS[memory['peak_at']]}"
    return columns([*rows, ("… together", in_bytes(chosen["device_bytes"]), total)], words=True)


def _traffic(chosen: dict[str, Any]) -> list[str]:
    heading: Row = ("a rank, in a step", "among", "in a node", "calls", "bytes", "sent", "seconds")
    rows = [
        (
            f"{flow['kind'].replace('_', '-')}, {flow['axis']}",
            f"{flow['ranks']:,}",
            f"{flow['in_a_node']:,}",
            f"{flow['calls']:,}",
            in_bytes(flow["bytes"]),
            in_bytes(flow["wire_bytes"]),
            f"{flow['seconds']:.3f}",
        )
        for flow in chosen["traffic"]
    ]
    return columns([heading, *rows]) if rows else ["one rank: nothing is sent"]


def _time(chosen: dict[str, Any]) -> list[str]:
    seconds = chosen["seconds"]
    return columns([(f"seconds, {part}", f"{seconds[part]:.3f}", words) for part, words in SECONDS.items()], words=True)


def _result(facts: dict[str, Any]) -> list[str]:
    chosen = facts["plan"]
    corpus, rate = chosen["corpus"], chosen["tokens_per_second"]
    slow = chosen["seconds"]["step_in_turn"] / chosen["seconds"]["step"]
    rows: list[Row] = [
        ("tokens/s", short(rate), f"at the least {short(rate / slow)}; {short(rate / facts['gpus'])} a GPU"),
        ("texts/s", f"{chosen['samples_per_second']:,.0f}", f"of {chosen['length']:,} tokens"),
        ("MFU of the whole step", f"{chosen['mfu']:.1%}", ""),
        ("days", f"{corpus['days']:,.1f}", f"for {short(corpus['tokens'])} tokens, each read once"),
    ]
    if corpus["dollars"] is not None:
        rows.append(("cost", f"${corpus['dollars']:,.0f}", f"at ${corpus['price']:g} for a GPU and hour"))
    if paper := facts.get("paper"):
        told = f"{paper['samples_per_second']:,} texts/s of {paper['length']} tokens on {paper['gpus']} A100 "
        told += f"({paper['mark']}), {paper['mfu']:.1%} of their peak"
        rows.append(("the paper, tokens/s", short(paper["tokens_per_second"]), told))
    return columns(rows, words=True)


def _others(others: list[dict[str, Any]]) -> list[str]:
    rows: list[Row] = [
        ("other meshes", "shard", "experts", "texts", "accumulate", "checkpointing", "memory", "tokens/s")
    ]
    rows += [
        (
            f"replicate {other['mesh']['replicate']:,}",
            f"{other['mesh']['shard']:,}",
            f"{other['mesh']['experts']:,}",
            f"{other['rows']:,}",
            f"{other['accumulate']:,}",
            other["checkpointing"],
            in_bytes(other["device_bytes"]),
            short(other["tokens_per_second"]),
        )
        for other in others
    ]
    return columns(rows)


def _dry(facts: dict[str, Any]) -> list[str]:
    dry = facts["dry_run"]
    mesh, planned = facts["plan"]["mesh"], defaultdict[tuple[str, str], float](float)
    for flow in facts["plan"]["traffic"]:
        one_group = flow["axis"] == "experts" and mesh["experts"] == mesh["shard"]
        planned[flow["kind"], "shard" if one_group else flow["axis"]] += flow["bytes"]
    rows: list[Row] = [("dry run", "planned", "counted")]
    rows.append(("tensors at the peak", in_bytes(dry["planned_peak"]), in_bytes(dry["peak"])))
    for sent in dry["traffic"]:
        if (expected := planned.get((sent["kind"], sent["axis"]))) is not None:
            rows.append(
                (f"{sent['kind'].replace('_', '-')}, {sent['axis']}", in_bytes(expected), in_bytes(sent["bytes"]))
            )
    return [*columns(rows), f"in {dry['seconds']:.0f} s and {dry['host_gib']:.2f} GiB here"]


def _closing(facts: dict[str, Any]) -> list[str]:
    efficiency, gpu = facts["efficiency"], facts["gpu"]
    how = "assumed" if efficiency["mfu_assumed"] else "as given"
    return [
        f"Computation reaches {efficiency['mfu']:.0%} of {gpu['tflops']:g} TFLOP/s ({how}), collectives "
        f"{efficiency['link_share']:.0%} of {gpu['node_bandwidth']:g} GB/s in a node and {gpu['network_bandwidth']:g} "
        "between nodes.",
        f"The GPU: {gpu['source']}.",
        "Texts alone, all of one length; every expert gets as many tokens as any other. See docs/en/plan.md.",
    ]
