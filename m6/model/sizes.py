"""The M6 family: every size by name, with what is known of each of its numbers. Free of torch.

    model = SIZES["tiny"].model                                   # in a recipe
    model = SIZES["base"].model.override({"stem": "backbone"})    # with something changed

Sizes of the papers (M6, arXiv 2103.00823, section 4; M6-T, arXiv 2105.15082) keep the marks of their numbers: no public
copy of the M6 paper shows its tables. Our blocks are not the paper's to the letter: positions are rotary (no table of
learned ones), products have no biases, and pictures come in as patches of pixels, where the paper projects features of
a ResNet-50. That makes less than one percent of the parameters (`layout_parameters`). Image codes come on top of the
vocabulary given here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.flops import parameters

Mark: TypeAlias = Literal["confirmed", "recalled", "derived", "ours"]
MARKS: dict[Mark, str] = {
    "confirmed": "read in a public source about the paper",
    "recalled": "from memory of the paper, not checked against the print",
    "derived": "follows from the count of parameters that the paper gives",
    "ours": "chosen here",
}
PAPER_VOCABULARY = 21_128
"""Vocabulary of Chinese BERT, which the authors' later baselines use (confirmed); with it M6-base counts 327M."""


@dataclass(frozen=True)
class Size:
    """One size. `marks` are those of its numbers, by the names that `m6 show` has for them: fields of ModelConfig,
    `vocabulary` and `parameters`. What is not named is ours."""

    about: str
    model: ModelConfig
    vocab_size: int = PAPER_VOCABULARY
    marks: Mapping[str, Mark] = field(default_factory=dict)
    paper_parameters: str = ""
    """The count of the paper, rounded as it rounds it."""


_LAYOUT: dict[str, Mark] = {"num_layers": "recalled", "hidden_size": "recalled", "num_heads": "recalled"}
_M6: dict[str, Mark] = {**_LAYOUT, "vocabulary": "derived"}
_M6_T: dict[str, Mark] = {**_M6, "ffn_size": "recalled", "experts.num_experts": "recalled"}
_M6_T |= {"experts.ffn_size": "recalled", "experts.every": "derived", "parameters": "recalled"}


def _narrow(num_layers: int, experts: ExpertsConfig, ffn_size: int = 4096) -> ModelConfig:
    """The width that M6-base shares with all models of experts."""
    return ModelConfig(
        num_layers=num_layers, hidden_size=1024, num_heads=16, ffn_size=ffn_size, experts=experts, patch_size=16
    )


def _m6_t(num_layers: int, num_experts: int, ffn_size: int = 4096) -> ModelConfig:
    return _narrow(num_layers, ExpertsConfig(num_experts=num_experts), ffn_size)


SIZES = {
    "nano": Size(
        "a laptop's, of the quickstart",
        ModelConfig(num_layers=4, hidden_size=192, num_heads=4, ffn_size=768),
        vocab_size=2_600,
    ),
    "tiny": Size(
        "a laptop's, larger",
        ModelConfig(num_layers=6, hidden_size=256, num_heads=8, ffn_size=1024),
        vocab_size=6_000,
    ),
    "base": Size(
        "M6-base",
        _narrow(24, ExpertsConfig()),
        marks={**_M6, "ffn_size": "derived", "parameters": "recalled"},
        paper_parameters="327M",
    ),
    "10b": Size(
        "M6-10B",
        ModelConfig(num_layers=50, hidden_size=4096, num_heads=128, ffn_size=16_384, patch_size=16),
        marks={**_M6, "ffn_size": "derived", "parameters": "confirmed"},
        paper_parameters="10B",
    ),
    # Of the layouts that count 103B (2,048 wide experts in every layer; 4,096 wide ones in every second; 512 experts in
    # every layer) the one with half the exchanges between devices, and with wide products, which keep a device busier.
    "100b": Size(
        "M6-100B",
        _narrow(24, ExpertsConfig(num_experts=1024, every=2)),
        marks={**_M6, "experts.num_experts": "recalled", "parameters": "confirmed"},
        paper_parameters="100B",
    ),
    "m6t-1.4b": Size("M6-T base", _m6_t(5, 32), marks=_M6_T, paper_parameters="1.4B"),
    "m6t-10b": Size("M6-T 10B", _m6_t(10, 128), marks=_M6_T, paper_parameters="10.8B"),
    "m6t-100b": Size("M6-T 100B", _m6_t(24, 512), marks=_M6_T, paper_parameters="103.2B"),
    "m6t-1t": Size("M6-T 1T", _m6_t(24, 960, 21_248), marks=_M6_T, paper_parameters="1,002.7B"),
}
"""By name, small to large within a family."""


def layout_parameters(size: Size) -> int:
    """What the layout of a paper's size comes to in the paper's blocks, as far as they are known: with biases of dense
    products and norms, 512 learned positions, and a projection of 2,048 picture features."""
    model = size.model
    ours = parameters(model, size.vocab_size)
    dense_layers = sum(not model.has_experts(layer) for layer in range(model.num_layers))
    biases = (
        model.num_layers * 4 * model.hidden_size  # attention
        + dense_layers * (model.ffn_size + model.hidden_size)
        + ours["norms"]
    )
    return (
        sum(ours.values())
        - ours["vision"]
        - 2 * (model.max_side + 1) * model.hidden_size
        + (512 + 2048) * model.hidden_size
        + biases
    )
