"""What the parts of the evaluation count, from worked examples."""

import math

import numpy as np
import pytest

from m6.corpus.document import Document, Question, make_document
from m6.data.sample import Sample, Text
from m6.train.evaluate import captions, matches, questions, verses


def document(text: str, keywords: list[str]) -> Document:
    return make_document("emoji", text, keywords=keywords)


def test_captions_are_scored_by_name_and_by_keywords() -> None:
    truths = [document("猫。动物、宠物", ["动物", "宠物", "喵"]), document("苹果。水果", ["水果"])]
    score = captions.score(["猫。动物", "梨。水果"], truths)
    assert score["exact"] == 0.5
    assert score["keyword_f1"] == pytest.approx((2 * 1 / (1 + 3) + 1.0) / 2)
    assert captions.name_and_keywords("左边是猫，右边是梨") == ("左边是猫，右边是梨", set())


def test_answers_are_scored_as_a_whole_and_by_kind() -> None:
    asked = [
        Question(kind="what", question="这是什么？", answer="猫"),
        Question(kind="what", question="这是什么？", answer="狗"),
        Question(kind="count", question="有几个猫？", answer="两个"),
        Question(kind="what", question="这是什么？", answer="猫"),
    ]
    score = questions.score(["猫", "猫", " 两个", "鸟"], asked)
    assert score == {"accuracy": 0.5, "what": pytest.approx(1 / 3), "count": 1.0}
    usual = questions.most_frequent(asked)
    assert usual["这是什么？"] == "猫"
    assert usual["count"] == "两个"


def test_matching_takes_the_text_that_the_picture_makes_likelier() -> None:
    """A likely text gains nothing by the picture, an unlikely one gains much: the ratio chooses the second."""
    common, rare, picture = Text((1,)), Text((2,)), Text((9,))
    table = {((), 1): 1.0, ((), 2): 9.0, ((picture,), 1): 1.1, ((picture,), 2): 4.0}

    def losses(samples: list[Sample]) -> np.ndarray:
        return np.array([table[sample.prefix, sample.branches[0].target.ids[0]] for sample in samples])  # type: ignore[union-attr,index]

    assert matches.choose(losses, [picture], [[common, rare]]).tolist() == [1]  # type: ignore[arg-type]


def test_poems_by_hand() -> None:
    assert verses.lines_of("春眠不觉晓，处处闻啼鸟。\n") == ["春眠不觉晓", "处处闻啼鸟"]
    score = verses.score(["春眠不觉晓，处处闻啼鸟。"], [True], {"春眠不觉晓"})
    assert score == {"form_rate": 1.0, "copied_rate": 0.5}
    assert verses.bits_per_character([math.log(2) * 6], ["春眠，"]) == pytest.approx(2.0)
    # Two of each of three characters, one added to each, the unseen one among them: (2 + 1) / (6 + 4).
    assert verses.unigram_bits(["甲乙丙甲乙丙"], ["甲丁"]) == pytest.approx(-(math.log2(0.3) + math.log2(0.1)) / 2)
