"""How well a text says what a picture shows, by a trained run: for choosing what goes into the next corpus.

The score is (log p(text | picture) - log p(text)) / tokens, in nats: how much likelier the picture makes a token of the
text. It is 0 where the picture says nothing about the text; what makes a text likely by itself does not count.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from m6.corpus.config import ImageRules
from m6.corpus.images.prepare import fit
from m6.data.sample import Branch, Sample, Segment, Text
from m6.generate.engine import Engine


class Matcher:
    """Scores pictures and texts with the model of a run folder. UserError if the run is not trained to its end."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine.load(folder)

    def __call__(self, pairs: list[tuple[bytes, str]]) -> list[float]:
        """The score of each encoded picture with its text, nats a token; a text is read as far as the model can."""
        if not pairs:
            return []
        texts = [self._text(text) for _, text in pairs]
        seeing = self.engine.losses(
            [_sample((self._picture(data),), text) for (data, _), text in zip(pairs, texts, strict=True)]
        )
        blind = self.engine.losses([_sample((), text) for text in texts])
        lengths = np.array([max(len(text.ids), 1) for text in texts])
        return [float(score) for score in (blind - seeing) / lengths]

    def _text(self, text: str) -> Text:
        return Text(tuple(self.engine.tokenizer.encode(text)[: self.engine.data.max_text]))

    def _picture(self, data: bytes) -> Segment:
        with Image.open(io.BytesIO(data)) as opened:
            return self.engine.picture(np.asarray(fit(opened, self.engine.picture_size, ImageRules())))


def _sample(prefix: tuple[Segment, ...], text: Text) -> Sample:
    return Sample("match", prefix, (Branch("captioning", (), text),))
