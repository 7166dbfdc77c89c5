"""Visual question answering: a picture and a question in, a short answer out; right if it is the same text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from m6.corpus.document import Document, Question
from m6.data.sample import Segment
from m6.tasks.metrics import mean


def read(documents: Iterable[Document], source: str, split: str) -> list[tuple[Document, Question]]:
    """Every question of every document."""
    chosen = [d for d in documents if d["source"] == source and d["split"] == split and d["images"]]
    return [(d, question) for d in chosen for question in d["questions"]]


def sample(picture: Segment, question: Segment) -> tuple[Segment, ...]:
    """The prefix: the picture, then the question."""
    return (picture, question)


def decode(text: str) -> str:
    """The answer as it is compared."""
    return text.strip()


def score(answers: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
    """Accuracy over all questions, and of each kind on its own."""
    right: dict[str, list[bool]] = defaultdict(list)
    for answer, question in zip(answers, questions, strict=True):
        right[question["kind"]].append(decode(answer) == question["answer"])
    by_kind = {kind: mean(values) for kind, values in right.items()}
    return {"accuracy": mean(value for values in right.values() for value in values), **by_kind}


def most_frequent(training: Iterable[Question]) -> dict[str, str]:
    """The baseline: the most frequent answer to each question of the training set, and to each kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question in training:
        counts[question["question"]][question["answer"]] += 1
        counts[question["kind"]][question["answer"]] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counts.items()}
