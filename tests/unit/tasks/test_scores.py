"""Scores of the tasks from answers, against cases worked by hand and slow plain counts."""

from __future__ import annotations

import numpy as np
import pytest

from m6.tasks import captioning, classification, matching, poems, question_answering, retrieval
from m6.tasks import visual_question_answering as vqa
from m6.tasks.example import Example
from m6.tasks.metrics.ngrams import token_f1


def test_answers_are_right_but_for_blanks_and_marks_and_are_counted_by_kind() -> None:
    examples = [
        Example("1", answers=("摩托车。", "车"), about={"kind": "what"}),
        Example("2", answers=("两个",), about={"kind": "count"}),
        Example("3", answers=("红色",), about={"kind": "what"}),
        Example("4", about={"kind": "what"}),  # not told, and left out
    ]
    score = vqa.score([" 摩托车", "三个", "绿色", "什么"], examples, [])
    assert score["accuracy"]() == pytest.approx(1 / 3)
    assert score["accuracy.what"]() == pytest.approx(1 / 2)
    assert score["accuracy.count"]() == 0.0
    assert len(score["accuracy.what"].parts) == 3  # as many for every kind, so that two systems can be compared


@pytest.mark.parametrize(
    ("answer", "right", "same"),
    [
        ("摩托 车。", "摩托车", True),
        ("ＡＢＣ！", "abc", True),
        ("是的，没错", "是的没错", True),
        ("“猫”（黑）", "猫黑", True),
        ("3.5", "35", False),
        ("1,000", "1000", False),
        ("3.", "3", True),
        ("-1", "1", False),
        ("。", "！", False),
        ("猫", "狗", False),
    ],
)
def test_blanks_marks_case_and_width_are_forgiven(answer: str, right: str, same: bool) -> None:
    for one, other in ((answer, right), (right, answer)):
        example = [Example("1", answers=("甲", other), choices=("甲", other))]
        assert vqa.score([one], example, [])["accuracy"]() == same
        assert question_answering.score([one], example, [])["exact"]() == same
        assert matching.score([one], example, [])["accuracy"]() == same


def test_the_f1_of_tokens_by_hand() -> None:
    """红红苹果 and 红苹 share two of four and of two; the better of several right texts counts."""
    assert token_f1(["红红苹果", "猫"], [["红苹"], ["狗", "小猫"]])() == pytest.approx((2 * 2 / 6 + 2 * 1 / 3) / 2)
    assert token_f1([""], [["红"]])() == 0.0


def test_named_things_are_scored_by_name_and_by_keywords() -> None:
    about = {"keywords": "动物\n宠物\n喵"}
    examples = [
        Example("1", answers=("猫。动物、宠物",), about=about),
        Example("2", answers=("苹果。水果",), about={"keywords": "水果"}),
        Example("3", answers=("一只猫躺着",)),  # no named thing
    ]
    score = captioning.score(["猫。动物", "梨。水果", "一只狗"], examples, [])
    assert score["name"]() == 0.5
    assert score["keyword_f1"]() == pytest.approx((2 * 1 / (1 + 3) + 1.0) / 2)
    assert captioning.name_and_keywords("左边是猫，右边是梨") == ("左边是猫，右边是梨", set())


def test_answers_are_told_right_near_or_copied() -> None:
    examples = [Example("1", answers=("多此一举", "徒劳")), Example("2", answers=("水滴",))]
    known = [Example("0", answers=("云",))]
    score = question_answering.score(["徒劳", "云"], examples, known)
    assert (score["exact"](), score["f1"](), score["copied"]()) == (0.5, 0.5, 0.5)
    assert question_answering.score(["徒劳"], [Example("3")], known) == {}


def test_lines_of_poems_that_stand_in_training() -> None:
    """One of three lines, wherever it stands; a poem of no lines counts nothing."""
    known = [Example("0", answers=("春眠不觉晓，处处闻啼鸟。\n",))]
    examples = [Example(str(n)) for n in range(3)]
    score = poems.score(["春眠不觉晓，甲。", "乙。", ""], examples, known)
    assert score["copied_rate"]() == pytest.approx(1 / 3)


def test_poems_are_told_by_form_rhyme_and_tones() -> None:
    """The form of the prompt; rhymes and tones of regulated forms alone."""
    poem = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
    examples = [Example(str(n), about={"form": form}) for n, form in enumerate(["五言绝句", "七言绝句", "词"])]
    score = poems.score([poem, poem.replace("楼", "山"), poem], examples, [])
    assert {name: score[name]() for name in ("form_rate", "rhyme_rate", "tonal_rate")} == {
        "form_rate": pytest.approx(1 / 2),
        "rhyme_rate": pytest.approx(1 / 2),
        "tonal_rate": 1.0,
    }


def test_matching_and_its_labels() -> None:
    examples = [Example(str(n), answers=(answer,), choices=("是", "否")) for n, answer in enumerate("是否是")]
    assert matching.score(["是", "是", "是"], examples, [])["accuracy"]() == pytest.approx(2 / 3)


