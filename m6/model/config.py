"""Size of the transformer. Free of torch, so that recipes and help stay light."""

from typing import Literal, Self

from pydantic import model_validator

from m6.config import Config


class ModelConfig(Config):
    """One transformer for text and pictures (paper section 3)."""

    num_layers: int = 4
    """Transformer blocks."""
    hidden_size: int = 192
    """Width of the residual stream."""
    num_heads: int = 4
    """Attention heads; hidden_size must be a multiple."""
    ffn_size: int = 768
    """Inner width of the feed-forward layers; the paper's sizes use 4 x hidden_size."""
    patch_size: int = 8
    """Side of a picture patch, pixels."""
    stem: Literal["backbone", "convolutional", "linear"] = "linear"
    """How pixels become patches: frozen features of a trained network, convolutions (patch_size must
    be 4, 8, 16, ...), or one projection."""
    backbone_channels: int = 128
    """Width of the features that the backbone gives; its patches must be of patch_size."""
    max_side: int = 64
    """Rows and columns of a picture, patches or codes, at the most."""
    rope_base: float = 10_000.0
    """Base of the rotary wavelengths of text; pictures use a shorter one, see `attention.rotary`."""
    init_std: float = 0.02
    """Standard deviation of the initial weights."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if (self.hidden_size // self.num_heads) % 2:
            raise ValueError(f"head size {self.hidden_size // self.num_heads} must be even for rotary positions")
        if self.stem == "convolutional" and (self.patch_size < 4 or self.patch_size.bit_count() != 1):
            raise ValueError(f"patch_size {self.patch_size} must be 4, 8, 16, ... for a convolutional stem")
        return self
