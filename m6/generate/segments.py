"""Raw material of requests and examples as the segments that the model of a run has learnt to read.

    text, bytes of a picture file -> Text, Picture or Codes of a Sample

A picture with a transparent ground is cut out by the rules of the bundled pictures; any other is taken as it is, whole,
on a white square of the size that the model was trained on.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from m6.config import UserError
from m6.corpus.config import CorpusConfig, ImageRules
from m6.corpus.images.prepare import fit
from m6.data.sample import Codes, Picture, Text
from m6.generate.engine import Engine


class Encoded(Protocol):
    """Where an encoded picture is read from."""

    def read(self) -> bytes: ...


class RunSegments:
    """Segments for the engine of a run folder. Pictures of one place are read once in a row."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        sources = CorpusConfig.read(folder / "config.json", section="corpus").sources
        self._rules = sources["emoji"].images if "emoji" in sources else ImageRules()
        self._engine = engine
        self._codes: dict[Encoded, np.ndarray] = {}

    def text(self, text: str) -> Text:
        """UserError if the text is longer than the model has been trained to read; it is never cut."""
        return self._engine.text(text)

    def picture(self, at: Encoded) -> Picture | Codes:
        """UserError if there is no picture there that can be read."""
        return self._engine.picture(self.pixels_at(at))

    def codes(self, at: Encoded) -> Codes:
        """The codes of a picture as it is painted; computed once. UserError if there is none that can be read."""
        if at not in self._codes:
            self._codes[at] = self._engine.encode_pictures(np.stack([self.pixels_at(at)]))[0].astype(np.int32)
        return Codes(self._codes[at])

    def size(self, codes: Codes) -> tuple[Text, ...]:
        """How the size of a painting is told, if the model has learnt that."""
        return self._engine.told_size(*codes.grid.shape)

    def pixels_at(self, at: Encoded) -> np.ndarray:
        """Pixels [S, S, 3] uint8 of a picture. UserError if there is none there that can be read."""
        try:
            return self.pixels(at.read())
        except UnidentifiedImageError:
            raise UserError(f"{at}: not a picture that can be read (of no format that is known)") from None
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises on broken files of one format or other
            raise UserError(f"{at}: not a picture that can be read ({error})") from None

    def pixels(self, encoded: bytes, formats: tuple[str, ...] | None = None) -> np.ndarray:
        """The bytes of a picture file as pixels [S, S, 3] uint8. formats: of Pillow, that are read; None for all."""
        with Image.open(io.BytesIO(encoded), formats=formats) as opened:
            chosen = self._rules if opened.has_transparency_data else ImageRules()
            return np.asarray(fit(opened, self._engine.picture_size, chosen))
