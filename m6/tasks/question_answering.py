"""Question answering without a picture, as in forums: a question in, an answer out (paper section 5.4).

The paper adds a question mark and an "answer:" cue to the prompt (recalled); so does this, `什么是云？答：`, in
pretraining as here (`m6.data.objectives.question_prompt`), and a question that has its mark keeps one. Without the cue
a model of plain text goes on with the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m6.data.objectives import question_prompt
from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import is_right, of_told, stripped
from m6.tasks.written import score_texts

FIELDS = {
    "question": "a text",
    "answer|answers": "the right answer, or a list of all right ones; null in a test split whose answers are not told",
    "choices?": "all that may be answered, of a closed question",
}
KIND = "written"
LONGEST = 128
MAIN = "chrf"


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example, the question with its cue the prompt. ValueError."""
    answers = fields.told(record, "answer", "answers")
    prompt = question_prompt(fields.text(record, "question"))
    return [Example(key, prompt, answers, choices=fields.choices(record, answers))]


def sample(example: Example, segments: Segments) -> Sample:
    """The question, then the answer."""
    return answered("question_answering", example, segments)


decode = stripped


@of_told
def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """How near the answers come, how many are right but for blanks and marks, how much they vary, what is copied."""
    right = [is_right(answer, example) for answer, example in zip(answers, examples, strict=True)]
    return {"exact": Statistic.mean(right), **score_texts(answers, examples, known)}
