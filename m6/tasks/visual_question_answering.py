"""Visual question answering: a picture and a question in, a short answer out (paper section 5.2).

As in pretraining the question alone is the prompt. An answer is right if it is one of the right ones, but for blanks,
marks, case and width (`m6.tasks.scoring`); of answers that are sentences, as FM-IQA's, it is told too how near they
come.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m6.data.objectives import visual_question_prompt
from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import is_right, of_told, stripped
from m6.tasks.written import score_texts

FIELDS = {
    "image": "path of the picture, from the folder of the file",
    "question": "a text",
    "answer|answers": "the right answer, or a list of all right ones; null in a test split whose answers are not told",
    "kind?": "kind of the question, each of which is scored on its own too",
    "choices?": "all that may be answered, of a closed question",
}
KIND = "written"
LONGEST = 24
MAIN = "accuracy"


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example, the question its prompt. ValueError."""
    answers = fields.told(record, "answer", "answers")
    kind = fields.optional_text(record, "kind")
    return [
        Example(
            key,
            visual_question_prompt(fields.text(record, "question")),
            answers,
            fields.picture(record, folder),
            fields.choices(record, answers),
            {"kind": kind} if kind else {},
        )
    ]


def sample(example: Example, segments: Segments) -> Sample:
    """Picture and question, then the answer."""
    return answered("visual_question_answering", example, segments)


decode = stripped


@of_told
def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """Accuracy, that of each kind of question, and how near the answers come as texts."""
    right = [is_right(answer, example) for answer, example in zip(answers, examples, strict=True)]
    kinds = [example.about.get("kind", "") for example in examples]
    return {
        "accuracy": Statistic.mean(right),
        **{
            f"accuracy.{kind}": Statistic.mean(right, [float(own == kind) for own in kinds])
            for kind in sorted(set(kinds) - {""})
        },
        **score_texts(answers, examples, ()),
    }
