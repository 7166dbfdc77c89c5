"""Thresholds of the picture rules, and how pictures are stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from m6.config import Config


class ImageRules(Config):
    """Thresholds of the picture rules, asked before a picture is brought to the training size."""

    fewest_pixels: int = 5_000
    """Width times height."""
    most_pixels: int = 30_000_000
    """Width times height, read from the header: a larger picture is never decoded."""
    most_bytes: int = 30_000_000
    """Bytes of the encoded picture."""
    largest_aspect: float = 5.0
    """Longer side over shorter side."""
    smallest_contrast: int = Field(8, ge=1, le=256)
    """A picture is of one colour if in each channel nearly all values (0 to 255) lie less than this apart."""
    largest_plain_share: float = Field(0.99, gt=0, le=1)
    """Share of the pixels that are nearly all."""
    crop: bool = False
    """Cut transparent borders off and enlarge what is left to the whole picture."""
    margin: int = 0
    """White pixels around a cropped picture."""
    unsafe_model: str = ""
    """Path of an ONNX classifier that scores pictures as unsafe (extra `onnx`); none is bundled."""
    unsafe_model_output: tuple[int, ...] = (1,)
    """Classes of the model that are unsafe, from 0; their probabilities are added. A model of one output has none."""
    unsafe_model_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Taken from the values (0 to 1) of red, green and blue before the model sees them."""
    unsafe_model_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """What the differences are divided by."""
    largest_unsafe_score: float = Field(0.5, ge=0, le=1)
    """Score of the unsafe-image model up to which a picture is kept."""


class ImageFormat(Config):
    """How pictures stand in the shards."""

    encoding: Literal["png", "jpeg", "webp"] = "png"
    """PNG keeps every value; JPEG and WebP are smaller."""
    quality: int = Field(90, ge=1, le=100)
    """Of JPEG and WebP."""
