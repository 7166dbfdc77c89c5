"""What a run has not learnt is refused in one line that says what it has learnt, before its weights are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from m6.config import UserError
from m6.generate import answers
from m6.generate.learnt import check_learnt, learnt_by
from m6.recipes import paint

KNOWN = "it has learnt captioning, language_modelling, matching, text_to_image, visual_question_answering"


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda run: answers.answer(run, "什么是云？"), "has not learnt question_answering"),
        (lambda run: answers.describe(run, "晴雨伞"), "has not learnt product_description"),
        (lambda run: answers.poem(run, "春晓"), "has not learnt poem"),
    ],
)  # fmt: skip
def test_commands_refuse_what_a_run_has_not_learnt(tmp_path: Path, ask: Callable[[Path], str], line: str) -> None:
    paint.recipe().write(tmp_path / "config.json")
    with pytest.raises(UserError, match=line) as refused:
        ask(tmp_path)
    assert str(refused.value).endswith(KNOWN)
    for task in ("caption", "visual_question"):
        check_learnt(task, learnt_by(tmp_path))


def test_a_task_of_finetuning_has_been_learnt_too() -> None:
    check_learnt("question", {"captioning", "question_answering"})
    check_learnt("poem", {"poems"})
    with pytest.raises(UserError, match=r"learnt captioning \(captions\); it has learnt nothing"):
        check_learnt("caption", set())
