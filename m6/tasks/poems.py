"""Poems: a title and a form in, a poem out (paper section 5.5).

A poem has no right answer: what counts is its form, its rhymes and tones, how much it varies, and that its lines are
its own. How surprising the poets' own poems are to a model is a matter of likelihood, which is not told from answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from m6.data.objectives import poem_prompt
from m6.data.poem_forms import has_form, line_length, num_lines
from m6.data.sample import Sample
from m6.tasks import fields
from m6.tasks.example import Example, Record, Segments, answered
from m6.tasks.metrics import verse
from m6.tasks.metrics.ngrams import distinct
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import stripped

FIELDS = {
    "title": "a text",
    "form": "五言绝句, 七言律诗 and the like",
    "poem": "lines with their marks; null in a test split whose poems are not told",
    "author?": "who wrote it",
}
KIND = "written"
LONGEST = 160
MAIN = "form_rate"


def read(record: Record, folder: Path, key: str) -> list[Example]:
    """One Example, form and title its prompt. ValueError."""
    title, form = fields.text(record, "title"), fields.text(record, "form")
    poem = () if "poem" in record and record["poem"] is None else (fields.text(record, "poem"),)
    author = fields.optional_text(record, "author")
    about = {"title": title, "form": form, **({"author": author} if author else {})}
    return [Example(key, poem_prompt(title, form), poem, about=about)]


def sample(example: Example, segments: Segments) -> Sample:
    """Form and title, then the poem."""
    return answered("poem", example, segments)


decode = stripped


def score(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """Shares of poems that keep their form and that rhyme, of rules of tones that are kept, of lines that stand in the
    poems of training; and how much the poems vary. A rule counts where the form has it: 词 has
    lines of many lengths, 古诗 no order of tones."""
    learnt = {line for example in known for poem in example.answers for line in lines_of(poem)}
    lines = [lines_of(answer) for answer in answers]
    forms = [example.about.get("form", "") for example in examples]
    regulated = [own for own, form in zip(lines, forms, strict=True) if num_lines(form)]
    rhymed = [verse.rhymes(own) for own in regulated]
    checks = [verse.tonal_checks(own) for own in regulated]
    return {
        "form_rate": Statistic.mean(
            [has_form(poem, form) for poem, form in zip(answers, forms, strict=True)],
            [line_length(form) > 0 for form in forms],
        ),
        "rhyme_rate": Statistic.mean([bool(found) for found in rhymed], [found is not None for found in rhymed]),
        "tonal_rate": _shares(checks),
        "copied_rate": _shares([(sum(line in learnt for line in own), len(own)) for own in lines]),
        "distinct_1": distinct(answers, 1),
        "distinct_2": distinct(answers, 2),
    }


def _shares(counts: Sequence[tuple[int, int]]) -> Statistic:
    """Of all that was counted, by how many of how many."""
    return Statistic.mean([part / max(count, 1) for part, count in counts], [float(count) for _, count in counts])


def lines_of(poem: str) -> list[str]:
    """The lines of a poem, without marks."""
    return [line for line in re.split(r"[，。！？；、\s]", poem) if line]
