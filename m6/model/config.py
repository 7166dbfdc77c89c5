"""Size of the transformer. Free of torch, so that recipes and help stay light."""

from typing import Literal, Self

from pydantic import Field, model_validator

from m6.config import Config, Count, NotNegative, Positive, UserError, Whole


class ExpertsConfig(Config):
    """Mixture of experts in place of feed-forward layers (paper section 4); one expert is a dense layer."""

    num_experts: Count = 1
    """Experts of a layer, over all prototypes; 1 makes every layer dense."""
    top_k: Count = 1
    """Experts that a token is sent to, by each prototype."""
    prototypes: Count = 1
    """Groups into which the experts are divided; each has a router of its own (M6-T, arXiv 2105.15082)."""
    every: Count = 1
    """Layers from one with experts to the next: with 2, every second layer has them, the last one included."""
    ffn_size: Whole = 0
    """Inner width of an expert; 0 takes that of the dense layers."""
    capacity_factor: NotNegative = 0.0
    """Tokens that an expert takes at the most, as a multiple of its even share; what comes later passes by on the
    residual path. 0 drops nothing, and outside of training nothing is dropped."""
    balance: Literal["loss", "bias", "none"] = "loss"
    """How the load is kept even: by an auxiliary loss, by a bias on the choice that follows the load, or not."""
    balance_weight: NotNegative = 0.01
    """Weight of the auxiliary loss; with "bias", the step of the bias at each update."""
    z_weight: NotNegative = 0.001
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


class CropsConfig(Config):
    """Pictures as a grid of crops, each one feature of a vision model (paper section 3.1)."""

    grid: Count = 4
    """Crops on a side; a picture of any size and shape becomes grid * grid tokens."""
    folder: str = ""
    """Folder of a Hugging Face vision model: config.json, preprocessor_config.json, model.safetensors."""
    frozen: bool = True
    """Keep its weights; if not, AdamW trains them along."""
    learning_rate_share: float = Field(0.01, gt=0, le=1)
    """Rate of these weights, as a share of AdamW's. What is trained already is moved gently: with the default rate of
    3e-3 this is 3e-5, where others have 1e-5 (DETR, arXiv 2005.12872) to 5e-5 (nanoVLM, a hundredth there too)."""


class CodeAttentionConfig(Config):
    """Which codes of the picture that is painted a code attends to; all patterns see the whole prefix. Drawn in
    docs/en/painting.md, the rule is in `m6/model/sparse.py`."""

    pattern: Literal["full", "window", "row_column", "window_strided"] = "full"
    """All codes before; those near it; those of its own row and its own column; or those near it and every n-th one of
    every n-th row."""
    rows: Count = 8
    """Rows above its own that a window reaches."""
    columns: Count = 8
    """Columns to either side that a window reaches."""
    stride: Count = 8
    """Rows, and columns, from one code that "window_strided" sees everywhere to the next."""


class ModelConfig(Config):
    """One transformer for text and pictures (paper section 3)."""

    num_layers: Count = 4
    """Transformer blocks."""
    hidden_size: Count = 192
    """Width of the residual stream."""
    num_heads: Count = 4
    """Attention heads; hidden_size must be a multiple."""
    ffn_size: Count = 768
    """Inner width of the feed-forward layers; the paper's sizes use 4 x hidden_size."""
    experts: ExpertsConfig = ExpertsConfig()
    """Mixture of experts; none by default."""
    patch_size: Count = 8
    """Side of a picture patch, pixels."""
    stem: Literal["backbone", "convolutional", "crops", "linear"] = "linear"
    """How pixels become patches: frozen features of the image tokenizer, convolutions (patch_size must be 4, 8, 16,
    ...), features of crops from a Hugging Face model (see crops), or one projection."""
    backbone_channels: Count = 128
    """Width of the features that the image tokenizer gives; its patches must be of patch_size."""
    crops: CropsConfig = CropsConfig()
    """For the stem "crops", which has them in the place of patches of patch_size."""
    max_side: Count = 64
    """Rows and columns of a picture, patches or codes, at the most."""
    code_attention: CodeAttentionConfig = CodeAttentionConfig()
    """Attention among the codes of a picture that is painted; all of them by default."""
    coarse_codes: bool = False
    """Paints over small pictures: what the small one shows at a cell is added to what the token that asks for the cell
    shows. For coarse_to_fine."""
    rope_base: Positive = 10_000.0
    """Base of the rotary wavelengths of text; pictures use a shorter one, see `attention.rotary`."""
    init_std: Positive = 0.02
    """Standard deviation of the initial weights."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if (self.hidden_size // self.num_heads) % 2:
            raise ValueError(f"head size {self.hidden_size // self.num_heads} must be even for rotary positions")
        if self.stem == "convolutional" and (self.patch_size < 4 or self.patch_size.bit_count() != 1):
            raise ValueError(f"patch_size {self.patch_size} must be 4, 8, 16, ... for a convolutional stem")
        if self.stem == "convolutional" and self.hidden_size % (2 * self.patch_size):  # groups of its first norm
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of {2 * self.patch_size}, which a convolutional "
                f"stem needs for patch_size {self.patch_size}"
            )
        if self.crops.grid > self.max_side:
            raise ValueError(f"crops.grid {self.crops.grid} exceeds max_side {self.max_side}")
        if self.stem == "crops" and not self.crops.folder:
            raise ValueError("stem 'crops' needs crops.folder, the folder of a Hugging Face vision model")
        if self.experts.num_experts > 1 and self.experts.every > self.num_layers:
            raise ValueError(
                f"experts.every {self.experts.every} exceeds num_layers {self.num_layers}: no layer would have experts"
            )
        return self

    @property
    def expert_ffn_size(self) -> int:
        """Inner width of an expert."""
        return self.experts.ffn_size or self.ffn_size

    def has_experts(self, layer: int) -> bool:
        """Whether the layer of that index, counted from 0, has experts in the place of its feed-forward."""
        return self.experts.num_experts > 1 and (layer + 1) % self.experts.every == 0

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens that a picture of height x width pixels becomes. UserError if crops would be
        empty."""
        if self.stem != "crops":
            return height // self.patch_size, width // self.patch_size
        grid = self.crops.grid
        if min(height, width) < grid:
            raise UserError(f"a picture of {height} x {width} pixels cannot be cut into {grid} x {grid} crops")
        return grid, grid
