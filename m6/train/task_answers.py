"""What a run answers to the examples of a task, and its scores: it writes, chooses, or ranks all against all.

Choices are ranked by log p(choice | request), or by that less log p(choice), the pointwise mutual information (Holtzman
et al. 2021, arXiv 2104.08315), which gives no advantage to what is common by itself; `Examined.by` says which. What is
taken away is computed once for all choices of an evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m6.config import UserError
from m6.data.poem_forms import line_length
from m6.data.sample import Sample
from m6.generate.decoding import Decoding
from m6.generate.poems import PoemGrammar
from m6.generate.rank import ROWS, fits, log_likelihoods
from m6.run import progress
from m6.tasks import matching, retrieval
from m6.tasks.example import Example
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.scoring import by_cluster
from m6.train.examples import check_lengths
from m6.train.task_examined import ADVICE, Examined
from m6.train.task_paintings import painted

AT_ONCE = 256  # requests between two lines of progress
Scores = dict[str, Statistic]


def answered(about: Examined) -> tuple[list[str], Scores]:
    """What the model answers, and its scores. UserError for what it cannot read, and where there is nothing to choose
    from."""
    check_lengths(about.examples, about.segments, about.config.data, ADVICE)
    if about.way == "ranked":
        answers, scores = _ranked(about)
    elif about.way == "painted":
        answers, scores = painted(about)
    elif about.way == "chosen":
        choices = choices_of(about)
        found = _fits(about, choices)
        answers = [own[int(scores.argmax())] for own, scores in zip(choices, found, strict=True)]
        scores = about.task.score(answers, about.examples, about.known)
        if about.config.task == "matching":
            scores |= matching.score_pairs(found, about.examples)
    else:
        answers = _written(about)
        scores = about.task.score(answers, about.examples, about.known)
    return answers, scores | _likelihood(about)


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


def choices_of(about: Examined) -> list[tuple[str, ...]]:
    """What each example's answer is chosen from: its own choices; else the answers of training to questions of its
    kind, the last part of whose name counts, as in "seen.colour"; of all kinds, if none is told. UserError if there
    are none."""
    usual: dict[str, dict[str, None]] = {}
    for each in about.known:
        for answer in each.answers[:1]:
            usual.setdefault(_kind(each), {})[answer] = None
            usual.setdefault("", {})[answer] = None
    found = [each.choices or tuple(usual.get(_kind(each), usual.get("", {}))) for each in about.examples]
    for example, choices in zip(about.examples, found, strict=True):
        if not choices:
            raise UserError(f"{about.config.data}: {example.key} has no choices, and there is no training split")
    return found


def _kind(example: Example) -> str:
    return example.about.get("kind", "").split(".")[-1]


def _fits(about: Examined, choices: Sequence[tuple[str, ...]]) -> list[np.ndarray]:
    """How well each choice of each example fits, nats; examples with the same choices are worked on together."""
    engine = about.engine
    texts = {choice: about.segments.text(choice) for own in dict.fromkeys(choices) for choice in own}
    prior = dict.fromkeys(texts, 0.0)
    if about.by == "pmi":
        prior = dict(zip(texts, log_likelihoods(engine, [()], list(texts.values()))[0], strict=True))
    alike: dict[tuple[str, ...], list[int]] = {}
    for index, own in enumerate(choices):
        alike.setdefault(own, []).append(index)
    found: dict[int, np.ndarray] = {}
    with progress(len(choices), "answers") as bar:
        for own, indices in alike.items():
            common = np.array([prior[choice] for choice in own])
            for start in range(0, len(indices), ROWS):
                part = indices[start : start + ROWS]
                prefixes = [about.prefix(about.examples[index]) for index in part]
                scores = log_likelihoods(engine, prefixes, [texts[choice] for choice in own]) - common
                found.update(zip(part, scores, strict=True))
                bar.advance(len(part))
    return [found[index] for index in range(len(choices))]


def _ranked(about: Examined) -> tuple[list[str], Scores]:
    texts = retrieval.texts_of(about.examples)
    if not texts:
        raise UserError(
            f"{about.config.data}: no picture of the {about.config.split} split has a text, so there is nothing to"
            " rank; take another --split, such as validation"
        )
    pictures = [about.prefix(example) for example in about.examples]
    encoded = [about.segments.text(text) for text in texts]
    found = fits(about.engine, pictures, encoded, prior=about.by == "pmi")
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
    found = {
        "bits_per_character": Statistic(parts, lambda sums: sums[..., 0] / np.log(2) / sums[..., 1]),
        "perplexity_per_character": Statistic(parts, lambda sums: np.exp(sums[..., 0] / sums[..., 1])),
    }
    return by_cluster(found, examples)
