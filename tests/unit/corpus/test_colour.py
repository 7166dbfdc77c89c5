"""Colours: names against colours that people name so."""

from __future__ import annotations

import numpy as np
import pytest

from m6.corpus.images.colour import COLOURS, main_colour
from m6.corpus.starter import emoji_rows


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "红色"),
        ((198, 40, 40), "红色"),
        ((255, 140, 0), "橙色"),
        ((255, 235, 59), "黄色"),
        ((255, 202, 40), "黄色"),  # the yellow of smileys
        ((0, 128, 0), "绿色"),
        ((124, 179, 66), "绿色"),
        ((0, 0, 255), "蓝色"),
        ((64, 192, 231), "蓝色"),
        ((128, 0, 128), "紫色"),
        ((171, 71, 188), "紫色"),
        ((255, 192, 203), "粉色"),
        ((240, 98, 146), "粉色"),
        ((121, 85, 72), "棕色"),
        ((139, 69, 19), "棕色"),
        ((0, 0, 0), "黑色"),
        ((66, 66, 66), "黑色"),
        ((255, 255, 255), "白色"),
        ((176, 190, 197), "灰色"),
        ((128, 128, 128), "灰色"),
    ],
)
def test_one_colour(rgb: tuple[int, int, int], name: str) -> None:
    assert main_colour(np.full((4, 4, 4), (*rgb, 255), np.uint8)) == (name, 1.0)


def test_transparent_pixels_do_not_vote() -> None:
    pixels = np.full((10, 10, 4), (255, 0, 0, 0), np.uint8)
    pixels[:2] = (0, 0, 255, 255)
    pixels[2] = (0, 128, 0, 255)
    assert main_colour(pixels) == ("蓝色", 2 / 3)
    assert main_colour(np.zeros((3, 3, 4), np.uint8)) == ("白色", 0.0)


def test_bundled_pictures_named_after_a_colour_have_it() -> None:
    """The names were given by people, the colours by the rule."""
    named = [(row["name"], row["colour"]) for row in emoji_rows() if row["name"][:2] in COLOURS]
    right = [name for name, colour in named if name.startswith(colour)]
    assert len(named) > 35
    assert len(right) / len(named) > 0.85, sorted(set(named) - {(n, c) for n, c in named if n.startswith(c)})
