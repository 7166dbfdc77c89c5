"""How much work a batch is: real tokens by modality, places of the rows, and the FLOPs of a step on it.

FLOPs are those that the model asks for, whatever computes them: 2 for each multiplication of a matrix product, forward
once and backward twice. Attention is counted by the pairs that the mask allows, which for plain text is the half of a
square ("causal halved"), and once more by the whole square of every row, as some do. Norms, activations and positions
are left out, as everywhere (PaLM, arXiv 2204.02311, appendix B). Recomputing activations does not count as work.
"""

from __future__ import annotations

import numpy as np

from m6.data.packing import Batch
from m6.model.config import ModelConfig
from m6.tokenizer.vocabulary import Vocabulary

BACKWARD = 2  # products of the way back for one of the way forward


def batch_counts(batch: Batch, model: ModelConfig, vocabulary: Vocabulary) -> dict[str, float]:
    """What a batch, still on the CPU, adds to the counts of a step: tokens in all and by modality, places with padding,
    FLOPs by allowed pairs and by whole squares."""
    rows, length = batch.ids.shape
    tokens, patches = batch.num_tokens, len(batch.patch_at)
    codes = int((batch.ids >= vocabulary.text_size).sum())
    work = {"tokens": tokens, "patches": patches, "labels": len(batch.labels)}
    return {
        "tokens": tokens,
        "tokens/text": tokens - patches - codes,
        "tokens/image_patches": patches,
        "tokens/image_codes": codes,
        "places": rows * length,
        "flops": step_flops(model, vocabulary.size, pairs=allowed_pairs(batch), **work),
        "flops_square": step_flops(model, vocabulary.size, pairs=rows * length**2, **work),
    }


def step_flops(model: ModelConfig, vocab_size: int, *, tokens: int, patches: int, labels: int, pairs: int) -> float:
    """FLOPs of a step, forward and backward. `pairs` of a query and a key are allowed; the last feed-forward layer and
    the output are computed for `labels` alone. A backbone is not counted: it is frozen, and no part of this model."""
    width, layers = model.hidden_size, model.num_layers
    attention = layers * (4 * tokens * width**2 + 2 * pairs * width)
    feed_forward = sum(
        _ffn_width(model, layer) * (labels if layer == layers - 1 else tokens) for layer in range(layers)
    )
    stem = patches * width * (model.backbone_channels if model.stem == "backbone" else 3 * model.patch_size**2)
    multiplications = attention + 2 * width * feed_forward + stem + labels * width * vocab_size
    return float(2 * (1 + BACKWARD) * multiplications)


def _ffn_width(model: ModelConfig, layer: int) -> int:
    """Inner width that one token passes in the feed-forward part of a layer."""
    experts = model.experts
    if experts.num_experts == 1 or (layer + 1) % experts.every:
        return model.ffn_size
    return experts.top_k * experts.prototypes * (experts.ffn_size or model.ffn_size)


def allowed_pairs(batch: Batch) -> int:
    """Pairs of a query and a key that the mask of a batch allows, without making the mask.

    A branch of p prefix and t target tokens behind a shared prefix of s is seen by its own p + t queries: s + p keys
    each, and in the target those that do not come after.
    """
    sample, branch = batch.sample.numpy().astype(np.int64), batch.branch.numpy().astype(np.int64)
    real = sample >= 0
    row = np.broadcast_to(np.arange(len(sample))[:, None], sample.shape)
    owner = (row * (sample.max() + 1) + sample)[real]  # a number for each sample of the batch
    branches = int(branch.max()) + 1
    size = (int(owner.max()) + 1) * branches
    number = owner * branches + branch[real]  # and for each branch of each
    causal = batch.causal.numpy()[real]
    prefix, target = (np.bincount(number[chosen], minlength=size) for chosen in (~causal, causal))
    shared = np.repeat(prefix[::branches], branches)
    shared[::branches] = 0  # the shared prefix sees itself as any prefix does
    pairs = (prefix + target) * (shared + prefix) + target * (target + 1) // 2
    return int(pairs.sum())
