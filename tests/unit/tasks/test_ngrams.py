"""Scores of texts: worked by hand, and against sacrebleu and the COCO tools."""

from __future__ import annotations

import math

import numpy as np
import pytest

from m6.corpus.starter import emoji_rows
from m6.tasks.metrics.ngrams import bleu, chrf, cider_d, distinct, rouge_l
from m6.tasks.metrics.statistic import Statistic, difference
from m6.tasks.metrics.tokens import tokens

TEXTS = ["左边是猫，右边是红苹果", "一只狗", "iPhone 15手机壳", "红色的花。植物、花"]
RIGHT = [
    ["左边是猫，右边是青苹果", "猫在苹果的左边"],
    ["一只猫", "一只小狗", "狗"],
    ["iPhone 15 手机壳 红色"],
    ["红花。植物、花、花朵"],
]


def test_letters_and_digits_stay_together() -> None:
    assert tokens("iPhone 15手机，A4纸") == ["iPhone", "15", "手", "机", "，", "A", "4", "纸"]


def test_bleu_and_chrf_are_those_of_sacrebleu() -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    one = [own[:1] for own in RIGHT]
    cut = [[" ".join(tokens(text)) for text in texts] for texts in (TEXTS, [own[0] for own in RIGHT])]
    assert bleu(TEXTS, one)() == pytest.approx(BLEU(tokenize="none").corpus_score(cut[0], [cut[1]]).score / 100)
    assert chrf(TEXTS, one)() == pytest.approx(CHRF().corpus_score(TEXTS, [[own[0] for own in RIGHT]]).score / 100)
    assert bleu(TEXTS, RIGHT)() >= bleu(TEXTS, one)()
    assert bleu(["红苹果在左边"], [["红苹果在左边"]])() == pytest.approx(1.0)


def test_the_draws_of_bleu_are_corpus_scores_of_what_is_drawn() -> None:
    found = bleu(TEXTS, RIGHT)
    drawn = np.random.default_rng(3).multinomial(len(TEXTS), np.full(len(TEXTS), 1 / len(TEXTS)))
    texts = [text for text, count in zip(TEXTS, drawn, strict=True) for _ in range(count)]
    right = [own for own, count in zip(RIGHT, drawn, strict=True) for _ in range(count)]
    assert found.draws(seed=3, count=1)[0] == pytest.approx(bleu(texts, right)())


def test_rouge_by_hand() -> None:
    """一只狗 and 一只小狗 share three in order: precision 3 of 3, recall 3 of 4; 狗 gives recall 1."""
    precision, recall, square = 1.0, 3 / 4, 1.2**2
    assert rouge_l(["一只狗"], [["一只小狗"]])() == pytest.approx(
        (1 + square) * precision * recall / (recall + square * precision)
    )
    assert rouge_l(["一只狗"], [["一只小狗", "狗"]])() == pytest.approx(1.0), "best precision and best recall"
    assert rouge_l([""], [["狗"]])() == 0.0


def test_cider_by_hand() -> None:
    """Two texts of one token each: what both have says nothing, what one has counts; only runs of one are there."""
    assert cider_d(["猫", "狗"], [["猫"], ["狗"]])() == pytest.approx(10 / 4)
    assert cider_d(["狗", "猫"], [["猫"], ["狗"]])() == 0.0
    assert cider_d(["猫", "猫"], [["猫"], ["猫"]])() == 0.0, "a run that all have weighs nothing"
    # Runs of two: 1 against 3, so that lengths differ by 2 tokens; of four runs of one in the right text one is shared.
    weight = math.log(2)
    near = math.exp(-(2**2) / (2 * 6.0**2))
    ones = weight**2 * 2 / (math.sqrt(2) * weight * 2 * weight)
    twos = weight**2 / (weight * math.sqrt(3) * weight)
    assert cider_d(["甲乙", "子"], [["甲乙丙丁"], ["丑"]])() == pytest.approx(10 / 4 * near * (ones + twos) / 2)


def test_cider_and_rouge_are_those_of_the_coco_tools() -> None:
    """Recorded from pycocoevalcap 1.2 on names and keywords of bundled pictures."""
    rows = emoji_rows()[:60]
    texts = [f"{row['name']}。{'、'.join(row['keywords'][:2])}" for row in rows]
    right = [[f"{row['name']}。{'、'.join(row['keywords'])}", f"一个{row['name']}"] for row in rows]
    texts = texts[1:7] + texts[6:]
    assert cider_d(texts, right)() == pytest.approx(CIDER, abs=1e-6)
    assert rouge_l(texts, right)() == pytest.approx(ROUGE, abs=1e-6)


CIDER, ROUGE = 1.9453702949417946, 0.6771527452224982


def test_distinct_by_hand() -> None:
    assert distinct(["春春", "春风"], 1)() == pytest.approx(2 / 4)
    assert distinct(["春春", "春风"], 2)() == pytest.approx(2 / 2)
    assert distinct([], 1)() == 0.0


def test_an_interval_is_that_of_the_binomial_and_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.7
    found = Statistic.mean(right)
    spread = 1.96 * math.sqrt(found() * (1 - found()) / 400)
    assert found.interval() == pytest.approx((found() - spread, found() + spread), abs=0.006)
    other = right.copy()
    other[:10] = ~other[:10]
    apart, low, high = difference(found, Statistic.mean(other))
    assert low is not None
    assert high is not None
    assert apart == pytest.approx(found() - other.mean())
    assert high - low < 0.05, "but for ten they are equal, so much of the chance is shared"
    with pytest.raises(ValueError, match="against"):
        difference(found, Statistic.mean([1.0]))
