"""A small engine with weights drawn by chance, that reads pixels and paints."""

from __future__ import annotations

from functools import cache
from itertools import takewhile

import torch

from m6.data.config import DataConfig
from m6.data.packing import pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix
from m6.model.config import CodeAttentionConfig, ModelConfig
from m6.model.masks import boolean_mask
from m6.model.sparse import FULL
from m6.model.transformer import Transformer
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import Vocabulary
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN
from tests.unit.small_corpus import documents, tokenizer

WINDOW = CodeAttentionConfig(pattern="window", rows=2, columns=1)


@cache
def _tokenizer() -> TextTokenizer:
    return tokenizer(documents())


def small_engine(codes: CodeAttentionConfig = FULL, tell_size: bool = False, coarse: bool = False) -> Engine:
    """Of 8 pixels a code, trained on pictures of 16. coarse: paints over small pictures."""
    torch.manual_seed(0)
    text, shape = _tokenizer(), VQGANConfig(channels=(8, 8, 16))
    vocabulary = Vocabulary(text.size, shape.num_codes)
    size = ModelConfig(
        num_layers=2,
        hidden_size=64,
        num_heads=2,
        ffn_size=128,
        init_std=0.2,
        code_attention=codes,
        coarse_codes=coarse,
    )
    data = DataConfig(image_input="pixels", tell_size=tell_size)
    return Engine(Transformer(size, vocabulary.size), vocabulary, text, VQGAN(shape), data, picture_size=16)


def as_trained(prefix: Prefix, target: Text | Codes) -> Sample:
    """The sample that a request stands for: pictures at its start are what branches share."""
    shared = tuple(takewhile(lambda segment: not isinstance(segment, Text), prefix))
    return Sample("", shared, (Branch("x", prefix[len(shared) :], target),))


def next_logits(engine: Engine, prefix: Prefix, target: Text | Codes) -> torch.Tensor:
    """Logits at every place of the target, by one uncached forward pass over the packed sample."""
    batch = pack([as_trained(prefix, target)], engine.vocabulary, 8, 0)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal, batch.position, engine.model.config.code_attention)
    with torch.inference_mode():
        hidden = engine.model(
            batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at, coarse=batch.coarse
        )
        return engine.model.logits(hidden)
