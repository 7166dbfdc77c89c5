"""Questions: a picture and a question in, the answer held against the true one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from m6.corpus.document import Document, Question
from m6.data.objectives import visual_question_prompt
from m6.tasks.metrics import mean
from m6.train.evaluate.material import SHOWN, Evaluation, Example, Examples, Scores, origin, pixels_of, with_interval

# Key of the scores, one for each kind of question and one for all; source, split, attributes.
GROUPS: list[tuple[str, str, str, dict[str, str]]] = [
    ("vqa.{}_seen", "emoji", "train", {}),
    ("vqa.{}_heldout", "emoji", "heldout", {}),
    ("scene.vqa_{}_heldout", "scenes", "heldout", {"unseen": "pair"}),
]


def questions(about: Evaluation) -> tuple[Scores, Examples]:
    """Questions from metadata; baseline: the most frequent answer to the same question in training."""
    scores: Scores = {}
    shown: list[Example] = []
    for pattern, source, split, attributes in GROUPS:
        asked = asked_of(about.some(source, split, **attributes), source, split)
        if not asked:
            continue
        training = [q for _, q in asked_of(about.documents, source, "train")]
        usual = most_frequent(training)
        pixels = pixels_of([document for document, _ in asked])
        prompts = [about.engine.text(visual_question_prompt(question["question"])) for _, question in asked]
        prefixes = [(about.engine.picture(p), prompt) for p, prompt in zip(pixels, prompts, strict=True)]
        answers = [text.strip() for text in about.engine.write_texts(prefixes, 24)]
        only = [q for _, q in asked]
        guesses = [usual.get(q["question"], usual.get(q["kind"], "")) for q in only]
        ours, theirs = (score(said, only) for said in (answers, guesses))
        right = [answer == q["answer"] for answer, q in zip(answers, only, strict=True)]
        for kind, value in ours.items():
            scores |= {pattern.format(kind): value, pattern.format(kind) + ".baseline": theirs[kind]}
        scores |= with_interval(pattern.format("accuracy"), right, theirs["accuracy"])
        for index in range(0, len(asked), max(1, len(asked) // SHOWN)):
            document, question = asked[index]
            shown.append(
                {
                    "picture": about.keep_picture(f"question-{source}-{split}-{index}", pixels[index]),
                    "question": question["question"],
                    "written": answers[index],
                    "true": question["answer"],
                    "kind": question["kind"],
                    **origin(document),
                    "right": right[index],
                }
            )
    return scores, {"questions": shown}


def asked_of(documents: Iterable[Document], source: str, split: str) -> list[tuple[Document, Question]]:
    """Every question of every document with a picture."""
    chosen = [d for d in documents if d["source"] == source and d["split"] == split and d["images"]]
    return [(d, question) for d in chosen for question in d["questions"]]


def score(answers: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
    """Accuracy over all questions, and of each kind on its own."""
    right: dict[str, list[bool]] = defaultdict(list)
    for answer, question in zip(answers, questions, strict=True):
        right[question["kind"]].append(answer.strip() == question["answer"])
    by_kind = {kind: mean(values) for kind, values in right.items()}
    return {"accuracy": mean(value for values in right.values() for value in values), **by_kind}


def most_frequent(training: Iterable[Question]) -> dict[str, str]:
    """The baseline: the most frequent answer to each question of the training set, and to each kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question in training:
        counts[question["question"]][question["answer"]] += 1
        counts[question["kind"]][question["answer"]] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counts.items()}
