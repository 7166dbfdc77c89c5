"""The main colour of a picture, by a rule that a person can check.

Every opaque pixel (alpha of at least 128) votes for one of eleven Chinese colour names by its hue, saturation and
value; the name with the most votes wins. The thresholds were set by eye on sheets of the bundled pictures.

In: pixels `[height, width, 4]`, uint8, RGBA, alpha not premultiplied. Out: one of `COLOURS` and
its share of the votes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLOURS = ("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "棕色", "黑色", "白色", "灰色")


def main_colour(pixels: NDArray[np.uint8]) -> tuple[str, float]:
    """The colour that most opaque pixels have, and the share of them that have it, in [0, 1].

    A picture without an opaque pixel is white, with share 0. Ties go to the earlier name of `COLOURS`.
    """
    opaque = pixels[pixels[..., 3] >= 128][:, :3]
    if not len(opaque):
        return "白色", 0.0
    votes = np.bincount(pixel_colours(opaque), minlength=len(COLOURS))
    return COLOURS[int(votes.argmax())], float(votes.max() / len(opaque))


def pixel_colours(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The index into `COLOURS` of each pixel; `rgb` is `[n, 3]`, uint8.

    Grey, white and black are the pixels of little saturation (blue is allowed more, since shaded white leans to
    blue). Brown is dark orange, pink is light red and all between purple and red.
    """
    hue, saturation, value = _hsv(rgb)
    bluish = (hue >= 170) & (hue < 255)
    grey = saturation < np.where(bluish, 0.3, 0.2)
    brown = (hue >= 8) & (hue < 50) & (value < 0.74)
    pale_red = ((hue >= 345) | (hue < 12)) & (saturation < 0.55) & (value >= 0.8)
    conditions_and_names = [
        ((value < 0.2) | (grey & (value < 0.36)), "黑色"),
        (grey & (value >= 0.86), "白色"),
        (grey, "灰色"),
        (brown, "棕色"),
        (pale_red, "粉色"),
        ((hue < 15) | (hue >= 345), "红色"),
        (hue < 40, "橙色"),
        (hue < 68, "黄色"),
        (hue < 170, "绿色"),
        (hue < 255, "蓝色"),
        (hue < 310, "紫色"),
    ]
    return np.select(
        [condition for condition, _ in conditions_and_names],
        [COLOURS.index(name) for _, name in conditions_and_names],
        default=COLOURS.index("粉色"),
    )


def _hsv(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Hue in degrees [0, 360), saturation and value in [0, 1]."""
    red, green, blue = rgb.astype(np.float64).T
    high, low = rgb.max(axis=1).astype(np.float64), rgb.min(axis=1).astype(np.float64)
    spread = np.maximum(high - low, 1.0)
    not_red = np.where(high == green, (blue - red) / spread + 2, (red - green) / spread + 4)
    sector = np.where(high == red, (green - blue) / spread % 6, not_red)
    return sector * 60 % 360, (high - low) / np.maximum(high, 1.0), high / 255