def test_pairs_of_a_text_and_a_negative_by_hand() -> None:
    """Of the first picture's three negatives two fit worse; of the second's two one worse and one as well. A label is
    no pair."""
    examples = [
        Example("1", answers=("乙",), choices=("甲", "乙", "丙", "丁")),
        Example("2", answers=("甲",), choices=("甲", "乙", "丙")),
        Example("3", "一只猫", answers=("是",), choices=("是", "否")),
    ]
    fits = [np.array([-1.0, -2.0, -3.0, -4.0]), np.array([-1.0, -1.0, -2.0]), np.array([0.0, 1.0])]
    score = matching.score_pairs(fits, examples)["pair_accuracy"]
    assert score() == pytest.approx((2 + 1.5) / 5)
    assert len(score.clusters) == 3
    assert matching.score_pairs(fits[2:], examples[2:]) == {}
    rng = np.random.default_rng(0)
    guessed = [Example(str(n), answers=("甲",), choices=("甲", "乙", "丙")) for n in range(400)]
    assert matching.score_pairs(list(rng.normal(size=(400, 3))), guessed)["pair_accuracy"]() == pytest.approx(
        0.5, abs=0.05
    )


def test_macro_f1_by_hand() -> None:
    """甲: 1 right, 1 wrongly given -> 2/3; 乙: 1 right, 1 missed -> 2/3; 丙, only given: 0."""
    assert classification.macro_f1(["甲", "甲", "乙", "丙"], ["甲", "乙", "乙", "乙"])() == pytest.approx(
        np.mean([2 * 1 / (2 * 1 + 1), 2 * 1 / (2 * 1 + 2), 0.0])
    )
    examples = [Example("1", answers=("甲",)), Example("2", answers=("乙",))]
    score = classification.score(["甲", "甲"], examples, [])
    assert score["accuracy"]() == 0.5
    low, high = score["macro_f1"].interval()
    assert 0 <= low <= score["macro_f1"]() <= high <= 1


def plain_recall(fits: np.ndarray, right: np.ndarray, most: int) -> float:
    """Slowly: sort what a row fits, wrong ones before right ones that fit as well, and look at the first few."""
    found = []
    for row in range(len(fits)):
        order = sorted(range(fits.shape[1]), key=lambda column: (-fits[row, column], right[row, column]))
        found.append(any(right[row, column] for column in order[:most]))
    return float(np.mean(found))


def test_ranks_both_ways_against_plain_sorting() -> None:
    """Pictures with several texts, a text of several pictures, one picture without; many fit just as well."""
    rng = np.random.default_rng(0)
    texts = [f"text {number}" for number in range(30)]
    examples = [Example(str(n), answers=tuple(texts[2 * n : 2 * n + 2])) for n in range(15)]
    examples += [Example("shared", answers=("text 0", "text 7")), Example("none")]
    fits = rng.integers(0, 12, (17, 30)).astype(float)
    right = np.array([[text in example.answers for text in texts] for example in examples])
    assert retrieval.texts_of(examples) == texts
    score = retrieval.score_ranks(fits, examples)
    for most in (1, 5, 10):
        assert score[f"image_to_text.recall_{most}"]() == pytest.approx(plain_recall(fits[:16], right[:16], most))
        assert score[f"text_to_image.recall_{most}"]() == pytest.approx(plain_recall(fits.T, right.T, most))
    both = [score[f"text_to_image.recall_{most}"]() for most in (1, 5, 10)]
    assert score["text_to_image.mean_recall"]() == pytest.approx(np.mean(both))
    assert retrieval.MAIN in score


def test_ranks_of_a_kind_are_among_all() -> None:
    rng = np.random.default_rng(1)
    examples = [Example(str(n), answers=(f"text {n}",), about={"kind": "new" if n % 3 else "old"}) for n in range(30)]
    fits, right = rng.normal(size=(30, 30)) + 1.5 * np.eye(30), np.eye(30, dtype=bool)
    score = retrieval.score_ranks(fits, examples)
    for kind, rows in (("old", slice(0, 30, 3)), ("new", [n for n in range(30) if n % 3])):
        for most in (1, 5, 10):
            assert score[f"image_to_text.recall_{most}.{kind}"]() == plain_recall(fits[rows], right[rows], most)
            assert score[f"text_to_image.recall_{most}.{kind}"]() == plain_recall(fits.T[rows], right[rows], most)


def test_perfect_and_constant_fits() -> None:
    """What fits everything equally well finds nothing."""
    examples = [Example(str(n), answers=(f"text {n}",)) for n in range(40)]
    perfect = retrieval.score_ranks(np.eye(40), examples)
    constant = retrieval.score_ranks(np.zeros((40, 40)), examples)
    assert {score() for score in perfect.values()} == {1.0}
    assert {score() for score in constant.values()} == {0.0}
    broken = retrieval.score_ranks(np.full((40, 40), np.nan), examples)
    assert {score() for score in broken.values()} == {0.0}
    with pytest.raises(ValueError, match="40 pictures and 40 texts"):
        retrieval.score_ranks(np.zeros((40, 39)), examples)


def test_the_first_text_of_each_picture() -> None:
    examples = [Example("1", answers=("甲", "乙")), Example("2", answers=("丙",)), Example("3")]
    assert retrieval.score(["乙", "甲", "甲"], examples, [])["image_to_text.recall_1"]() == 0.5
