"""`m6 show`: what a model of some size is made of and what it costs, told at once and without torch.

In: the name of a size (`m6.model.sizes`), of a recipe or of a run folder, or nothing, for all sizes. Out: a table, or
JSON of the same numbers. Formulae give them, which tests hold against the models themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from m6 import flags
from m6.config import UserError, nearest, recipe_names
from m6.model.flops import TRAINING, TRAINING_BYTES, experts_per_token, flops_per_token, parameters, patch_flops
from m6.model.sizes import MARKS, SIZES, Size, layout_parameters
from m6.recipes.recipe import Recipe, is_run_folder, named
from m6.run import read_done

HELP = f"""\
m6 show [SIZE | RECIPE | RUN] [--length N] [--vocabulary N] [--json] [--model.field value ...]: what a model is made of
and what it costs. Alone, all sizes in a table.

SIZE is {", ".join(SIZES)}.
  --length N      tokens of a text, for FLOPs (1024)
  --vocabulary N  text entries and image codes together; by default those of the size, which has text entries alone,
                  or of the recipe
  --json          the same as JSON
  --model.field   a size with something changed, such as --model.experts.num_experts 8; marks are then left out

Counted is what training holds and computes in float32 with AdamW, without activations. FLOPs are those of matrix
products; training is three times a forward. Marks of numbers:
{chr(10).join(f"  {mark:<9}  {meaning}" for mark, meaning in MARKS.items())}"""
NUMBERS = {
    "num_layers": "layers",
    "hidden_size": "hidden size",
    "num_heads": "heads",
    "ffn_size": "feed-forward",
    "experts.num_experts": "experts",
    "experts.every": "… every n-th layer",
    "experts.ffn_size": "… inner width",
    "experts_per_token": "… for each token",
    "patch_size": "patch, pixels",
    "vocabulary": "vocabulary",
    "parameters": "parameters",
}
"""What a size is given by, and its count: each has a mark. With the headings."""
COUNTED = ("causal", "whole")
"""Attention of a token to itself and those before it, or to all of its text."""


def show(words: Sequence[str]) -> str:
    """What the words of the command line ask for. UserError for an unknown name or flag."""
    alone, given = flags.split([word for word in words if word != "--json"])
    if len(alone) > 1:
        raise UserError(f"m6 show takes one size, recipe or run folder, got {' '.join(alone)}")
    length = _count("length", given.pop("length", "1024"))
    vocabulary = _count("vocabulary", given.pop("vocabulary")) if "vocabulary" in given else 0
    sizes = {name: sized(name, given, vocabulary, "show") for name in alone or SIZES}
    facts = {name: describe(size, length, marked=size is SIZES.get(name)) for name, size in sizes.items()}
    if "--json" in words:
        return json.dumps(facts[alone[0]] if alone else facts, ensure_ascii=False, indent=1)
    return _page(alone[0], facts[alone[0]]) if alone else _overview(facts, length)


def _count(flag: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--{flag}: {text!r} is not a whole number from 1 on")
    return int(text)


def sized(name: str, given: dict[str, str], vocabulary: int, verb: str) -> Size:
    """The size of a name with the changes that flags give; the one of the table if nothing is another. UserError for
    what is no size, or no change of a model."""
    if name in SIZES:
        size, recipe = SIZES[name], Recipe(model=SIZES[name].model)
    elif name in recipe_names() or name.endswith(".py") or is_run_folder(name):
        recipe = named(name)
        trained = read_done(name, "pretrain") if is_run_folder(name) else None
        most = recipe.tokenizer.vocab_size + recipe.vqgan.model.num_codes  # a small corpus may give fewer
        size = Size("as the recipe or run has it", recipe.model, (trained or {}).get("vocabulary", most))
    else:
        raise UserError(f"no size, recipe or run folder {name!r}{nearest(name, [*SIZES, *recipe_names()])}")
    changes = flags.values(given, recipe, verb)
    if others := [field for field in changes if not field.startswith("model.")]:
        raise UserError(f"--{others[0]}: m6 {verb} takes fields of the model alone; see `m6 {verb} --help`")
    changed = (recipe.override(changes).model, vocabulary or size.vocab_size)
    return size if changed == (size.model, size.vocab_size) else Size(f"{size.about}, changed", *changed)


def describe(size: Size, length: int, marked: bool) -> dict[str, Any]:
    """Every number that is shown, as plain values; with marks, if they are those of the table."""
    model, vocabulary = size.model, size.vocab_size
    total = parameters(model, vocabulary)
    forward = {how: flops_per_token(model, vocabulary, length, causal=how == "causal") for how in COUNTED}
    values = model.model_dump() | {f"experts.{field}": value for field, value in model.experts.model_dump().items()}
    values |= {"experts.ffn_size": model.expert_ffn_size, "experts_per_token": experts_per_token(model)}
    values |= {"vocabulary": vocabulary, "parameters": sum(total.values())}
    return {
        "about": size.about,
        "numbers": {
            name: {"value": values[name], **({"mark": size.marks.get(name, "ours")} if marked else {})}
            for name in NUMBERS
            if model.experts.num_experts > 1 or not name.startswith("experts")
        },
        "paper": {"parameters": size.paper_parameters, "layout": layout_parameters(size)}
        if size.paper_parameters
        else None,
        "stem": model.stem,
        "parameters": {"total": total, "active": parameters(model, vocabulary, active=True)},
        "length": length,
        "flops_per_token": {
            how: {
                "forward": flops,
                "forward_total": sum(flops.values()),
                "training_total": TRAINING * sum(flops.values()),
            }
            for how, flops in forward.items()
        },
        "flops_per_patch": patch_flops(model),
        "training_bytes": {name: count * sum(total.values()) for name, count in TRAINING_BYTES.items()},
        "bfloat16_bytes": 2 * sum(total.values()),
    }


def _overview(facts: dict[str, dict[str, Any]], length: int) -> str:
    heading = "size layers hidden heads FFN experts parameters paper active FLOPs training"
    rows: list[tuple[str, ...]] = [tuple(heading.split())]
    for name, fact in facts.items():
        number = {field: entry["value"] for field, entry in fact["numbers"].items()}
        every = f" / {number['experts.every']}" if number.get("experts.every", 1) > 1 else ""
        rows.append(
            (
                name,
                *(f"{number[field]:,}" for field in ("num_layers", "hidden_size", "num_heads", "ffn_size")),
                f"{number['experts.num_experts']:,}{every}" if "experts.num_experts" in number else "-",
                _short(number["parameters"]),
                f"{fact['paper']['parameters']} {fact['numbers']['parameters']['mark']}" if fact["paper"] else "-",
                _short(sum(fact["parameters"]["active"].values())),
                _short(fact["flops_per_token"]["causal"]["training_total"]),
                _bytes(sum(fact["training_bytes"].values())),
            )
        )
    closing = [
        "experts: of a layer, / 2 where only every second layer has them.",
        f"FLOPs: of training, for a token in texts of {length:,}, attention causal.",
        "training: memory of weights, gradients and AdamW in float32.",
        "m6 show SIZE: the parts, and where each number is from.",
    ]
    return "\n".join([*_columns(rows), "", *closing])


def _page(name: str, fact: dict[str, Any]) -> str:
    parts = [_columns(_numbers(fact), words=True), _columns(_parts(fact)), _columns(_costs(fact), words=True)]
    return "\n\n".join([f"{name}: {fact['about']}", *("\n".join(part) for part in [*parts, _closing(fact)])])


def _numbers(fact: dict[str, Any]) -> list[tuple[str, ...]]:
    note = ""
    if fact["paper"]:
        ours, layout = fact["numbers"]["parameters"]["value"], fact["paper"]["layout"]
        note = f" as {fact['paper']['parameters']}; its layout, as far as known, counts {_short(layout)}, "
        note += f"here {ours / layout - 1:+.2%}"
    return [
        (NUMBERS[name], f"{entry['value']:,}", entry.get("mark", "") + (note if name == "parameters" else ""))
        for name, entry in fact["numbers"].items()
    ]


def _parts(fact: dict[str, Any]) -> list[tuple[str, ...]]:
    total, active = fact["parameters"]["total"], fact["parameters"]["active"]
    causal, whole = (fact["flops_per_token"][how]["forward"] for how in COUNTED)
    rows: list[tuple[str, ...]] = [("part", "parameters", "share", "active", "forward FLOPs/token, causal", "whole")]
    count = sum(total.values())
    for name in dict.fromkeys([*total, *causal]):
        if not total.get(name) and not causal.get(name):
            continue
        held = (_short(total[name]), f"{total[name] / count:.1%}", _short(active[name])) if name in total else ("",) * 3
        flops = (_short(causal[name]), _short(whole[name])) if causal.get(name) else ("", "")
        rows.append((name, *held, *flops))
    sums = (_short(count), "", _short(sum(active.values())), _short(sum(causal.values())), _short(sum(whole.values())))
    return [*rows, ("total", *sums)]


def _costs(fact: dict[str, Any]) -> list[tuple[str, ...]]:
    memory = fact["training_bytes"]
    return [
        *(
            (f"training FLOPs/token, {how}", _short(fact["flops_per_token"][how]["training_total"]), "")
            for how in COUNTED
        ),
        *((f"training memory, {name}", _bytes(size), "") for name, size in memory.items()),
        ("… together", _bytes(sum(memory.values())), "float32; activations on top"),
        ("weights in bfloat16", _bytes(fact["bfloat16_bytes"]), "to use it"),
    ]


def _closing(fact: dict[str, Any]) -> list[str]:
    lines = [
        f"FLOPs are for texts of {fact['length']:,} tokens; a patch of a picture takes "
        f"{_short(fact['flops_per_patch'])} more, once."
    ]
    if fact["stem"] in ("backbone", "crops"):
        lines.append("The network that gives the features of pictures is not counted.")
    used = {entry.get("mark") for entry in fact["numbers"].values()} - {None}
    if used:
        lines.append("The vocabulary has text entries alone; --vocabulary N counts image codes too.")
    return lines + [f"{mark}: {meaning}" for mark, meaning in MARKS.items() if mark in used]


def _columns(rows: Sequence[tuple[str, ...]], words: bool = False) -> list[str]:
    """Rows as lines. Columns of numbers end together; the first one, and with `words` the last, begin together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, len(widths) - 1} if words else {0}
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _short(value: float) -> str:
    """324,594,688 -> 324.6M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:,.2f}{unit}" if value < 10 * limit else f"{value / limit:,.1f}{unit}"
    return f"{value:.0f}"


def _bytes(value: float) -> str:
    for limit, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if value >= limit:
            return f"{value / limit:,.1f} {unit}"
    return f"{value / 2**10:.1f} KiB"
