"""Evaluation of a trained run on one task: an answer to every example, scores with intervals, and how they were made.

    RUN/evaluate/NAME.json            scores, baselines, protocol, some examples
    RUN/evaluate/NAME.answers.jsonl   every answer, so that two runs can be compared example by example

What the model does is up to the task: it writes, chooses among texts by their likelihood, or ranks all against all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from m6.config import UserError
from m6.data.poem_forms import line_length
from m6.data.sample import Sample, Segment, Text
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.poems import PoemGrammar
from m6.generate.prefill import Prefix
from m6.generate.rank import choose, fits
from m6.generate.segments import RunSegments
from m6.model.weights import newest_weights
from m6.recipes.recipe import Recipe
from m6.run import progress, versions, write_atomic
from m6.tasks import retrieval
from m6.tasks.baselines import chosen, most_frequent, nearest_picture, nearest_text, ranked, trigram
from m6.tasks.example import Example
from m6.tasks.files import has_split, read_split
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.task import Task, named
from m6.train.config import TaskEvaluation
from m6.train.examples import check_lengths
from m6.train.finetune import digest

SHOWN = 20  # examples in the file of scores
AT_ONCE = 256  # requests between two lines of progress
Scores = dict[str, Statistic]


@dataclass
class Examined:
    """A run on a task: what is asked, and what was trained on."""

    folder: Path
    config: TaskEvaluation

    @cached_property
    def task(self) -> Task:
        return named(self.config.task)

    @cached_property
    def engine(self) -> Engine:
        return Engine.load(self.folder)

    @cached_property
    def segments(self) -> RunSegments:
        return RunSegments(self.engine, self.folder)

    @cached_property
    def examples(self) -> list[Example]:
        """Those of the split, or some spread over all of them."""
        found = read_split(self.config.task, Path(self.config.data), self.config.split)
        wanted = self.config.num_examples or len(found)
        if wanted < len(found):
            order = np.random.default_rng(self.config.seed).permutation(len(found))[:wanted]
            found = [found[index] for index in sorted(order)]
        return self._seen(found)

    @cached_property
    def known(self) -> list[Example]:
        """Those of the training split; none if the data has no such split."""
        path = Path(self.config.data)
        found = read_split(self.config.task, path, "train") if has_split(self.config.task, path, "train") else []
        return self._seen(found)

    def _seen(self, examples: list[Example]) -> list[Example]:
        """Without their pictures, if the run was finetuned without."""
        blind = Recipe.read(self.folder / "config.json").finetune.blind
        return [replace(each, picture=None) for each in examples] if blind else examples

    @cached_property
    def shots(self) -> Prefix:
        """Examples with their answers, as they stand before every request."""
        if not self.config.shots:
            return ()
        if len(self.known) < self.config.shots:
            raise UserError(f"--shots {self.config.shots}: {self.config.data} has {len(self.known)} training examples")
        order = np.random.default_rng(self.config.seed).permutation(len(self.known))[: self.config.shots]
        samples = [self.task.sample(self.known[index], self.segments) for index in order]
        return tuple(
            segment for each in samples for branch in each.branches[:1]
            for segment in (*each.prefix, *branch.prefix, branch.target)
        )  # fmt: skip

    def prefix(self, example: Example) -> Prefix:
        """What the model goes on from."""
        sample = self.task.sample(example, self.segments)
        return (*self.shots, *sample.prefix, *sample.branches[0].prefix)


def evaluate(folder: Path, config: TaskEvaluation) -> dict[str, Any]:
    """Answers, scores and writes; returns what stands in the file of scores. UserError for data that does not fit."""
    about = Examined(folder, config)
    answers, scores = answered(about)
    result = {
        "task": config.task,
        "main": about.task.MAIN,
        "scores": told(scores, config.seed),
        "baselines": {name: told(found, config.seed) for name, found in baselines(about).items()},
        "protocol": _protocol(about),
        "examples": [
            {"key": each.key, "prompt": each.prompt, "answers": list(each.answers), "ours": answer}
            for each, answer in list(zip(about.examples, answers, strict=True))[:SHOWN]
        ],
    }
    name = "-".join([config.task, config.split, *([f"{config.shots}_shots"] if config.shots else [])])
    (folder / "evaluate").mkdir(exist_ok=True)
    rows = ({"key": each.key, "answer": answer} for each, answer in zip(about.examples, answers, strict=True))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(folder / "evaluate" / f"{name}.answers.jsonl", lines)
    write_atomic(folder / "evaluate" / f"{name}.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return result


def answered(about: Examined) -> tuple[list[str], Scores]:
    """What the model answers, and its scores."""
    config = about.config
    check_lengths(about.examples, about.segments)
    if about.task.KIND == "ranked":
        answers, scores = _ranked(about)
    else:
        choosing = config.answers == "chosen" or (config.answers == "auto" and about.task.KIND == "chosen")
        answers = _chosen(about) if choosing else _written(about)
        scores = about.task.score(answers, about.examples, about.known)
    return answers, scores | _likelihood(about)


def told(scores: Scores, seed: int) -> dict[str, dict[str, float]]:
    """Every score with its bounds, as numbers."""
    found = {}
    for name, score in scores.items():
        low, high = score.interval(seed)
        found[name] = {"value": score(), "low": low, "high": high, "examples": len(score.parts)}
    return found


def _written(about: Examined) -> list[str]:
    config, engine = about.config, about.engine
    decoding = Decoding(temperature=config.temperature, top_p=config.top_p, seed=config.seed, beams=config.beams)
    found: dict[int, str] = {}
    forms = [each.about.get("form", "") if config.task == "poems" and config.form else "" for each in about.examples]
    forms = [form if line_length(form) else "" for form in forms]  # 词 has lines of many lengths
    with progress(len(about.examples), "answers") as bar:
        for form in dict.fromkeys(forms):
            grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, form) if form else None
            own = [index for index, each in enumerate(forms) if each == form]
            for start in range(0, len(own), AT_ONCE):
                part = own[start : start + AT_ONCE]
                prefixes = [about.prefix(about.examples[index]) for index in part]
                for index, ids in zip(part, engine.write(prefixes, about.task.LONGEST, decoding, grammar), strict=True):
                    found[index] = about.task.decode(engine.tokenizer.decode(ids))
                bar.advance(len(part))
    return [found[index] for index in range(len(about.examples))]


def _chosen(about: Examined) -> list[str]:
    usual = list(dict.fromkeys(each.answers[0] for each in about.known if each.answers))
    found = []
    for example in progress(about.examples, "answers"):
        choices = example.choices or usual
        if not choices:
            raise UserError(f"{about.config.data}: {example.key} has no choices, and there is no training split")
        texts = [about.segments.text(choice) for choice in choices]
        found.append(choices[choose(about.engine, about.prefix(example), texts)])
    return found


def _ranked(about: Examined) -> tuple[list[str], Scores]:
    texts = retrieval.texts_of(about.examples)
    pictures = [about.prefix(example) for example in about.examples]
    found = fits(about.engine, pictures, [about.segments.text(text) for text in texts])
    first = [texts[index] for index in found.argmax(1)]
    return first, retrieval.score_ranks(found, about.examples)


def _likelihood(about: Examined) -> Scores:
    """Perplexity and bits of a character of the first right answer, of what is written."""
    asked = [each for each in about.examples if each.answers]
    if about.task.KIND != "written" or not asked:
        return {}
    samples: list[Sample] = []
    for example in asked:
        sample = about.task.sample(example, about.segments)
        samples.append(Sample(sample.key, (*about.shots, *sample.prefix), sample.branches[:1]))
    return surprise(about.engine.losses(samples), asked)


def surprise(nats: np.ndarray, examples: Sequence[Example]) -> Scores:
    """Bits and perplexity of a character of the first right answers, from their negative log-likelihoods [N]."""
    parts = np.stack([nats, np.array([len(each.answers[0]) for each in examples], float)], -1)
    return {
        "bits_per_character": Statistic(parts, lambda sums: sums[..., 0] / np.log(2) / sums[..., 1]),
        "perplexity_per_character": Statistic(parts, lambda sums: np.exp(sums[..., 0] / sums[..., 1])),
    }


def baselines(about: Examined) -> dict[str, Scores]:
    """What has learnt nothing, on the same examples."""
    if not about.known:
        return {}
    answers = {"most_frequent": most_frequent(about.known, about.examples)}
    if all(each.picture is not None for each in [*about.known, *about.examples]):
        answers["nearest_picture"] = nearest_picture(about.known, about.examples, about.segments.pixels_at)
    elif any(each.prompt for each in about.examples):
        answers["nearest_text"] = nearest_text(about.known, about.examples)
    found: dict[str, Scores] = {}
    for name, written in answers.items():
        if about.task.KIND == "ranked":
            found[name] = retrieval.score_ranks(ranked(written, retrieval.texts_of(about.examples)), about.examples)
            continue
        own = chosen(written, about.examples) if about.task.KIND == "chosen" else written
        found[name] = about.task.score(own, about.examples, about.known)
    asked = [each for each in about.examples if each.answers]
    if about.task.KIND == "written" and asked:
        found["trigram"] = surprise(-trigram(about.known, asked), asked)
    return found


def _protocol(about: Examined) -> dict[str, Any]:
    weights = newest_weights(about.folder)
    return {
        **about.config.model_dump(mode="json"),
        "run": str(about.folder),
        "checkpoint": f"{weights.parent.name}/{weights.name}",
        "examples": len(about.examples),
        "examples_sha256": digest(about.examples),
        "training_examples": len(about.known),
        "prompt": _shown(about, about.prefix(about.examples[0])),
        "versions": versions(),
    }


def _shown(about: Examined, prefix: Sequence[Segment]) -> str:
    """A prefix as a person reads it."""
    parts = [
        about.engine.tokenizer.decode(list(each.ids)) if isinstance(each, Text) else "<picture>" for each in prefix
    ]
    return " ".join(parts)
