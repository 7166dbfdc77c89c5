"""Paintings under measurement: python -m benchmarks.paint FILE HOW

FILE is one of `write`. HOW is "cached", our engine, or "naive", the whole sequence through the model for every code.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.serve import serve
from m6.data.config import DataConfig
from m6.data.packing import pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix
from m6.generate.sampling import Sampling, choose, generators, guide
from m6.model.config import CodeAttentionConfig, ModelConfig
from m6.model.masks import build_mask
from m6.model.sparse import FULL
from m6.model.transformer import Transformer
from m6.tokenizer.vocabulary import Vocabulary

VOCABULARY = Vocabulary(text_size=2_600, num_codes=1_000)
PROMPT = 12  # tokens


@dataclass
class Asked:
    """A model, and what it is to paint."""

    engine: Engine
    prefixes: list[Prefix]
    side: int
    guidance: float
    temperature: float


def model(codes: CodeAttentionConfig = FULL, smoke: bool = False) -> Transformer:
    """Of the size of the quickstart, with weights drawn by chance."""
    torch.manual_seed(0)
    size = ModelConfig(num_layers=2 if smoke else 4, hidden_size=64 if smoke else 192, ffn_size=256 if smoke else 768)
    return Transformer(size.model_copy(update={"code_attention": codes}), VOCABULARY.size)


def engine(made: Transformer) -> Engine:
    """One that paints codes and nothing else."""
    nothing: Any = None
    return Engine(made, VOCABULARY, nothing, None, DataConfig(), 64)


def write(path: Path, made: Transformer, count: int, side: int, guidance: float, temperature: float = 1.0) -> None:
    """The file that programs under measurement read."""
    about = {"count": count, "side": side, "guidance": guidance, "temperature": temperature}
    torch.save({"model": made, **about}, path)


def read(path: Path) -> Asked:
    """What was written."""
    torch.set_flush_denormal(True)
    found: dict[str, Any] = torch.load(path, weights_only=False)
    rng = np.random.default_rng(0)
    prefixes: list[Prefix] = [(Text(tuple(rng.integers(300, 2_000, PROMPT).tolist())),) for _ in range(found["count"])]
    return Asked(engine(found["model"]), prefixes, found["side"], found["guidance"], found["temperature"])


def cached(asked: Asked) -> np.ndarray:
    """Codes [B, h, w], by the engine."""
    sampling = Sampling(temperature=asked.temperature)
    return asked.engine.paint(asked.prefixes, asked.side, asked.side, sampling, asked.guidance)


@torch.inference_mode()
def naive(asked: Asked) -> np.ndarray:
    """The same, by a plain loop without a cache. Prefixes of both halves apart, since their lengths differ."""
    engine, sampling = asked.engine, Sampling(temperature=asked.temperature)
    count, cells = len(asked.prefixes), asked.side**2
    draws = generators(0, count)
    painted = np.zeros((count, cells), np.int64)
    batches = []
    for prefixes in (asked.prefixes, [()] * count):
        target = Codes(np.zeros((asked.side, asked.side), np.int64))
        samples = [Sample("", (), (Branch("x", prefix, target),)) for prefix in prefixes]
        batches.append(pack(samples, VOCABULARY, 8, 0))
    for place in range(cells):
        halves = []
        for batch in batches:
            start = batch.ids.shape[1] - cells  # the start mark stands here
            if place:
                batch.ids[:, start + place] = torch.from_numpy(painted[:, place - 1]) + VOCABULARY.text_size
            seen = slice(0, start + place + 1)
            mask = build_mask(batch.sample[:, seen], batch.branch[:, seen], batch.causal[:, seen])
            hidden = engine.model(batch.ids[:, seen], batch.position[:, seen], mask)[:, -1]
            halves.append(engine.code_logits(hidden))
        painted[:, place] = choose(guide(halves[0], halves[1], asked.guidance), sampling, draws).numpy()
    return painted.reshape(count, asked.side, asked.side)


def main(path: str, how: str) -> None:
    """Serve."""
    asked = read(Path(path))
    paint = {"cached": cached, "naive": naive}[how]
    serve(lambda: len(paint(asked)))


if __name__ == "__main__":
    main(*sys.argv[1:])
