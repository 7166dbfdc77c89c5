"""Examples of a task -> the samples of any step."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from m6.data.config import DataConfig
from m6.data.images import PictureAt, decode_image
from m6.data.sample import Picture, Sample
from m6.tasks.example import Example
from m6.tasks.task import named
from m6.train.examples import Examples
from tests.unit.tasks.segments import Letters

FOLDER = Path(__file__).parents[2] / "fixtures/tasks/coco_cn/train2014"
PICTURES = [PictureAt(path) for path in sorted(FOLDER.glob("*.jpg"))[:2]]
QUESTIONS = [
    Example("1", "这是什么？", ("猫",), PICTURES[0]),
    Example("2", "有几个？", ("一个",), PICTURES[0]),
    Example("3", "什么颜色？", ("红色", "朱红"), PICTURES[0]),
    Example("4", "这是什么？", ("狗",), PICTURES[1]),
]


class Pixels(Letters):
    """Letters, and pictures as pixels."""

    def picture(self, at: PictureAt) -> Picture:  # type: ignore[override]
        return Picture(decode_image(at.read()))


def examples(jitter: float = 0.0, seed: int = 0, most: int = 2) -> Examples:
    task = named("visual_question_answering")
    return Examples(task, QUESTIONS, Pixels(), DataConfig(max_questions=most), 3, seed, jitter)


def asked(samples: list[Sample]) -> list[list[str]]:
    found = [[branch.prefix[0] for branch in sample.branches] for sample in samples]
    return [["".join(map(chr, text.ids)) for text in of] for of in found]  # type: ignore[union-attr]


def pixels(sample: Sample) -> np.ndarray:
    (picture,) = sample.prefix
    assert isinstance(picture, Picture)
    return picture.pixels


def test_questions_about_one_picture_share_it_up_to_the_most() -> None:
    samples, skipped = examples().part(0)  # three samples: an epoch
    assert not skipped
    assert sorted(asked(samples)) == [["什么颜色？"], ["这是什么？"], ["这是什么？", "有几个？"]]
    assert all(np.array_equal(pixels(each), decode_image(PICTURES[each.key == "4"].read())) for each in samples)


def test_every_epoch_has_every_example_once_in_an_order_of_its_own() -> None:
    orders = [[sample.key for sample in examples().part(step)[0]] for step in range(8)]
    assert all(sorted(order) == ["1", "3", "4"] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_one_of_several_answers_is_drawn() -> None:
    drawn = Counter(
        "".join(map(chr, branch.target.ids))  # type: ignore[union-attr]
        for step in range(40)
        for sample in examples(most=1).part(step)[0]
        for branch in sample.branches
        if sample.key == "3"
    )
    assert set(drawn) == {"红色", "朱红"}


@pytest.mark.parametrize("part", [0, 1])
def test_parts_of_a_step_are_those_of_the_whole(part: int) -> None:
    whole, _ = examples(0.2).part(5)
    parts, _ = examples(0.2).part(5, part, 2)
    assert asked(parts) == asked(whole[part::2])
    assert all(np.array_equal(pixels(a), pixels(b)) for a, b in zip(parts, whole[part::2], strict=True))


def test_pictures_are_moved_and_nothing_else_is() -> None:
    moved, plain = examples(0.2).part(0)[0], examples().part(0)[0]
    assert asked(moved) == asked(plain)
    assert all(pixels(a).shape == pixels(b).shape for a, b in zip(moved, plain, strict=True))
    assert not any(np.array_equal(pixels(a), pixels(b)) for a, b in zip(moved, plain, strict=True))
