"""`M6Config`: what `config.json` of a Hugging Face folder holds. The size of the model stands in it as in a recipe."""

from typing import Any

from transformers import PreTrainedConfig

from m6.model.config import ModelConfig
from m6.tokenizer.vocabulary import END, IMAGE, PAD, TEXT
from m6.vqgan.config import VQGANConfig


class M6Config(PreTrainedConfig):
    """Sections of a recipe, unchanged, under the names that they have there, and what else the model has to know.

    transformer: the section `model`. vqgan: the section `vqgan.model`, of which the stem "backbone" takes its layout.
    vocab_size: text entries, which is what the model writes here. num_codes: image codes, whose embeddings stand behind
    those of the text in the weights. image_size: side of a picture, pixels.
    """

    model_type = "m6"
    keys_to_ignore_at_inference = ["past_key_values"]

    transformer: dict[str, Any] | None = None
    vqgan: dict[str, Any] | None = None
    vocab_size: int = 6000
    num_codes: int = 0
    image_size: int = 64
    image_token_id: int = IMAGE
    bos_token_id: int | None = TEXT
    eos_token_id: int | list[int] | None = END
    pad_token_id: int | None = PAD
    tie_word_embeddings: bool = True
    use_cache: bool = True

    @property
    def model(self) -> ModelConfig:
        """The size, checked. UserError for one that makes no sense."""
        return ModelConfig(**(self.transformer or {}))

    @property
    def image_tokenizer(self) -> VQGANConfig:
        """Of the stem "backbone"."""
        return VQGANConfig(**(self.vqgan or {}))

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of tokens that a picture becomes."""
        return self.model.patch_grid(self.image_size, self.image_size)

    # What libraries around transformers ask of a config.
    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self.model.hidden_size

    @property
    def num_hidden_layers(self) -> int:
        """Transformer blocks."""
        return self.model.num_layers

    @property
    def num_attention_heads(self) -> int:
        """Attention heads."""
        return self.model.num_heads

    @property
    def intermediate_size(self) -> int:
        """Inner width of the feed-forward layers."""
        return self.model.ffn_size
