"""How many weights a model has, how many of them a token passes, and what a forward costs. Free of torch.

FLOPs are those that the model asks for, whatever computes them: 2 for each multiplication of a matrix product. Norms,
activations, softmax and rotations are left out, as is common (PaLM, arXiv 2204.02311, appendix B). The way back takes
twice as many as the way there, so a training step takes three times `forward_flops`.
"""

from __future__ import annotations

from itertools import pairwise

from m6.model.config import ModelConfig

TRAINING = 3
"""FLOPs of a training step over those of its forward. Recomputing activations does not count as work."""


def parameters(config: ModelConfig, vocab_size: int, *, active: bool = False) -> dict[str, int]:
    """Weights by part; input and output share the embedding. With `active`, of experts those that one token passes.
    A backbone is not counted: it was trained elsewhere."""
    width, layers, experts = config.hidden_size, config.num_layers, config.experts
    with_experts = sum(map(config.has_experts, range(layers)))
    chosen = experts.top_k * experts.prototypes if active else experts.num_experts
    return {
        "embedding": vocab_size * width,
        "plane positions": 2 * (config.max_side + 1) * width,
        "picture input": _stem(config),
        "attention": layers * 4 * width**2,
        "feed-forward": (layers - with_experts) * 2 * width * config.ffn_size,
        "experts": with_experts * chosen * 2 * width * config.expert_ffn_size,
        "routers": with_experts * experts.num_experts * width,
        "norms": (2 * layers + 1) * width,
    }


def _stem(config: ModelConfig) -> int:
    width = config.hidden_size
    if config.stem in ("backbone", "crops"):
        return config.backbone_channels * width
    if config.stem == "linear":
        return 3 * config.patch_size**2 * width
    halvings = config.patch_size.bit_length() - 1
    widths = [width >> (halvings - 1 - i) for i in range(halvings)]
    convolutions = 9 * (12 * widths[0] + sum(narrow * wide for narrow, wide in pairwise(widths)))
    return convolutions + 2 * sum(widths[:-1])  # a scale and a shift for each channel that is normalised


def forward_flops(
    config: ModelConfig, vocab_size: int, *, tokens: int, pairs: float, patches: int = 0, labels: int | None = None
) -> float:
    """FLOPs of a forward over `tokens`, of which `patches` are patches of pictures, with `pairs` of a query and a key
    to be compared in each layer.

    labels: places that predict something, to which the last feed-forward and the output are confined; None: all.
    A convolutional stem is counted as if it were linear.
    """
    width, layers, experts = config.hidden_size, config.num_layers, config.experts
    labels = tokens if labels is None else labels
    attention = layers * (4 * tokens * width**2 + 2 * pairs * width)
    through = 0.0
    for layer in range(layers):
        places = labels if layer == layers - 1 else tokens
        if config.has_experts(layer):
            inner = experts.top_k * experts.prototypes * config.expert_ffn_size
            through += places * width * (2 * inner + experts.num_experts)  # the router looks at every expert
        else:
            through += places * width * 2 * config.ffn_size
    channels = config.backbone_channels if config.stem in ("backbone", "crops") else 3 * config.patch_size**2
    return 2.0 * (attention + through + patches * width * channels + labels * width * vocab_size)


def causal_pairs(length: int) -> float:
    """Pairs in a text of that many tokens, of which each sees itself and what stands before it."""
    return length * (length + 1) / 2
