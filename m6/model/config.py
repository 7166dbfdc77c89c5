"""Size of the transformer. Free of torch, so that recipes and help stay light."""

from typing import Literal, Self

from pydantic import model_validator

from m6.config import Config


class ExpertsConfig(Config):
    """Mixture of experts in place of feed-forward layers (paper section 4); one expert is a dense layer."""

    num_experts: int = 1
    """Experts of a layer, over all prototypes; 1 makes every layer dense."""
    top_k: int = 1
    """Experts that a token is sent to, by each prototype."""
    prototypes: int = 1
    """Groups into which the experts are divided; each has a router of its own (M6-T, arXiv 2105.15082)."""
    every: int = 1
    """Layers from one with experts to the next: with 2, every second layer has them, the last one included."""
    ffn_size: int = 0
    """Inner width of an expert; 0 takes that of the dense layers."""
    capacity_factor: float = 0.0
    """Tokens that an expert takes at the most, as a multiple of its even share; what comes later passes by on the
    residual path. 0 drops nothing, and outside of training nothing is dropped."""
    balance: Literal["loss", "bias", "none"] = "loss"
    """How the load is kept even: by an auxiliary loss, by a bias on the choice that follows the load, or not."""
    balance_weight: float = 0.01
    """Weight of the auxiliary loss; with "bias", the step of the bias at each update."""
    z_weight: float = 0.001
    """Weight of the router's z-loss, which keeps its logits small (ST-MoE, arXiv 2202.08906)."""
    kernel: Literal["auto", "grouped", "loop"] = "auto"
    """How experts are computed: one grouped product, or one expert after the other; "auto" takes the first where it
    works."""

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if self.num_experts % self.prototypes:
            raise ValueError(f"num_experts {self.num_experts} is not a multiple of prototypes {self.prototypes}")
        if self.top_k > self.num_experts // self.prototypes:
            raise ValueError(
                f"top_k {self.top_k} exceeds the {self.num_experts // self.prototypes} experts of a prototype"
            )
        return self


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
    experts: ExpertsConfig = ExpertsConfig()
    """Mixture of experts; none by default."""
    patch_size: int = 8
    """Side of a picture patch, pixels."""
    stem: Literal["backbone", "convolutional", "crops", "linear"] = "linear"
    """How pixels become patches: frozen features of the image tokenizer's encoder; convolutions (patch_size must be 4,
    8, 16, ...); a feature of each crop of patch_size pixels by a vision model of your own; or one projection."""
    backbone_channels: int = 128
    """Width of the features that the backbone gives; those of the image tokenizer must be of patch_size."""
    backbone_folder: str = ""
    """For stem "crops": the folder of a vision model as Hugging Face writes it, such as a ResNet-50's."""
    backbone_frozen: bool = True
    """For stem "crops": whether that model stays as it is, or learns along."""
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
        if self.stem == "crops" and not self.backbone_folder:
            raise ValueError("stem 'crops' needs backbone_folder, the folder of a vision model")
        return self

    @property
    def expert_ffn_size(self) -> int:
        """Inner width of an expert."""
        return self.experts.ffn_size or self.ffn_size

    def has_experts(self, layer: int) -> bool:
        """Whether the layer of that index, counted from 0, has experts in the place of its feed-forward."""
        return self.experts.num_experts > 1 and (layer + 1) % self.experts.every == 0
