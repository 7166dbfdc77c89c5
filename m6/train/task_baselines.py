"""The scores of what has learnt nothing (`m6.tasks.baselines`), on the examples that a run is measured on."""

from __future__ import annotations

from m6.tasks import matching, retrieval
from m6.tasks.baselines import alike, most_frequent, nearest_picture, nearest_text, ranked, trigram
from m6.train import task_paintings
from m6.train.task_answers import Scores, surprise
from m6.train.task_examined import Examined


def baselines(about: Examined) -> dict[str, Scores]:
    """All by name; none without a training split."""
    if about.task.KIND == "painted":
        return task_paintings.baselines(about)
    if not about.known:
        return {}
    answers = {"most_frequent": most_frequent(about.known, about.examples)}
    if all(each.picture is not None for each in [*about.known, *about.examples]):
        answers["nearest_picture"] = nearest_picture(about.known, about.examples, about.segments.pixels_at)
    elif any(each.prompt for each in about.examples):
        answers["nearest_text"] = nearest_text(about.known, about.examples)
    found = {name: _scores(about, written) for name, written in answers.items()}
    asked = [each for each in about.examples if each.answers]
    if about.task.KIND == "written" and asked:
        found["trigram"] = surprise(-trigram(about.known, asked), asked)
    return found


def _scores(about: Examined, written: list[str]) -> Scores:
    """Of what was written freely; a choice and a ranking are made of it where the task asks for one."""
    if about.task.KIND == "ranked":
        return retrieval.score_ranks(ranked(written, retrieval.texts_of(about.examples)), about.examples)
    if about.task.KIND == "written":
        return about.task.score(written, about.examples, about.known)
    found = [alike(text, example) for text, example in zip(written, about.examples, strict=True)]
    own = [example.choices[int(scores.argmax())] for scores, example in zip(found, about.examples, strict=True)]
    scores = about.task.score(own, about.examples, about.known)
    return scores | (matching.score_pairs(found, about.examples) if about.config.task == "matching" else {})
