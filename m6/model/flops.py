"""What a model of a config costs, by part: parameters, FLOPs, bytes of training. Free of torch, so that it is told at
once and for models that no machine at hand could hold; tests hold it against models on the meta device and against the
FLOPs that PyTorch counts.

A FLOP is a multiplication or an addition of a matrix product: two for each weight that a token meets. Norms,
activations, positions and the softmax are left out, as everywhere (PaLM, arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from m6.model.config import ModelConfig
from m6.model.vision_folder import VisionFolder

TRAINING = 3
"""FLOPs of a training step over those of its forward: the way back has two products for each one of the way there.
Recomputing activations does not count as work."""
TRAINING_BYTES = {"weights": 4, "gradients": 4, "optimizer": 8}
"""Of a parameter in training: float32 weights and gradients, and the two moments of AdamW. Muon keeps one."""


def parameters(config: ModelConfig, vocab_size: int, *, active: bool = False) -> dict[str, int]:
    """Trained parameters by part, but for those of a backbone, which comes from elsewhere. The output shares the
    weights of the embedding, which also has rows, columns and the projection of coarse codes. With `active`, of experts
    those that one token meets."""
    width, layers, experts = config.hidden_size, config.num_layers, config.experts
    sparse = sum(map(config.has_experts, range(layers)))
    held = experts_per_token(config) if active else experts.num_experts
    return {
        "embedding": (vocab_size + 2 * (config.max_side + 1) + config.coarse_codes * width) * width,
        "attention": layers * 4 * width**2,
        "feed-forward": (layers - sparse) * 2 * width * config.ffn_size,
        "experts": sparse * held * 2 * width * config.expert_ffn_size,
        "router": sparse * experts.num_experts * width,
        "norms": (2 * layers + 1) * width,
        "vision": _stem_parameters(config),
    }


def experts_per_token(config: ModelConfig) -> int:
    """Experts that a token passes in a layer that has them."""
    return config.experts.prototypes * config.experts.top_k


def forward_flops(
    config: ModelConfig, vocab_size: int, *, tokens: int, labels: int, pairs: float, patches: int = 0
) -> dict[str, float]:
    """FLOPs of a forward by part. `pairs` of a query and a key are compared in each layer; the last feed-forward and
    the output are for `labels` alone; `patches` of the tokens are made of pictures. A backbone is not counted."""
    width = config.hidden_size
    places = dict.fromkeys(range(config.num_layers), tokens) | {config.num_layers - 1: labels}
    through_experts = sum(count for layer, count in places.items() if config.has_experts(layer))
    through_ffn = sum(places.values()) - through_experts
    return {
        "attention": 2.0 * config.num_layers * tokens * 4 * width**2,
        "attention scores": 2.0 * config.num_layers * pairs * 2 * width,
        "feed-forward": 2.0 * through_ffn * 2 * width * config.ffn_size,
        "experts": 2.0 * through_experts * experts_per_token(config) * 2 * width * config.expert_ffn_size,
        "router": 2.0 * through_experts * config.experts.num_experts * width,
        "output": 2.0 * labels * width * vocab_size,
        "vision": patches * patch_flops(config),
    }


def flops_per_token(config: ModelConfig, vocab_size: int, length: int, *, causal: bool) -> dict[str, float]:
    """FLOPs of a forward by part for each token of a text of `length` tokens, all of them labels. With `causal` a token
    meets itself and those before it, about half of the square that is counted without."""
    pairs = length * (length + 1) / 2 if causal else float(length**2)
    total = forward_flops(config, vocab_size, tokens=length, labels=length, pairs=pairs)
    return {part: flops / length for part, flops in total.items()}


def patch_flops(config: ModelConfig) -> float:
    """FLOPs that make a vector of one patch of a picture; from there on it is a token as any other."""
    if config.stem != "convolutional":
        return 2.0 * _stem_parameters(config)
    stages = enumerate(_convolutions(config), start=1)
    return 2.0 * sum(weights * (config.patch_size >> halvings) ** 2 for halvings, (weights, _) in stages)


def _stem_parameters(config: ModelConfig) -> int:
    if config.stem == "backbone":
        return config.backbone_channels * config.hidden_size
    if config.stem == "crops":
        return _feature_width(config.crops.folder) * config.hidden_size
    if config.stem == "convolutional":
        return sum(weights + 2 * normalised for weights, normalised in _convolutions(config))
    return 3 * config.patch_size**2 * config.hidden_size


@cache  # every batch asks for it
def _feature_width(folder: str) -> int:
    return VisionFolder.read(folder).width


def _convolutions(config: ModelConfig) -> list[tuple[int, int]]:
    """Weights of each convolution, each of which halves the sides, and channels of the norm behind it."""
    halvings = config.patch_size.bit_length() - 1
    widths = [12, *(config.hidden_size >> (halvings - 1 - stage) for stage in range(halvings))]
    return [
        (9 * narrow * wide, wide if stage < halvings - 1 else 0)
        for stage, (narrow, wide) in enumerate(pairwise(widths))
    ]
