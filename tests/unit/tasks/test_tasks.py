"""Tasks and their metrics from worked examples."""

import math

import numpy as np
import pytest

from m6.corpus.document import Document, Question, make_document
from m6.data.sample import Sample, Text
from m6.tasks import captioning, matching, poems, text_to_image, visual_question_answering
from m6.tasks.metrics import exact, f1, interval, mean, overlap


def test_metrics_by_hand() -> None:
    assert exact(["猫", "狗"], ["猫", "鸟"]) == 0.5
    assert f1({"a", "b"}, {"b", "c", "d"}) == pytest.approx(2 * (1 / 2 * 1 / 3) / (1 / 2 + 1 / 3))
    assert f1(set(), {"a"}) == 0.0
    assert overlap("红苹果", "青苹果") == pytest.approx(2 / 3)
    assert math.isnan(mean([]))


def test_an_interval_covers_the_mean_and_shrinks_with_more_values() -> None:
    few, many = [0.0, 1.0] * 5, [0.0, 1.0] * 500
    low, high = interval(few)
    assert low < 0.5 < high
    assert interval(many)[1] - interval(many)[0] < (high - low) / 5
    assert interval([1.0] * 9) == (1.0, 1.0)


def document(text: str, keywords: list[str]) -> Document:
    return make_document("emoji", text, keywords=keywords)


def test_captions_are_scored_by_name_and_by_keywords() -> None:
    truths = [document("猫。动物、宠物", ["动物", "宠物", "喵"]), document("苹果。水果", ["水果"])]
    score = captioning.score(["猫。动物", "梨。水果"], truths)
    assert score["exact"] == 0.5
    assert score["keyword_f1"] == pytest.approx((2 * 1 / (1 + 3) + 1.0) / 2)
    assert captioning.decode("左边是猫，右边是梨") == ("左边是猫，右边是梨", set())


def test_answers_are_scored_as_a_whole_and_by_kind() -> None:
    questions = [
        Question(kind="what", question="这是什么？", answer="猫"),
        Question(kind="what", question="这是什么？", answer="狗"),
        Question(kind="count", question="有几个猫？", answer="两个"),
        Question(kind="what", question="这是什么？", answer="猫"),
    ]
    score = visual_question_answering.score(["猫", "猫", " 两个", "鸟"], questions)
    assert score == {"accuracy": 0.5, "what": pytest.approx(1 / 3), "count": 1.0}
    usual = visual_question_answering.most_frequent(questions)
    assert usual["这是什么？"] == "猫"
    assert usual["count"] == "两个"


def test_matching_takes_the_text_that_the_picture_makes_likelier() -> None:
    """A likely text gains nothing by the picture, an unlikely one gains much: the ratio chooses the second."""
    common, rare, picture = Text((1,)), Text((2,)), Text((9,))
    table = {((), 1): 1.0, ((), 2): 9.0, ((picture,), 1): 1.1, ((picture,), 2): 4.0}

    def losses(samples: list[Sample]) -> np.ndarray:
        return np.array([table[sample.prefix, sample.branches[0].target.ids[0]] for sample in samples])  # type: ignore[union-attr,index]

    assert matching.decode(losses, [picture], [[common, rare]]).tolist() == [1]  # type: ignore[arg-type]
    assert matching.score([1, 0], [1, 1]) == {"accuracy": 0.5}


def test_poems_by_hand() -> None:
    assert poems.decode("春眠不觉晓，处处闻啼鸟。\n") == ["春眠不觉晓", "处处闻啼鸟"]
    score = poems.score(["春眠不觉晓，处处闻啼鸟。"], [True], {"春眠不觉晓"})
    assert score == {"form_rate": 1.0, "copied_rate": 0.5}
    assert poems.bits_per_character([math.log(2) * 6], ["春眠，"]) == pytest.approx(2.0)
    # Two of each of three characters, one added to each, the unseen one among them: (2 + 1) / (6 + 4).
    assert poems.unigram_bits(["甲乙丙甲乙丙"], ["甲丁"]) == pytest.approx(-(math.log2(0.3) + math.log2(0.1)) / 2)


def test_the_nearest_picture_is_found() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    shown = np.clip(known[[3, 0]].astype(int) + 9, 0, 255).astype(np.uint8)
    assert text_to_image.nearest(shown, known).tolist() == [3, 0]


def test_choices_hold_their_own_prompt_once_and_no_other_twice() -> None:
    rows, places = text_to_image.choices(30, 10, seed=0)
    assert all(rows[index, place] == index for index, place in enumerate(places))
    assert all(len(set(row)) == 10 for row in rows.tolist())
    assert len(set(places.tolist())) > 3
