"""Evaluation of a trained run on one task: an answer to every example, scores with intervals, and how they were made.

    RUN/evaluate/NAME.json            scores, baselines, protocol, some examples
    RUN/evaluate/NAME.answers.jsonl   every answer, so that two runs can be compared example by example

NAME tells what was measured: the task, the split, every setting that is not the usual one, and a hash of the examples,
as poems-test-shots_3-form_false-1a2b3c4d. What has been measured just so before is not measured again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m6.data.sample import Segment, Text
from m6.generate.prefill import Prefix
from m6.model.weights import WEIGHTS, newest_weights, state_of
from m6.run import versions, write_atomic
from m6.tasks.example import IDS, Example
from m6.train.config import TaskEvaluation
from m6.train.finetune import digest
from m6.train.task_answers import Scores, answered
from m6.train.task_baselines import baselines
from m6.train.task_examined import Examined

__all__ = ["Examined", "Scores", "answered", "baselines", "evaluate", "told"]

SHOWN = 20  # examples in the file of scores
OPEN = ("prompt", "run", "data", "versions")
"""What the protocol tells beside what decides the result: where a run and its data lie, of which hashes tell more."""


def evaluate(folder: Path, config: TaskEvaluation, anew: bool = False) -> dict[str, Any]:
    """Answers, scores and writes; returns what stands in the file of scores, and its path as "file". UserError for data
    that does not fit. What was measured by the same protocol is read, and "taken" is true, unless it is wanted anew."""
    about = Examined(folder, config)
    asked = _asked(about)
    path = folder / "evaluate" / f"{name_of(about, asked)}.json"
    if not anew and (before := _before(path, asked)):
        return {**before, "file": str(path), "taken": True}
    about.pictures = path.with_suffix("")
    answers, scores = answered(about)
    beside = baselines(about) if config.baselines and scores else {}
    result = {
        "task": config.task,
        "main": about.task.MAIN,
        "scores": told(scores, config.seed),
        "baselines": {name: told(found, config.seed) for name, found in beside.items()},
        "protocol": {
            **asked,
            "run": str(folder),
            "data": config.data,
            "prompt": about.examples[0].prompt
            if about.way == "painted"
            else _shown(about, about.prefix(about.examples[0])),
            "versions": versions(),
        },
        "examples": [
            {"key": each.key, "prompt": each.prompt, "answers": list(each.answers), "ours": answer}
            for each, answer in list(zip(about.examples, answers, strict=True))[:SHOWN]
        ],
    }
    path.parent.mkdir(exist_ok=True)
    lines = "".join(_row(each, answer) for each, answer in zip(about.examples, answers, strict=True))
    write_atomic(answers_file(path), lines)
    write_atomic(path, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return {**result, "file": str(path), "taken": False}


def told(scores: Scores, seed: int) -> dict[str, dict[str, float | None]]:
    """Every score with its bounds, as numbers, None for bounds that there are not. A score of nothing is left out, as
    rhymes where no form asks for them."""
    found: dict[str, dict[str, float | None]] = {}
    for name, score in scores.items():
        value, (low, high) = score(), score.interval(seed)
        if not math.isnan(value):
            bounds = {"low": None, "high": None} if math.isnan(low) else {"low": low, "high": high}
            found[name] = {"value": value, **bounds, "examples": len(score.parts), "groups": len(score.clusters)}
    return found


def name_of(about: Examined, asked: dict[str, Any]) -> str:
    """Of the files of a result: task, split, settings that are not the usual ones, hash of the examples."""
    config, usual = about.config, TaskEvaluation()
    if about.way == about.task.KIND:  # whether that was asked for or is what the task is meant for
        config = config.override({"answers": "auto"})
    if about.by == Examined(about.folder, config.override({"chosen_by": "auto"})).by:
        config = config.override({"chosen_by": "auto"})
    changed = [
        f"{name}_{json.dumps(value)}".replace('"', "")
        for name, value in config.model_dump(mode="json").items()
        if name not in ("task", "data", "split") and value != getattr(usual, name)
    ]
    return "-".join([config.task, config.split, *changed, asked["examples_sha256"][:8]])


def answers_file(path: Path) -> Path:
    """Where the answers stand beside a file of scores."""
    return path.with_suffix(".answers.jsonl")


def _row(example: Example, answer: str) -> str:
    ids = {name: example.about[name] for name in IDS if name in example.about}
    return json.dumps({"key": example.key, **ids, "answer": answer}, ensure_ascii=False) + "\n"


def _asked(about: Examined) -> dict[str, Any]:
    """All that decides the result. It needs the data, not the model."""
    weights = newest_weights(about.folder)
    files = state_of(weights)["sha256"]
    own = "".join(digest for name, digest in sorted(files.items()) if name.startswith(f"{WEIGHTS}/"))
    return {
        **about.config.model_dump(mode="json", exclude={"data"}),
        "answers": about.way,
        "chosen_by": about.by,
        "checkpoint": f"{weights.parent.name}/{weights.name}",
        "checkpoint_sha256": hashlib.sha256(own.encode()).hexdigest()[:16],
        "examples": len(about.examples),
        "examples_sha256": _hash(about.examples),
        "training_examples": len(about.known),
        "training_sha256": _hash(about.known),
    }


def _hash(examples: Sequence[Example]) -> str:
    """Of what examples ask, their answers, and the names and places of their pictures."""
    pictures = [
        f"{each.picture.path.name} {each.picture.start} {each.picture.length}" for each in examples if each.picture
    ]
    return hashlib.sha256("\0".join([digest(examples), *pictures]).encode()).hexdigest()[:16]


def _before(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What a file of scores holds, if it was made as is asked now."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same = {name: value for name, value in found["protocol"].items() if name not in OPEN} == asked
    except (OSError, ValueError, KeyError):
        return None
    return dict(found) if same and answers_file(path).is_file() else None


def _prompt(about: Examined) -> str:
    """The first request as a person reads it."""
    first = about.examples[0]
    return first.prompt if about.way == "painted" else _shown(about, about.prefix(first))


def _shown(about: Examined, prefix: Prefix | Sequence[Segment]) -> str:
    """A prefix as a person reads it."""
    parts = [
        about.engine.tokenizer.decode(list(each.ids)) if isinstance(each, Text) else "<picture>" for each in prefix
    ]
    return " ".join(parts)
