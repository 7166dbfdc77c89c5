"""Scores of texts that are written freely, the same for captions, descriptions and answers.

In: what was written and the examples, all of which have right answers. Out: a Statistic by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from m6.tasks.example import Example
from m6.tasks.metrics.ngrams import bleu, chrf, cider_d, distinct, rouge_l, token_f1
from m6.tasks.metrics.statistic import Statistic


def score_texts(answers: Sequence[str], examples: Sequence[Example], known: Sequence[Example]) -> dict[str, Statistic]:
    """How near the texts come to the right ones, how much they vary, and how many of them stand in training as they
    are."""
    learnt = {answer for example in known for answer in example.answers}
    right = [example.answers for example in examples]
    return {
        "cider_d": cider_d(answers, right),
        "bleu_4": bleu(answers, right),
        "rouge_l": rouge_l(answers, right),
        "chrf": chrf(answers, right),
        "distinct_1": distinct(answers, 1),
        "distinct_2": distinct(answers, 2),
        "f1": token_f1(answers, right),
        **({"copied": Statistic.mean([answer in learnt for answer in answers])} if known else {}),
    }
