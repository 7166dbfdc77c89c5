"""Shape of the image tokenizer. Free of torch, so that recipes and help stay light."""

from math import prod
from typing import Annotated

from pydantic import Field

from m6.config import Config, Count, Whole


class VQGANConfig(Config):
    """Convolutional encoder and decoder around finite scalar quantisation."""

    channels: tuple[Count, ...] = Field((32, 64, 128), min_length=1)
    """Width at each resolution, from half of the picture's side downwards; its length fixes the downsampling 2^n."""
    encoder_blocks: Whole = 1
    """Residual blocks of the encoder at each resolution."""
    decoder_blocks: Whole = 2
    """Residual blocks of the decoder at each resolution."""
    levels: tuple[Annotated[int, Field(ge=2)], ...] = Field((8, 5, 5, 5), min_length=1)
    """Quantisation levels of each latent channel; their product is the number of codes."""

    @property
    def num_codes(self) -> int:
        return prod(self.levels)

    @property
    def downsample(self) -> int:
        """Pixels of a picture's side to one code."""
        return 2 ** len(self.channels)
