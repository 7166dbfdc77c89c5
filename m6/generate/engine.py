"""The engine: a trained model that writes, paints and scores; a batch of requests in, a batch of results out.

A request is the prefix of a Sample. All prefixes of a batch go through the model once (prefill), aligned at their
ends; then every step adds one token a row, reading the keys and values of all earlier ones from a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from m6.config import UserError
from m6.corpus.config import CorpusConfig
from m6.data.config import DataConfig
from m6.data.packing import Run, group_pictures, pack
from m6.data.sample import Codes, Picture, Sample, Segment, Text
from m6.generate.sampling import GREEDY, Sampling, choose, generators, guide
from m6.model.attention import Cache
from m6.model.config import ModelConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from m6.model.weights import load_weights, newest
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import END, IMAGE, TEXT, Vocabulary
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

Prefix = tuple[Segment, ...]
Grammar = Callable[[Sequence[int]], Tensor]
"""Tokens written so far -> which tokens may follow, [V] bool."""

BATCH = 64  # requests that are worked on at once


class Engine:
    """A model with its vocabulary and image tokenizer, ready for requests."""

    def __init__(
        self,
        model: Transformer,
        vocabulary: Vocabulary,
        tokenizer: TextTokenizer,
        vqgan: VQGAN | None,
        data: DataConfig,
        picture_size: int,
    ) -> None:
        self.picture_size = picture_size  # side of the pictures it was trained on, pixels
        self.model = model.eval()
        self.vocabulary = vocabulary
        self.tokenizer = tokenizer
        self.vqgan = vqgan.eval() if vqgan is not None else None
        self.data = data
        self._is_text = torch.arange(vocabulary.size) < vocabulary.text_size

    @classmethod
    def load(cls, folder: Path) -> Engine:
        """The engine of a run folder. UserError if a part of the run is missing or damaged."""
        torch.set_flush_denormal(True)
        config = folder / "config.json"
        size = ModelConfig.read(config, section="model")
        codes = VQGANConfig.read(config, section="vqgan.model")
        side = CorpusConfig.read(config, section="corpus").image_size
        tokenizer = TextTokenizer.load(folder / "tokenizer" / "tokenizer.json")
        vocabulary = Vocabulary(tokenizer.size, codes.num_codes)
        vqgan = VQGAN(codes)
        load_weights(newest(folder / "vqgan", "vqgan"), vqgan)
        model = Transformer(size, vocabulary.size, vqgan.backbone() if size.stem == "backbone" else None)
        load_weights(newest(folder / "pretrain", "pretrain"), model)
        return cls(model, vocabulary, tokenizer, vqgan, DataConfig.read(config, section="pretrain.data"), side)

    @property
    def codes_side(self) -> int:
        """Codes on a side of a picture."""
        assert self.vqgan is not None
        return self.picture_size // self.vqgan.config.downsample

    def text(self, text: str) -> Text:
        """A text as a segment. UserError if it is longer than the model has been trained to read; it is never cut."""
        ids = self.tokenizer.encode(text)
        if len(ids) > self.data.max_text:
            raise UserError(
                f"the text has {len(ids)} tokens, this model reads at most {self.data.max_text}; shorten it"
            )
        return Text(tuple(ids))

    def picture(self, pixels: np.ndarray) -> Picture | Codes:
        """Pixels [S, S', 3] uint8 as the segment that the model has learnt to read."""
        if self.data.image_input == "pixels":
            return Picture(pixels)
        return Codes(self.encode_pictures(pixels[None])[0])

    def encode_pictures(self, pixels: np.ndarray) -> np.ndarray:
        """[B, S, S, 3] uint8 -> codes [B, h, w]."""
        assert self.vqgan is not None
        return self.vqgan.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0).numpy()

    def decode_codes(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, h, w] -> pixels [B, S, S, 3] uint8."""
        assert self.vqgan is not None
        images = self.vqgan.decode(torch.from_numpy(codes))
        return np.ascontiguousarray(((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())

    def write(
        self,
        prefixes: Sequence[Prefix],
        max_tokens: int,
        sampling: Sampling = GREEDY,
        grammar: Grammar | None = None,
    ) -> list[list[int]]:
        """Text ids after each prefix, up to the end mark or `max_tokens`."""
        written: list[list[int]] = []
        for start in range(0, len(prefixes), BATCH):
            chunk = prefixes[start : start + BATCH]
            draws = generators(sampling.seed + start, len(chunk))
            written += self._write(chunk, max_tokens, sampling, draws, grammar)
        return written

    def write_texts(self, prefixes: Sequence[Prefix], max_tokens: int, sampling: Sampling = GREEDY) -> list[str]:
        """The same, as texts."""
        return [self.tokenizer.decode(ids) for ids in self.write(prefixes, max_tokens, sampling)]

    @torch.inference_mode()
    def _write(
        self,
        prefixes: Sequence[Prefix],
        max_tokens: int,
        sampling: Sampling,
        draws: list[torch.Generator],
        grammar: Grammar | None,
    ) -> list[list[int]]:
        state = Prefill(self, prefixes, max_tokens)
        tokens = torch.full((len(prefixes),), TEXT)
        written: list[list[int]] = [[] for _ in prefixes]
        ended = torch.zeros(len(prefixes), dtype=torch.bool)
        for step in range(max_tokens):
            logits = state.step(tokens, state.order + step, 0, 0).masked_fill(~self._is_text, -torch.inf)
            if grammar is not None:
                logits = logits.masked_fill(~torch.stack([grammar(ids) for ids in written]), -torch.inf)
            tokens = choose(logits, sampling, draws)
            ended |= tokens == END
            if bool(ended.all()):
                break
            for ids, token, end in zip(written, tokens.tolist(), ended.tolist(), strict=True):
                if not end:
                    ids.append(token)
        return written

    def paint(
        self,
        prefixes: Sequence[Prefix],
        height: int,
        width: int,
        sampling: Sampling = GREEDY,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """Image codes [B, height, width] after each prefix. With guidance other than 1 every request is worked on
        twice, once from an empty prompt, both in one batch."""
        grids = []
        for start in range(0, len(prefixes), BATCH):
            chunk = list(prefixes[start : start + BATCH])
            draws = generators(sampling.seed + start, len(chunk))
            grids.append(self._paint(chunk, height, width, sampling, draws, guidance))
        return np.concatenate(grids)

    @torch.inference_mode()
    def _paint(
        self,
        prefixes: list[Prefix],
        height: int,
        width: int,
        sampling: Sampling,
        draws: list[torch.Generator],
        guidance: float,
    ) -> np.ndarray:
        count = len(prefixes)
        twice = 2 if guidance != 1.0 else 1
        empty: list[Prefix] = [()] * (count * (twice - 1))
        state = Prefill(self, prefixes + empty, height * width)
        tokens = torch.full((count,), IMAGE)
        grid = torch.zeros(count, height * width, dtype=torch.long)
        for place in range(height * width):
            logits = state.step(tokens.repeat(twice), state.order, place // width + 1, place % width + 1)
            if twice == 2:
                logits = guide(logits[:count], logits[count:], guidance)
            tokens = choose(logits.masked_fill(self._is_text, -torch.inf), sampling, draws)
            grid[:, place] = tokens - self.vocabulary.text_size
        return grid.view(count, height, width).numpy()

    @torch.inference_mode()
    def losses(self, samples: Sequence[Sample]) -> np.ndarray:
        """Sum of the losses (nats) of all labels of every sample."""
        found = []
        for start in range(0, len(samples), BATCH):
            batch = pack(
                samples[start : start + BATCH], self.vocabulary, self.model.config.patch_grid, self.data.row_length
            )
            mask = build_mask(batch.sample, batch.branch, batch.causal)
            hidden = self.model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at)
            losses = F.cross_entropy(self.model.logits(hidden), batch.labels, reduction="none")
            found.append(torch.zeros(len(batch.keys)).index_add(0, batch.label_sample, losses).numpy())
        return np.concatenate(found)


class Prefill:
    """Prefixes read into caches, aligned at their ends; then one token a row and step."""

    def __init__(self, engine: Engine, prefixes: Sequence[Prefix], room: int) -> None:
        self.model = engine.model
        runs = []
        orders = []
        for prefix in prefixes:
            run = Run(engine.vocabulary, self.model.config.patch_grid)
            order = 0
            for segment in prefix:
                order = run.add_prefix(segment, order, branch=0)
            runs.append(run)
            orders.append(order)
        self.order = torch.tensor(orders)
        """Where the target of each row starts."""
        rows, length = len(runs), max(len(run.ids) for run in runs)
        self.visible = torch.ones(rows, 1, 1, length + room, dtype=torch.bool)
        self.caches: list[Cache] = self.model.make_caches(rows, length + room)
        ids = torch.zeros(rows, length, dtype=torch.long)
        position = torch.zeros(rows, length, 3, dtype=torch.int)
        pictures = []
        for row, run in enumerate(runs):
            pad = length - len(run.ids)
            self.visible[row, ..., :pad] = False
            ids[row, pad:] = torch.tensor(run.ids, dtype=torch.long)
            position[row, pad:] = torch.tensor(run.position, dtype=torch.int).view(-1, 3)
            offset = row * length + pad
            pictures += [(pixels, range(at.start + offset, at.stop + offset)) for pixels, at in run.pictures]
        if length:
            # Padding looks at itself alone: a query that may look nowhere would give no number.
            mask = self.visible[..., :length] | torch.eye(length, dtype=torch.bool)
            self.model(ids, position, mask, *group_pictures(pictures), caches=self.caches)

    def step(self, tokens: Tensor, order: Tensor, row: int, column: int) -> Tensor:
        """Logits [B, V] after one more token [B] of each row, which stands at (order, row, column)."""
        place = torch.stack([order, torch.full_like(order, row), torch.full_like(order, column)], -1)[:, None]
        mask = self.visible[..., : self.caches[0].length + 1]
        return self.model.logits(self.model(tokens[:, None], place, mask, caches=self.caches))[:, 0]
