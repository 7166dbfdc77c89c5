"""How much work a batch is: real tokens by modality, places of the rows, and the FLOPs of a step on it.

FLOPs are those of `m6/model/flops.py`, forward once and backward twice. Attention is counted by the pairs that the mask
allows, which for plain text is the half of a square ("causal halved"), and once more by the whole square of every row,
as some do.
"""

from __future__ import annotations

import itertools

import numpy as np

from m6.data.packing import Batch
from m6.model.config import CodeAttentionConfig, ModelConfig
from m6.model.flops import TRAINING, forward_flops
from m6.model.sparse import FULL, pairs
from m6.tokenizer.vocabulary import IMAGE, Vocabulary


def batch_counts(batch: Batch, model: ModelConfig, vocabulary: Vocabulary) -> dict[str, float]:
    """What a batch, still on the CPU, adds to the counts of a step: tokens in all and by modality, places with padding,
    FLOPs by allowed pairs and by whole squares."""
    rows, length = batch.ids.shape
    tokens, patches = batch.num_tokens, len(batch.patch_at)
    codes = int((batch.ids >= vocabulary.text_size).sum())
    work = {"tokens": tokens, "patches": patches, "labels": len(batch.labels)}

    def flops(pairs: int) -> float:
        return TRAINING * sum(forward_flops(model, vocabulary.size, pairs=pairs, **work).values())

    return {
        "tokens": tokens,
        "tokens/text": tokens - patches - codes,
        "tokens/image_patches": patches,
        "tokens/image_codes": codes,
        "places": rows * length,
        "flops": flops(allowed_pairs(batch) - unseen_pairs(batch, model.code_attention)),
        "flops_square": flops(rows * length**2),
    }


def unseen_pairs(batch: Batch, codes: CodeAttentionConfig) -> int:
    """Pairs of a query and a key, both codes of a painted picture, that its sparse rule leaves out."""
    if codes.pattern == "full":
        return 0
    places = batch.position[..., 1:][batch.causal].tolist()  # of pictures one after the other, and of texts at (0, 0)
    begins = (batch.ids[batch.causal] == IMAGE).nonzero()[:, 0].tolist()
    unseen = 0
    for start, end in itertools.pairwise([*begins, len(places)]):
        picture = tuple((row, column) for row, column in places[start:end] if row)
        unseen += pairs(FULL, picture) - pairs(codes, picture)
    return unseen


def allowed_pairs(batch: Batch) -> int:
    """Pairs of a query and a key that the mask of a batch allows, without making the mask.

    A branch of p prefix and t target tokens behind a shared prefix of s is seen by its own p + t queries: s + p keys
    each, and in the target those that do not come after.
    """
    sample, branch = batch.sample.numpy().astype(np.int64), batch.branch.numpy().astype(np.int64)
    real = sample >= 0
    if not real.any():
        return 0
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
