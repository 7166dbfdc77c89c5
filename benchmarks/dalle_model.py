"""Our transformer beside DALLE-pytorch: python -m benchmarks.dalle_model DATA train|paint|learn [SECONDS [OUT]]

That of the run's config, from scratch, on text_to_image alone; the optimizers, their peak rates, the loss and the rows
of samples are the run's, and the schedule is that of the part of the recipe `paint` in which it paints. So it has one
rate where the peer has the best of three.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parent / "peers"))  # where the peer finds what both do

from dalle_work import main

from m6.data.config import DataConfig
from m6.data.packing import Batch, pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.generate.engine import Engine
from m6.generate.sampling import Sampling
from m6.model.config import ModelConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.tokenizer.vocabulary import PAD, Vocabulary
from m6.train.config import LoopConfig
from m6.train.optimizer import Optimizers
from m6.train.pretrain import batch_loss, muon_matrices

PARTS = 100_000
"""Of the time, as many as the optimizers take for updates: how many updates there will be nobody knows."""
SCHEDULE = ((0.0, 0.0), (0.07, 1.0), (0.47, 1.0), (1.0, 0.02))


class Ours:
    """The model with the face of `dalle_work.Painter`."""

    def __init__(self, data: dict[str, Any], share: float) -> None:
        """share: of the run's own rates."""
        config = Path(data["run"]) / "config.json"
        self.vocabulary, self.side = Vocabulary(data["text_size"], data["num_codes"]), data["side"]
        self.data = DataConfig.read(config, section="pretrain.data")
        torch.manual_seed(0)
        size = ModelConfig.read(config, section="model").model_copy(update={"stem": "convolutional"})
        self.model = Transformer(size, self.vocabulary.size)
        self.model.patch_embedding.requires_grad_(False)  # no pictures are read
        loop = LoopConfig.read(config, section="pretrain.loop")
        peaks = {name: share * getattr(loop.optimizer, name) for name in ("learning_rate", "muon_learning_rate")}
        optimizer = loop.optimizer.model_copy(update={**peaks, "schedule": SCHEDULE})
        self.optimizers = Optimizers(self.model, optimizer, PARTS, muon_matrices(self.model))
        self.bfloat16 = data["bfloat16"]

    def update(self, texts: np.ndarray, codes: np.ndarray, done: float) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = batch_loss(self.model, self._batch(texts, codes))[0]
        loss.backward()
        self.optimizers.clip()
        self.optimizers.step(min(int(done * PARTS), PARTS - 1))

    def nats(self, texts: np.ndarray, codes: np.ndarray) -> Tensor:
        batch = self._batch(texts, codes)
        mask = build_mask(batch.sample, batch.branch, batch.causal, batch.position, self.model.config.code_attention)
        hidden = self.model(batch.ids, batch.position, mask, at=batch.label_at)
        logits = F.linear(hidden, self.model.embedding.weight[self.vocabulary.text_size :])
        return F.cross_entropy(logits, batch.labels - self.vocabulary.text_size, reduction="none")

    def paint(self, texts: np.ndarray, temperature: float) -> np.ndarray:
        nothing: Any = None
        engine = Engine(self.model, self.vocabulary, nothing, None, self.data, 0)
        prefixes = [(_text(row),) for row in texts]
        return engine.paint(prefixes, self.side, self.side, Sampling(temperature)).reshape(len(texts), -1)

    def _batch(self, texts: np.ndarray, codes: np.ndarray) -> Batch:
        samples = [
            Sample("", (), (Branch("text_to_image", (_text(row),), Codes(grid.reshape(self.side, -1))),))
            for row, grid in zip(texts, codes, strict=True)
        ]
        return pack(samples, self.vocabulary, self.model.config.patch_grid, self.data.row_length)


def _text(row: np.ndarray) -> Text:
    return Text(tuple(row[row != PAD].tolist()))


if __name__ == "__main__":
    main(Ours, (1.0,), *sys.argv[1:])
