"""`m6 show`: what a model of some size comes to, before anyone builds it: weights, FLOPs, memory.

In: the words of the command line. Out: a table for a terminal, or JSON. No torch: figures come from formulae, which
tests hold against the model itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from m6.config import UserError, nearest, recipe_names
from m6.model.config import ModelConfig
from m6.model.flops import TRAINING, causal_pairs, forward_flops, parameters
from m6.model.sizes import SIZES, Size
from m6.recipes.recipe import is_run_folder, named

HELP = """\
m6 show [SIZE] [--length TOKENS] [--json]: layers, weights, FLOPs and memory of a model.

Without SIZE, all sizes in a table. SIZE is one of them, a recipe (a name, or the path of a .py file) or a run folder.
  --length TOKENS  tokens of a text, for the FLOPs of attention (1,024)
  --json           the same for programs
"""
LENGTH = 1_024
TRAINED = {"weights": 4, "gradients": 4, "AdamW's moments": 8}
"""Bytes a weight while it is trained, in float32."""


def show(words: Sequence[str]) -> str:
    """What is printed. UserError for an unknown size or flag."""
    words, as_json = [word for word in words if word != "--json"], "--json" in words
    length = LENGTH
    if "--length" in words:
        at = words.index("--length")
        given = words[at + 1] if at + 1 < len(words) else "nothing"
        if not given.replace("_", "").isdecimal() or int(given) < 1:
            raise UserError(f"show: --length {given}: give a number of tokens, 1 or more")
        length, words = int(given), words[:at] + words[at + 2 :]
    if len(words) > 1 or (words and words[0].startswith("-")):
        raise UserError(f"show takes one size, recipe or run folder, --length and --json, got {' '.join(words)}")
    if words:
        found = figures(size_of(words[0]), length)
        return json.dumps(found, indent=2) if as_json else _page(words[0], found)
    every = {name: figures(size, length) for name, size in SIZES.items()}
    return json.dumps(every, indent=2) if as_json else _table(every)


def size_of(name: str) -> Size:
    """A size by its name, or that of a recipe or run folder with its vocabulary, image codes included."""
    if name in SIZES:
        return SIZES[name]
    if not (name in recipe_names() or name.endswith(".py") or is_run_folder(name)):
        raise UserError(f"show: no size {name!r}{nearest(name, SIZES)}, nor a recipe or a run folder of that name")
    recipe = named(name)
    return Size(recipe.model, recipe.tokenizer.vocab_size + recipe.vqgan.model.num_codes, "ours")


def figures(size: Size, length: int) -> dict[str, Any]:
    """All that is known of a size, under names for programs. FLOPs are of one token in a text of that length."""
    model, vocabulary = size.model, size.vocab_size
    parts, active = parameters(model, vocabulary), parameters(model, vocabulary, active=True)
    total = sum(parts.values())
    forward = {
        name: forward_flops(model, vocabulary, tokens=length, pairs=pairs) / length
        for name, pairs in (("causal", causal_pairs(length)), ("full", float(length) ** 2))
    }
    return {
        "name": size.name,
        "layout": size.layout,
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "num_heads": model.num_heads,
        "ffn_size": model.ffn_size,
        "vocab_size": vocabulary,
        "experts": model.experts.model_dump(),
        "parameters": total,
        "parameters_by_part": parts,
        "active_parameters": sum(active.values()),
        "paper_parameters": size.said or None,
        "paper_parameters_mark": size.said_mark if size.said else None,
        "computed_parameters": size.computed or None,
        "length": length,
        "forward_flops_per_token": forward,
        "training_flops_per_token": {name: TRAINING * count for name, count in forward.items()},
        "training_bytes": {name: bytes * total for name, bytes in TRAINED.items()},
        "bfloat16_bytes": 2 * total,
    }


def amount(number: float, unit: str = "") -> str:
    """Four digits that count: 323.9 M, 10.17 B."""
    for letter, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:#.4g}".rstrip(".") + f" {letter}{unit}"
    return f"{number:.0f} {unit}".rstrip()


def memory(bytes: float) -> str:
    """GiB, or MiB for little."""
    return f"{bytes / 2**30:,.1f} GiB" if bytes >= 2**30 else f"{bytes / 2**20:,.1f} MiB"


def _table(sizes: dict[str, dict[str, Any]]) -> str:
    rows = [["size", "in the paper", "layers", "hidden", "heads", "FFN", "experts"]]
    rows[0] += ["weights", "active", "said", "layout"]
    for name, row in sizes.items():
        experts = row["experts"]["num_experts"]
        numbers = (row["num_layers"], row["hidden_size"], row["num_heads"], row["ffn_size"])
        said = amount(row["paper_parameters"]) if row["paper_parameters"] else "-"
        weights = [amount(row["parameters"]), amount(row["active_parameters"]), said, row["layout"]]
        rows.append([name, row["name"] or "-", *(f"{number:,}" for number in numbers), f"{experts:,}", *weights])
    return f"{_aligned(rows)}\n\nsaid: by the paper, rounded. `m6 show SIZE` has more of each; `m6 show --help`."


def _page(name: str, found: dict[str, Any]) -> str:
    model = ModelConfig.model_validate({"experts": found["experts"]}).experts
    total = found["parameters"]
    head = [f"{name}: {found['name']}" if found["name"] else name, f"layout {found['layout']}"]
    if found["paper_parameters"]:
        said, computed = found["paper_parameters"], found["computed_parameters"]
        head.append(
            f"{amount(said)} weights by the paper ({found['paper_parameters_mark']}), {amount(computed)} by its layout"
        )
        head.append(f"{100 * (total / computed - 1):+.2f} % here")
    shape = [["layers", "hidden", "heads", "FFN", "vocabulary"]]
    names = ("num_layers", "hidden_size", "num_heads", "ffn_size", "vocab_size")
    shape.append([f"{found[column]:,}" for column in names])
    if model.num_experts > 1:
        shape[0] += ["experts", "per token", "every", "capacity"]
        capacity = f"{model.capacity_factor:g}" if model.capacity_factor else "none"
        shape[1] += [f"{model.num_experts:,}", str(model.top_k * model.prototypes), str(model.every), capacity]
    parts = found["parameters_by_part"].items()
    weights = [["weights", "", "share"]]
    weights += [[part, amount(count), f"{100 * count / total:.1f} %"] for part, count in parts if count]
    weights += [["in all", amount(total), ""], ["a token passes", amount(found["active_parameters"]), ""]]
    flops = [[f"FLOPs a token, {found['length']:,} tokens of text", "causal pairs", "all pairs"]]
    for label, key in (("forward", "forward_flops_per_token"), ("training", "training_flops_per_token")):
        flops.append([label, amount(found[key]["causal"]), amount(found[key]["full"])])
    kept = [["memory", ""], *([name, memory(count)] for name, count in found["training_bytes"].items())]
    kept += [["to train, without activations", memory(sum(found["training_bytes"].values()))]]
    kept += [["to use, in bfloat16", memory(found["bfloat16_bytes"])]]
    return "\n\n".join([" · ".join(head), *map(_aligned, (shape, weights, flops, kept))])


def _aligned(rows: list[list[str]]) -> str:
    """Columns of equal width; the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
