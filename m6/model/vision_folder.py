"""What the folder of a Hugging Face vision model says of it: width of its features, and how pictures are prepared.

Free of torch and of transformers: it reads `config.json` and `preprocessor_config.json` alone. Models of text and
pictures, such as CLIP, keep the part that is asked for under `vision_config`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m6.config import UserError

HALF = (0.5, 0.5, 0.5)
BILINEAR, BICUBIC = 2, 3
"""Numbers of Pillow's filters, as these files name them."""


@dataclass(frozen=True)
class VisionFolder:
    """A vision model: `width` of its pooled features, and `side`, `mean`, `std` and filter of its input."""

    width: int
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bicubic: bool

    @classmethod
    def read(cls, folder: str) -> VisionFolder:
        """UserError if the folder holds no vision model, or one whose pictures are prepared in an unknown way."""
        about = _json(folder, "config.json")
        about = about.get("vision_config", about)
        widths = about.get("hidden_sizes") or [about.get("hidden_size")]
        if not isinstance(widths[-1], int):
            raise UserError(f"model.crops.folder: {folder}/config.json has no hidden_size; is it a vision model?")
        prepared = _json(folder, "preprocessor_config.json")
        side = _side(prepared.get("crop_size") if prepared.get("do_center_crop") else None) or _side(
            prepared.get("size")
        )
        if not side:
            raise UserError(f"model.crops.folder: {folder}/preprocessor_config.json has no size that is a square")
        resample = prepared.get("resample", BILINEAR)
        if resample not in (BILINEAR, BICUBIC):
            raise UserError(
                f"model.crops.folder: {folder}/preprocessor_config.json has resample {resample}; it has to be "
                f"{BILINEAR} (bilinear) or {BICUBIC} (bicubic)"
            )
        normalised = prepared.get("do_normalize", True)
        return cls(
            width=widths[-1],
            side=side,
            mean=tuple(prepared.get("image_mean", HALF)) if normalised else (0.0,) * 3,
            std=tuple(prepared.get("image_std", HALF)) if normalised else (1.0,) * 3,
            bicubic=resample == BICUBIC,
        )


def _json(folder: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads((Path(folder) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.crops.folder: {folder}/{name} cannot be read ({error}); it has to be the folder of a Hugging Face "
            "vision model"
        ) from None
    return dict(found)


def _side(size: Any) -> int:
    """Of the forms in which these files give a size; 0 if it is no square."""
    if isinstance(size, int):
        return size
    if not isinstance(size, dict):
        return 0
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    return int(size["height"]) if "height" in size and size["height"] == size.get("width") else 0
