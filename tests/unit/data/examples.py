"""Samples of every kind, made of the bundled pictures and poems, for the tests of packing and of the model."""

import io
from functools import cache

import numpy as np
from PIL import Image

from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.data.sample import Branch, Codes, Picture, Sample, Text
from m6.tokenizer.vocabulary import MASK, MATCH, Vocabulary

VOCABULARY = Vocabulary(text_size=500, num_codes=100)


@cache
def picture(index: int, side: int = 16) -> np.ndarray:
    """A bundled picture, small, on white: [side, side, 3] uint8."""
    encoded = emoji_pictures()[emoji_rows()[index]["file"]]
    opened = Image.open(io.BytesIO(encoded)).convert("RGBA")
    ground = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened)
    return np.asarray(ground.convert("RGB").resize((side, side)))


def mixed_samples() -> list[Sample]:
    """Text alone, a picture shared by three branches, codes as target and as prefix; lengths differ."""
    rng = np.random.default_rng(0)

    def text(length: int) -> Text:
        return Text(tuple(rng.integers(300, 500, length).tolist()))

    grid = rng.integers(0, 100, (3, 3))
    return [
        Sample("poem", (), (Branch("poem", (text(4),), text(20), 0.3),)),
        Sample("language", (), (Branch("language_modelling", (), text(11)),)),
        Sample(
            "shared",
            (Picture(picture(3)),),
            (
                Branch("captioning", (), text(6)),
                Branch("image_denoising", (Text((301, MASK, 303)),), text(5), 0.5),
                Branch("matching", (Text((310, 311, MATCH)),), Text((320,)), 0.5),
            ),
        ),
        Sample("painting", (), (Branch("text_to_image", (text(5),), Codes(grid)),)),
        Sample("codes", (Codes(grid),), (Branch("captioning", (), text(3)),)),
        Sample("empty prompt", (), (Branch("text_to_image", (), Codes(grid[:2])),)),
    ]
