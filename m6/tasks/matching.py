"""Image-text matching: which of some texts fits a picture, by the ratio of likelihoods.

A text fits as far as the picture makes it likelier: log p(text | picture) - log p(text). The second term takes away
what makes a text likely by itself, its length and the frequency of its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m6.data.sample import Branch, Sample, Segment, Text
from m6.tasks.metrics import mean

Losses = Callable[[Sequence[Sample]], np.ndarray]
"""Samples -> the sum of the losses of each, nats."""


def sample(picture: Segment | None, text: Text) -> Sample:
    """The text as target, after the picture or after nothing."""
    return Sample("matching", (picture,) if picture else (), (Branch("captioning", (), text),))


def decode(losses: Losses, pictures: Sequence[Segment], texts: Sequence[Sequence[Text]]) -> np.ndarray:
    """Which text fits each picture best: indices [N]. Every picture has the same number of texts."""
    number = len(texts[0])
    flat = [text for choice in texts for text in choice]
    seeing = losses([sample(picture, text) for picture, choice in zip(pictures, texts, strict=True) for text in choice])
    unique = list(dict.fromkeys(flat))
    blind = dict(zip(unique, losses([sample(None, text) for text in unique]), strict=True))
    gain = np.array([blind[text] for text in flat]) - seeing
    return np.asarray(gain.reshape(-1, number).argmax(1))


def score(chosen: Sequence[int], true: Sequence[int]) -> dict[str, float]:
    """Share of right choices."""
    return {"accuracy": mean(ours == theirs for ours, theirs in zip(chosen, true, strict=True))}
