"""Results of task evaluations as Markdown, in the form of the paper's tables (section 5): one for each task, a row a
system, ours first, a column a score; under it what was asked and how.

In: what `m6.train.task_evaluation.evaluate` returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]
OURS = "M6"


def tables(results: Sequence[Result]) -> str:
    """A table for each result, in their order."""
    return "\n\n".join(map(table, results))


def table(result: Result) -> str:
    """Systems by scores, the score that counts most first; or a line, where no right answers are told."""
    protocol = result["protocol"]
    title = f"### {result['task']}, {protocol['split']}"
    if not result["scores"]:
        answers = Path(result["file"]).with_suffix(".answers.jsonl")
        return f"{title}\n\nno right answers in this split: answers written to {answers}"
    names = sorted(result["scores"], key=lambda name: name != result["main"])
    systems = {OURS: result["scores"], **result["baselines"]}
    head = ["system", *(f"**{name}**" if name == result["main"] else name for name in names)]
    rows = [[system, *(_cell(scores.get(name)) for name in names)] for system, scores in systems.items()]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([title, "", *lines, "", _under(protocol)])


def _under(protocol: Mapping[str, Any]) -> str:
    """Split, examples, seed, and how answers came about."""
    parts = [f"Split {protocol['split']}", f"{protocol['examples']:,} examples", f"seed {protocol['seed']}"]
    if protocol["shots"]:
        parts.append(f"{protocol['shots']} examples with answers before each")
    return f"{', '.join([*parts, _way(protocol)])}. In brackets: 95 % intervals."


def _way(protocol: Mapping[str, Any]) -> str:
    if protocol["answers"] == "painted":
        way = f"painted at temperature {protocol['temperature']:g}, guidance {protocol['guidance']:g}"
        return way + (f", the best of {protocol['candidates']}" if protocol["candidates"] > 1 else "")
    if protocol["answers"] in ("chosen", "ranked"):
        by = "log p(text | request)" + (" - log p(text)" if protocol["chosen_by"] == "pmi" else "")
        return f"answers {protocol['answers']} by {by}"
    if protocol["beams"] > 1:
        way = f"answers written by beam search with {protocol['beams']} beams"
    elif protocol["temperature"]:
        way = f"answers sampled at temperature {protocol['temperature']:g}, top_p {protocol['top_p']:g}"
    else:
        way = "answers written greedily"
    held = {True: ", held to their form", False: ", not held to their form"}[protocol["form"]]
    return way + (held if protocol["task"] == "poems" else "")


def _cell(score: Mapping[str, float | None] | None) -> str:
    if score is None:
        return "-"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
