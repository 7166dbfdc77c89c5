"""The sizes of the M6 family, a row each. Free of torch.

In a recipe: `Recipe(model=SIZES["base"].model, ...)`; fields are changed as those of any config. `m6 show` prints the
table, `m6 show SIZE` what a row comes to.

Rows with the paper's name have the paper's layers and widths. Its other parts differ: positions are rotary, pictures
are patches of pixels, queries and keys are normalised, and there are no biases; so counts differ by less than one
percent. Image codes stand in the same vocabulary as text, and are counted apart, since the number of codes is that of
the image tokenizer and not of the size.

Where the layouts of the paper leave a choice: 103 B with 1,024 experts is an inner width of 4,096 in every second layer
or of 2,048 in every layer. Here it is the first: half as many exchanges between devices, and products twice as wide.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from m6.model.config import ExpertsConfig, ModelConfig

PAPER_VOCABULARY = 21_128
"""Entries of BERT-Chinese, which the team's later baselines use; that M6 itself does is inferred."""

Mark = Literal["confirmed", "recalled", "derived", "ours"]
"""Whether the layout stands in a public source on the paper, is recalled and not checked against the print, follows
from recalled figures, or is of this project."""


class Size(NamedTuple):
    """A row."""

    model: ModelConfig
    vocab_size: int  # text entries, without image codes
    layout: Mark
    name: str = ""  # what the paper calls it
    said: float = 0.0  # parameters, as the paper rounds them; 0 where it has no such model
    said_mark: Mark = "recalled"
    computed: float = 0.0  # parameters that the recalled layout comes to


def _paper(name: str, layers: int, said: float, computed: float, *, hidden: int = 1_024, heads: int = 16,
           ffn: int = 4_096, experts: int = 1, every: int = 1, mark: Mark = "recalled") -> Size:  # fmt: skip
    chosen = ExpertsConfig(num_experts=experts, every=every, capacity_factor=1.25 if experts > 1 else 0.0)
    model = ModelConfig(
        num_layers=layers, hidden_size=hidden, num_heads=heads, ffn_size=ffn, experts=chosen, patch_size=16
    )
    confirmed = name in ("M6-10B", "M6-100B")  # the abstract names them
    return Size(model, PAPER_VOCABULARY, mark, name, said, "confirmed" if confirmed else "recalled", computed)


SIZES: dict[str, Size] = {
    "nano": Size(ModelConfig(num_layers=4, hidden_size=192, num_heads=4, ffn_size=768), 4_096, "ours"),
    "tiny": Size(ModelConfig(num_layers=6, hidden_size=256, num_heads=8, ffn_size=1_024), 8_192, "ours"),
    "base": _paper("M6-base", 24, 327e6, 326.6e6),
    "10b": _paper("M6-10B", 50, 10e9, 10.17e9, hidden=4_096, heads=128, ffn=16_384),
    "100b": _paper("M6-100B", 24, 100e9, 103.2e9, experts=1_024, every=2, mark="derived"),
    "t-1.4b": _paper("M6-T base", 5, 1.4e9, 1.38e9, experts=32),
    "t-10b": _paper("M6-T 10B", 10, 10.8e9, 10.80e9, experts=128),
    "t-100b": _paper("M6-T 100B", 24, 103.2e9, 103.20e9, experts=512),
    "t-1t": _paper("M6-T 1T", 24, 1_002.7e9, 1_002.73e9, ffn=21_248, experts=960),
}
"""By name: two for a laptop, the three of the paper, and those of M6-T (arXiv 2105.15082)."""
