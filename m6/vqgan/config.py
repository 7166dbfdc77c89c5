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


class ResnetConfig(Config):
    """What an image tokenizer of kind "resnet" needs beside widths and blocks."""

    groups: Count = 32
    """Groups of its norms; every width is a multiple of it."""
    attention: bool = False
    """Attention behind every block of the lowest resolution."""
    middle_attention: bool = True
    """Attention between the two blocks in the middle, at the lowest resolution."""
    latent_channels: Count = 256
    """Width between the last convolution of the encoder, or the first of the decoder, and the codes."""


class VQGANConfig(Config):
    """Convolutional encoder and decoder around a quantizer."""

    kind: Literal["narrow", "resnet"] = "narrow"
    """narrow: a code sees its own patch and little more, so that a thing has the same codes wherever it lies; resnet:
    the published VQGANs, whose codes see the whole picture."""
    channels: tuple[Count, ...] = Field((32, 64, 128), min_length=1)
    """Width at each resolution; narrow: from half of the picture's side downwards, so that its length n fixes the
    downsampling 2^n; resnet: from the picture's own side downwards, downsampling 2^(n - 1)."""
    encoder_blocks: Whole = 1
    """Residual blocks of the encoder at each resolution."""
    decoder_blocks: Whole = 2
    """Residual blocks of the decoder at each resolution."""
    quantizer: QuantizerConfig = QuantizerConfig()
    """What makes codes of its features."""

    resnet: ResnetConfig = ResnetConfig()
    """For kind "resnet"."""

    @model_validator(mode="after")
    def _widths_make_groups(self) -> Self:
        for width in self.channels if self.kind == "resnet" else ():
            if width % self.resnet.groups:
                raise ValueError(f"channels: {width} is not a multiple of resnet.groups {self.resnet.groups}")
        if self.kind == "resnet" and not (self.encoder_blocks and self.decoder_blocks):
            raise ValueError("encoder_blocks and decoder_blocks: kind 'resnet' needs one at least")
        return self

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
        return 2 ** (len(self.channels) - (self.kind == "resnet"))


class LossConfig(Config):
    """What it is trained for: weights of the parts of its loss."""

    l2: NotNegative = 1.0
    """Of the squared error of pixels in -1 to 1."""
    l1: NotNegative = 0.1
    """Of the absolute error: keeps edges crisp at no cost in PSNR."""
    perceptual: NotNegative = 0.0
    """Of the distance of features; asks for some (`features`)."""
    discriminator: NotNegative = 0.0
    """Of the discriminator's part, beside its adaptive weight; 0 trains none."""
    discriminator_start: Whole = 0
    """Updates before the discriminator joins."""
    discriminator_channels: Count = 64
    """Its width after the first convolution."""
    discriminator_layers: Count = 3
    """Its convolutions after the first, each but the last of stride 2; more see larger patches."""

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        if not self.l2 + self.l1 + self.perceptual:
            raise ValueError("l2, l1 and perceptual are all 0: nothing would hold a restored picture near its original")
        return self


class FeaturesConfig(Config):
    """Features of pictures, for the perceptual loss and the FID-style distance."""

    source: Literal["none", "own", "folder"] = "none"
    """none; own: a small network taught on the pictures of the corpus, first of all; folder: a vision model."""
    folder: str = ""
    """folder: a vision model as Hugging Face saves it; needs the extra "vision"."""
    num_steps: Count = 300
    """own: updates that it is taught for."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """own: pictures of an update, which it has to tell apart."""

    @model_validator(mode="after")
    def _a_folder_is_named(self) -> Self:
        if (self.source == "folder") != bool(self.folder):
            raise ValueError(f"source {self.source!r} and folder {self.folder!r} do not go together")
        return self
