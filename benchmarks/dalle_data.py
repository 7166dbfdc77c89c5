"""The scenes of a run as texts and codes for two models that paint, and the judge of what they paint.

In: a run with a corpus, a tokenizer and image codes; its transformer is not needed. Out: one file of torch for the
programs under measurement, and the shares of paintings that are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from m6.config import UserError
from m6.corpus.config import CorpusConfig, ScenesConfig
from m6.corpus.document import from_row
from m6.data.config import DataConfig
from m6.data.images import CodeStore
from m6.data.pictures import picture_rows
from m6.generate.engine import Engine
from m6.model.config import ModelConfig
from m6.model.weights import load_weights, newest
from m6.run import read_done
from m6.shards import Shards
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import PAD, Vocabulary
from m6.train.config import EvaluateStage, LoopConfig
from m6.train.hardware import matrix_dtype
from m6.train.judge import Expected, Judge, expected_of, train_judge
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

SOURCE = "scenes"


class Material(NamedTuple):
    """What both sides are given, and what should stand on the held-out pictures."""

    data: dict[str, Any]
    wanted: list[Expected]


def material(run: Path, heldout: int, most: int = 0) -> Material:
    """All training scenes, or `most`, and so many held-out ones, by chance. UserError for a run without scenes or
    without image codes."""
    if read_done(run, "vqgan") is None or not (run / "vqgan" / "codes").is_dir():
        raise UserError(f"benchmarks: {run} is no run with image codes; make one with: m6 quickstart paint")
    config, shards, codes = run / "config.json", Shards(run / "corpus"), CodeStore(run / "vqgan" / "codes")
    size = ModelConfig.read(config, section="model")
    tokenizer = TextTokenizer.load(run / "tokenizer" / "tokenizer.json")
    splits: dict[str, list[int]] = {"train": [], "heldout": []}
    for row, (source, split) in enumerate(picture_rows(shards)):
        if source == SOURCE and split in splits:
            splits[split].append(row)
    if not all(splits.values()):
        raise UserError(f"benchmarks: {run} has no scenes of both splits; take a run of the recipe paint")
    draw = np.random.default_rng(0)
    chosen = {
        split: sorted(draw.permutation(rows)[: limit or len(rows)].tolist())
        for (split, rows), limit in zip(splits.items(), (most, heldout), strict=True)
    }
    grids = {split: np.stack([codes[row] for row in rows]) for split, rows in chosen.items()}
    texts = shards.columns(["text"]).column("text").to_pylist()
    encoded = {split: [tokenizer.encode(texts[row]) for row in rows] for split, rows in chosen.items()}
    longest = max(len(ids) for some in encoded.values() for ids in some)
    data: dict[str, Any] = {
        "run": str(run.absolute()), "text_size": tokenizer.size, "side": grids["train"].shape[1],
        "num_codes": VQGANConfig.read(config, section="vqgan.model").num_codes, "layers": size.num_layers,
        "width": size.hidden_size, "heads": size.num_heads, "inner": size.ffn_size,
        "bfloat16": matrix_dtype(LoopConfig.read(config, section="pretrain.loop").precision) == torch.bfloat16,
    }  # fmt: skip
    for split in splits:
        data[f"{split}_texts"] = np.array([[*ids, *[PAD] * (longest - len(ids))] for ids in encoded[split]])
        data[f"{split}_codes"] = grids[split].reshape(len(grids[split]), -1)
    canvas = ScenesConfig.read(config, section=f"corpus.sources.{SOURCE}")
    return Material(data, [expected_of(from_row(shards[row]), canvas.size) for row in chosen["heldout"]])


class Court:
    """The judge that `m6 evaluate` asks, trained in the same way on the same fresh scenes."""

    def __init__(self, run: Path) -> None:
        config = run / "config.json"
        vqgan = VQGAN(VQGANConfig.read(config, section="vqgan.model"))
        load_weights(newest(run / "vqgan", "vqgan"), vqgan)
        nothing: Any = torch.nn.Identity()
        side = CorpusConfig.read(config, section="corpus").image_size
        self.engine = Engine(nothing, Vocabulary(0, vqgan.config.num_codes), nothing, vqgan, DataConfig(), side)
        canvas = ScenesConfig.read(config, section=f"corpus.sources.{SOURCE}")
        stage = EvaluateStage.read(config, section="evaluate")
        self.judge: Judge
        self.judge, self.accuracy = train_judge(self.engine, canvas, stage.judge_scenes, stage.judge_steps)

    def right(self, codes: np.ndarray, wanted: list[Expected]) -> float:
        """The share of pictures, as codes [M, N], that show what is wanted."""
        return float(np.mean(self.judge.right(np.concatenate(list(self._pictures(codes))), wanted)))

    def _pictures(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        side = self.engine.codes_side
        for start in range(0, len(codes), 32):
            yield self.engine.decode_codes(codes[start : start + 32].reshape(-1, side, side))
