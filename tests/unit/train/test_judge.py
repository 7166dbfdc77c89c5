"""The judge of paintings: where it looks, and what it takes for ink elsewhere, by hand."""

import numpy as np
import torch
from torch import Tensor

from m6.corpus.config import ScenesConfig, SceneShares
from m6.corpus.sources import scenes
from m6.train.judge import Judge, expected, fresh_scenes, ink_elsewhere, to_images, window_of, windows

CONFIG = ScenesConfig()
WINDOW = window_of(CONFIG)
CLASSES = Judge(CONFIG).classes


def test_places_are_those_of_the_layout() -> None:
    beside, above = (expected(["企鹅", "西瓜"], upright, 100) for upright in (False, True))
    assert beside.things == ("企鹅", "西瓜")
    assert beside.middles == ((27, 50), (73, 50))
    assert above.middles == ((50, 27), (50, 73))
    assert expected(["紫色的汽车"], False, 64).middles == ((32, 32),)


def test_a_window_is_cut_around_its_place_and_white_beyond_the_edge() -> None:
    picture = np.full((64, 64, 3), 200, np.uint8)
    picture[10, 20] = 0
    seen = windows(picture, [(20, 10)], WINDOW)[0]
    assert WINDOW == 40  # 28 of the thing, 4 it may lie away on both sides, and half of the raster
    assert seen.shape == (WINDOW, WINDOW, 3)
    assert seen[WINDOW // 2, WINDOW // 2].tolist() == [0, 0, 0]
    assert (seen[: WINDOW // 2 - 10] == 255).all()


def test_real_scenes_have_no_ink_elsewhere_and_a_thing_too_many_has() -> None:
    pictures, wanted = fresh_scenes(40, "train", ScenesConfig(), seed=5)
    assert max(ink_elsewhere(p, w.middles, WINDOW) for p, w in zip(pictures, wanted, strict=True)) < 0.02
    single = next(p for p, w in zip(pictures, wanted, strict=True) if len(w.things) == 1)
    assert ink_elsewhere(single, [(10, 10)], WINDOW) > 0.02


def test_a_wider_canvas_of_other_scenes_has_its_own_window_and_things() -> None:
    config = ScenesConfig(
        size=128,
        sides=(48, 56),
        jitter=8,
        raster=16,
        dyed=12,
        shares=SceneShares(pair=0, count=0, colour=0, colour_pair=0, triple=1),
    )
    judge = Judge(config)
    assert judge.window == 2 * WINDOW
    assert set(judge.classes) - set(CLASSES) == {f"{hue}的{name}" for name in ("星星", "裤子") for hue in scenes.HUES}
    pictures, wanted = fresh_scenes(20, "heldout", config, seed=5)
    assert all(len(scene.things) == 3 for scene in wanted)
    assert max(ink_elsewhere(p, w.middles, judge.window) for p, w in zip(pictures, wanted, strict=True)) < 0.02
    assert judge(to_images(windows(pictures[0], wanted[0].middles, judge.window))).shape == (3, len(judge.classes))


class ByColour(Judge):
    """Takes what is red for the first class, anything else for the second."""

    def forward(self, images: Tensor) -> Tensor:
        red = (images[:, 0] - images[:, 1]).flatten(1).amax(1) > 1
        return torch.nn.functional.one_hot((~red).long(), len(CLASSES)).float()


def squares(*spots: tuple[int, int, tuple[int, int, int]]) -> np.ndarray:
    """A white picture with squares of 20 pixels about (column, row)."""
    pixels = np.full((64, 64, 3), 255, np.uint8)
    for column, row, colour in spots:
        pixels[row - 10 : row + 10, column - 10 : column + 10] = colour
    return pixels


def test_right_are_all_things_in_their_places_and_nothing_elsewhere() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    pair, single = (expected(list(CLASSES[:count]), upright=False, size=64) for count in (2, 1))
    cases = [
        (squares((17, 32, red), (47, 32, blue)), pair, True),
        (squares((17, 32, blue), (47, 32, red)), pair, False),
        (squares((32, 32, red)), single, True),
        (squares((32, 32, red), (10, 10, red), (54, 54, red)), single, False),
    ]
    pictures, wanted, verdicts = zip(*cases, strict=True)
    assert ByColour(CONFIG).right(np.stack(pictures), wanted) == list(verdicts)
