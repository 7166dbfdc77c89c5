"""Shape of the image tokenizer, and what it is trained for. Free of torch, so that recipes and help stay light."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from m6.config import Config, Count, Decay, NotNegative, Whole

QuantizerKind = Literal["fsq", "ema_vq", "lfq", "bsq"]


class QuantizerConfig(Config):
    """How features become codes. One field names the kind, and each kind reads its own fields."""

    kind: QuantizerKind = "fsq"
    """fsq rounds each channel; ema_vq takes the nearest of learnt vectors, which are moving averages; lfq takes the
    signs of the channels; bsq takes them on the unit sphere."""
    levels: tuple[Annotated[int, Field(ge=2)], ...] = Field((8, 5, 5, 5), min_length=1)
    """fsq: levels of each channel; their product is the number of codes."""
    codebook_size: Annotated[int, Field(ge=2)] = 1024
    """ema_vq, lfq, bsq: number of codes; for the last two a power of two."""
    code_dim: Count = 8
    """ema_vq: width of the learnt vectors."""
    decay: Decay = 0.99
    """ema_vq: what a learnt vector keeps of itself in an update."""
    revive_below: NotNegative = 1.0
    """ema_vq: a code that is taken less often than this in an update, on the average, is dead, and starts anew at a
    feature of the batch; 0 never does."""
    commitment: NotNegative = 0.25
    """ema_vq, lfq, bsq: weight of the loss that draws features to their codes."""
    entropy: NotNegative = 0.1
    """lfq, bsq: weight of the loss that asks for sure choices and for a code book in even use."""

    @model_validator(mode="after")
    def _signs_make_powers_of_two(self) -> Self:
        if self.kind in ("lfq", "bsq") and self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"codebook_size {self.codebook_size} is no power of two, as {self.kind} needs")
        return self

    @property
    def num_codes(self) -> int:
        return prod(self.levels) if self.kind == "fsq" else self.codebook_size

    @property
    def width(self) -> int:
        """Channels of the features that are quantised."""
        if self.kind == "fsq":
            return len(self.levels)
        return self.code_dim if self.kind == "ema_vq" else self.codebook_size.bit_length() - 1


class VQGANConfig(Config):
    """Convolutional encoder and decoder around a quantizer."""

    channels: tuple[Count, ...] = Field((32, 64, 128), min_length=1)
    """Width at each resolution, from half of the picture's side downwards; its length fixes the downsampling 2^n."""
    encoder_blocks: Whole = 1
    """Residual blocks of the encoder at each resolution."""
    decoder_blocks: Whole = 2
    """Residual blocks of the decoder at each resolution."""
    quantizer: QuantizerConfig = QuantizerConfig()
    """What makes codes of its features."""

    @model_validator(mode="before")
    @classmethod
    def _levels_of_old(cls, values: Any) -> Any:
        """Runs from when there was one quantizer have its levels here."""
        if not isinstance(values, dict) or "levels" not in values:
            return values
        quantizer = values.get("quantizer", {})
        quantizer = quantizer.model_dump() if isinstance(quantizer, Config) else quantizer
        rest = {name: value for name, value in values.items() if name != "levels"}
        return {**rest, "quantizer": {**quantizer, "levels": values["levels"]}}

    @property
    def num_codes(self) -> int:
        return self.quantizer.num_codes

    @property
    def downsample(self) -> int:
        """Pixels of a picture's side to one code."""
        return 2 ** len(self.channels)
