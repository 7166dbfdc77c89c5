"""The data of a task as a peer takes it: pictures as pixels, texts as ids, sizes; and its answers as scores.

In: a run, whose vocabulary and picture size are everyone's, and the data of a task. Out: one file of torch, and what
became of the peer's answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m6.tasks import retrieval
from m6.tasks.example import Example
from m6.train.task_evaluation import Examined, Scores

KINDS = {
    "visual_question_answering": "git",
    "captioning": "git",
    "product_description": "gpt2",
    "question_answering": "gpt2",
    "poems": "gpt2",
    "matching": "clip",
    "retrieval": "clip",
    "classification": "gpt2",
}
"""The peer of each task."""


def write(path: Path, about: Examined, minutes: float, seed: int) -> None:
    """What a peer reads."""
    encode, size = about.engine.tokenizer.encode, about.engine.model.config
    places: dict[Any, int] = {}
    for each in (*about.known, *about.examples):
        if each.picture is not None:
            places.setdefault(each.picture, len(places))

    def told(example: Example) -> dict[str, Any]:
        answer = encode(example.answers[0] if example.answers else "")
        return {"picture": places.get(example.picture, 0), "prompt": encode(example.prompt), "answer": answer}

    train, test = [told(each) for each in about.known], [told(each) for each in about.examples]
    pixels = [about.segments.pixels_at(at) for at in places]
    torch.save(
        {
            "layers": size.num_layers, "width": size.hidden_size, "heads": size.num_heads, "inner": size.ffn_size,
            "patch": size.patch_size, "vocabulary": about.engine.tokenizer.size, "minutes": minutes, "seed": seed,
            "pictures": np.stack(pixels) if pixels else None, "train": train, "test": test,
            "texts": [encode(text) for text in _texts(about.examples)],
            "longest": max(len(each["prompt"]) + max(len(each["answer"]), about.task.LONGEST) for each in train + test),
            "longest_answer": about.task.LONGEST,
        },
        path,
    )  # fmt: skip


def scores(path: Path, about: Examined) -> tuple[Scores, list[str]]:
    """The scores of a peer's answers, and these."""
    found = torch.load(path, weights_only=False)
    if "answers" in found:
        written = [about.task.decode(about.engine.tokenizer.decode(ids)) for ids in found["answers"]]
        return about.task.score(written, about.examples, about.known), written
    texts = _texts(about.examples)
    if about.task.KIND == "ranked":
        first = [texts[index] for index in found["fits"].argmax(1)]
        return retrieval.score_ranks(found["fits"], about.examples), first
    column = {text: index for index, text in enumerate(texts)}
    chosen = [
        max(each.choices, key=lambda choice: row[column[choice]])
        for each, row in zip(about.examples, found["fits"], strict=True)
    ]
    return about.task.score(chosen, about.examples, about.known), chosen


def _texts(examples: Sequence[Example]) -> list[str]:
    """All texts that may fit a picture, each once."""
    return list(dict.fromkeys(text for each in examples for text in (*each.answers, *each.choices)))
