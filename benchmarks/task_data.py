"""The data of a task as a peer takes it: pictures as pixels, texts as ids, sizes; and its answers as scores.

In: a run, whose vocabulary and picture size are everyone's, and the data of a task. Out: one file of torch, and what
became of the peer's answers.

Peers answer as ours does: what is written is written freely, what is chosen is chosen among the same choices by
log p(choice | request), what is ranked is ranked all against all. Only what compares texts about a picture differs by
its nature: ours takes likelihoods, and clip, which has none, the angle of its vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m6.tasks import matching, retrieval
from m6.tasks.example import Example
from m6.train.hardware import matrix_dtype
from m6.train.task_answers import choices_of, surprise
from m6.train.task_evaluation import Examined, Scores

GREY = 128
"""What git sees where an example has no picture, but others of its task do."""


def kind_of(about: Examined) -> str:
    """The peer of a task and its data: clip where texts about a picture are compared, git where there are pictures
    beside a request, gpt2 for text alone."""
    examples = (*about.known, *about.examples)
    labelled = any(each.prompt for each in examples)
    if about.way == "ranked" or (about.config.task == "matching" and not labelled):
        return "clip"
    return "git" if any(each.picture is not None for each in examples) else "gpt2"


def write(path: Path, about: Examined, minutes: float, seed: int, threads: int) -> None:
    """What a peer reads."""
    encode, size = about.engine.tokenizer.encode, about.engine.model.config
    places: dict[Any, int] = {}
    for each in (*about.known, *about.examples):
        places.setdefault(each.picture, len(places))
    choices = choices_of(about) if about.way == "chosen" else [()] * len(about.examples)
    texts = texts_of(about)
    column = {text: index for index, text in enumerate(texts)}

    def told(example: Example, own: Sequence[str] = ()) -> dict[str, Any]:
        answers = [encode(text) for text in example.answers]
        return {
            "picture": places[example.picture], "prompt": encode(example.prompt), "answers": answers,
            "answer": answers[0] if answers else [], "choices": [column[text] for text in own],
        }  # fmt: skip

    train = [told(each) for each in about.known]
    test = [told(each, own) for each, own in zip(about.examples, choices, strict=True)]
    encoded = [encode(text) for text in texts]
    answers = [*encoded, *(ids for each in train + test for ids in each["answers"])]
    torch.save(
        {
            "layers": size.num_layers, "width": size.hidden_size, "heads": size.num_heads, "inner": size.ffn_size,
            "patch": size.patch_size, "vocabulary": about.engine.tokenizer.size, "minutes": minutes, "seed": seed,
            "threads": threads, "bfloat16": matrix_dtype("auto") == torch.bfloat16, "way": about.way,
            "pictures": pixels(about, list(places)), "train": train, "test": test, "texts": encoded,
            "longest": max(len(each["prompt"]) for each in train + test) + max(about.task.LONGEST, *map(len, answers)),
            "longest_answer": about.task.LONGEST,
        },
        path,
    )  # fmt: skip


def pixels(about: Examined, places: Sequence[Any]) -> np.ndarray | None:
    """Pictures [N, S, S, 3] uint8, grey for None; None if there are none at all."""
    found = {at: about.segments.pixels_at(at) for at in places if at is not None}
    if not found:
        return None
    grey = np.full_like(next(iter(found.values())), GREY)
    return np.stack([found.get(at, grey) for at in places])


def scores(path: Path, about: Examined) -> tuple[Scores, dict[str, Any]]:
    """The scores of a peer's answers, and what it tells of its training."""
    found = torch.load(path, weights_only=False)
    cost = {name: found[name] for name in ("parameters", "steps", "tokens", "seconds", "rate", "rates")}
    if about.way == "written":
        written = [about.task.decode(about.engine.tokenizer.decode(ids)) for ids in found["answers"]]
        told = [bool(each.answers) for each in about.examples]
        asked = [each for each in about.examples if each.answers]
        bits = surprise(found["nats"][told], asked) if asked else {}
        return about.task.score(written, about.examples, about.known) | bits, cost
    if about.way == "ranked":
        return retrieval.score_ranks(found["fits"], about.examples), cost
    choices = choices_of(about)
    fits = [np.asarray(row) for row in found["chances"]] if "chances" in found else _chosen(found["fits"], about)
    chosen = [own[int(row.argmax())] for own, row in zip(choices, fits, strict=True)]
    result = about.task.score(chosen, about.examples, about.known)
    return result | (matching.score_pairs(fits, about.examples) if about.config.task == "matching" else {}), cost


def texts_of(about: Examined) -> list[str]:
    """All texts that are ranked or chosen from, each once; none where answers are written."""
    if about.way == "ranked":
        return retrieval.texts_of(about.examples)
    if about.way == "written":
        return []
    return list(dict.fromkeys(text for own in choices_of(about) for text in own))


def _chosen(fits: np.ndarray, about: Examined) -> list[np.ndarray]:
    """Of a matrix [E, T], how well its own choices fit each example."""
    column = {text: index for index, text in enumerate(texts_of(about))}
    return [row[[column[text] for text in own]] for row, own in zip(fits, choices_of(about), strict=True)]
