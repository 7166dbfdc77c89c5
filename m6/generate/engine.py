"""The engine: a trained model that writes, paints and scores; a batch of requests in, a batch of results out.

A request is the prefix of a Sample. All prefixes of a batch go through the model once (prefill), aligned at their
ends; then every step adds one token a row, reading the keys and values of all earlier ones from a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from m6.config import UserError
from m6.corpus.config import CorpusConfig
from m6.data.config import DataConfig
from m6.data.objectives import size_prompt
from m6.data.packing import pack
from m6.data.sample import HIDDEN, Codes, Picture, Sample, Text
from m6.generate.beam import beam_search
from m6.generate.contrastive import contrastive_search
from m6.generate.decoding import Decoding, restrict
from m6.generate.grammar import Grammar
from m6.generate.int8 import to_int8
from m6.generate.painting import Request, Watch, jacobi, plain
from m6.generate.prefill import Prefill, Prefix
from m6.generate.sampling import GREEDY, Sampling, choose, generators, generators_of
from m6.generate.writing import Writing
from m6.model.attention import Cache
from m6.model.config import ModelConfig
from m6.model.masks import Mask, build_mask
from m6.model.transformer import Transformer
from m6.model.weights import check_beside, load_weights, newest, newest_weights
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import TEXT, Vocabulary
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

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
        self.device = torch.device("cpu")
        self.model = model.eval()
        self.vocabulary = vocabulary
        self.tokenizer = tokenizer
        self.vqgan = vqgan.eval() if vqgan is not None else None
        self.data = data

    @classmethod
    def load(cls, folder: Path, weights: Path | None = None, device: str = "auto", int8: bool = False) -> Engine:
        """The engine of a run folder, with its newest weights or those of a given checkpoint, on CUDA if there is any,
        or on the device that is named; int8: with products of 8 bits, which are for a CPU. UserError if a part of the
        run is missing, damaged or of another training."""
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
        chosen = weights or newest_weights(folder)
        check_beside(chosen, folder)
        load_weights(chosen, model)
        if int8:
            to_int8(model)
            device = "cpu"
        engine = cls(model, vocabulary, tokenizer, vqgan, DataConfig.read(config, section="pretrain.data"), side)
        return engine.to("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))

    def to(self, device: str) -> Engine:
        """The same, computed there. What is drawn and decided about texts stays on the CPU, so that a seed gives the
        same numbers everywhere."""
        self.device = torch.device(device)
        for part in (self.model, self.vqgan):
            if part is not None:
                part.to(self.device)
        return self

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

    def told_size(self, height: int, width: int) -> tuple[Text, ...]:
        """How the size of a painting, in codes, is told, if the model has learnt that."""
        return (Text(tuple(self.tokenizer.encode(size_prompt(height, width)))),) if self.data.tell_size else ()

    def hidden(
        self,
        ids: Tensor,
        position: Tensor,
        mask: Mask | None,
        pictures: Sequence[Tensor] = (),
        patch_at: Tensor | None = None,
        **named: Any,
    ) -> Tensor:
        """What the model makes of its inputs (see `Transformer.forward`), which may lie anywhere; the states stay where
        they are computed."""
        ids, position, mask, patch_at = (self._brought(each) for each in (ids, position, mask, patch_at))
        named = {name: self._brought(value) for name, value in named.items()}
        hidden: Tensor = self.model(ids, position, mask, [self._brought(each) for each in pictures], patch_at, **named)
        return hidden

    def remember(self, *inputs: Any, caches: Sequence[Cache]) -> None:
        """Fills caches with what the model makes of its inputs, as of `hidden`, whose states nobody asks for."""
        self.hidden(*inputs, caches=caches, at=torch.zeros(0, dtype=torch.long))

    def _brought(self, value: Any) -> Any:
        return value.to(self.device) if isinstance(value, Tensor) else value

    def text_logits(self, hidden: Tensor) -> Tensor:
        """Of entries of the text vocabulary alone, on the CPU: [.., D] -> [.., V']."""
        return F.linear(self._brought(hidden), self.model.embedding.weight[: self.vocabulary.text_size]).cpu()

    def code_logits(self, hidden: Tensor) -> Tensor:
        """Of image codes alone: [.., D] -> [.., num_codes]."""
        return F.linear(hidden, self.model.embedding.weight[self.vocabulary.text_size :])

    def encode_pictures(self, pixels: np.ndarray) -> np.ndarray:
        """[B, S, S, 3] uint8 -> codes [B, h, w]."""
        assert self.vqgan is not None
        images = self._brought(torch.from_numpy(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        return self.vqgan.encode(images).cpu().numpy()

    def decode_codes(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, h, w] -> pixels [B, S, S, 3] uint8."""
        assert self.vqgan is not None
        images = self.vqgan.decode(self._brought(torch.from_numpy(codes)))
        return np.ascontiguousarray(((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())

    def write(
        self,
        prefixes: Sequence[Prefix],
        max_tokens: int,
        sampling: Sampling = GREEDY,
        grammar: Grammar | None = None,
    ) -> list[list[int]]:
        """Text ids after each prefix, up to the end mark or `max_tokens`; the same whatever shares the batch."""
        decoding = sampling if isinstance(sampling, Decoding) else Decoding(**asdict(sampling))
        if decoding.min_tokens > max_tokens:
            raise UserError(f"min_tokens {decoding.min_tokens}: more than the most that is written, {max_tokens}")
        drawn = generators_of(decoding.seed, [key_of(prefix) for prefix in prefixes]) if decoding.temperature else []
        written: list[list[int]] = []
        for start in range(0, len(prefixes), BATCH):
            chunk = prefixes[start : start + BATCH]
            if decoding.beams > 1:
                written += beam_search(self, chunk, max_tokens, decoding, grammar)
            elif decoding.contrast:
                written += contrastive_search(self, chunk, max_tokens, decoding, grammar)
            else:
                written += self._write(chunk, max_tokens, decoding, drawn[start : start + BATCH], grammar)
        return written

    def write_texts(self, prefixes: Sequence[Prefix], max_tokens: int, sampling: Sampling = GREEDY) -> list[str]:
        """The same, as texts."""
        return [self.tokenizer.decode(ids) for ids in self.write(prefixes, max_tokens, sampling)]

    @torch.inference_mode()
    def _write(
        self,
        prefixes: Sequence[Prefix],
        max_tokens: int,
        decoding: Decoding,
        draws: list[torch.Generator],
        grammar: Grammar | None,
    ) -> list[list[int]]:
        cached = Prefill(self, prefixes, max_tokens)
        writing = Writing(len(prefixes), grammar)
        tokens = torch.full((len(prefixes),), TEXT)
        for step in range(max_tokens):
            hidden = cached.step(tokens, cached.order + step, 0, 0)
            tokens = choose(
                restrict(self.text_logits(hidden), writing.written, decoding, writing.allowed()), decoding, draws
            )
            rows = writing.add(tokens)
            if writing.done:
                break
            if rows is not None:
                cached.keep(rows)
                tokens, draws = tokens[rows], [draws[row] for row in rows.tolist()] if draws else []
        return writing.answers

    def paint(
        self,
        prefixes: Sequence[Prefix],
        height: int,
        width: int,
        sampling: Sampling = GREEDY,
        guidance: float = 1.0,
        *,
        blank: Sequence[Prefix] | None = None,
        region: np.ndarray | None = None,
        coarse: np.ndarray | None = None,
        ahead: int = 1,
        watch: Watch | None = None,
    ) -> np.ndarray:
        """Image codes [B, height, width] after each prefix. With guidance other than 1 every request is worked on
        twice, once from its `blank` prefix (nothing, if there are none), both in one batch.

        region: [height, width] bool, the cells that are painted; others stay `HIDDEN`. coarse: [B, height, width], the
        codes at each cell of small pictures that are painted over. ahead: codes that are guessed at in one step, see
        `jacobi`; what is painted is the same. watch: is told of the codes after each step.
        """
        region = np.ones((height, width), bool) if region is None else region
        blank = [()] * len(prefixes) if blank is None else blank
        places = tuple((int(row) + 1, int(column) + 1) for row, column in np.argwhere(region))
        grids = np.full((len(prefixes), height, width), HIDDEN)

        def told(start: int, codes: np.ndarray) -> None:
            grids[start : start + BATCH, region] = codes
            if watch is not None:
                watch(grids, int((grids != HIDDEN).sum()))

        for start in range(0, len(prefixes), BATCH):
            chunk, without = (list(each[start : start + BATCH]) for each in (prefixes, blank))
            draws = generators(sampling.seed + start, len(chunk))
            beneath = None if coarse is None else self.vocabulary.code_ids(coarse[start : start + BATCH, region])
            request = Request(
                chunk,
                without if guidance != 1.0 else [],
                places,
                sampling,
                draws,
                guidance,
                None if beneath is None else torch.from_numpy(beneath),
            )
            how = jacobi if ahead > 1 else plain
            told(start, how(self, request, partial(told, start), ahead))
        return grids

    @torch.inference_mode()
    def losses(self, samples: Sequence[Sample]) -> np.ndarray:
        """Sum of the losses (nats) of all labels of every sample."""
        found = []
        for start in range(0, len(samples), BATCH):
            batch = pack(
                samples[start : start + BATCH], self.vocabulary, self.model.config.patch_grid, self.data.row_length
            )
            at, sample, branch, causal, position = (
                self._brought(each)
                for each in (batch.label_at, batch.sample, batch.branch, batch.causal, batch.position)
            )
            mask = build_mask(sample, branch, causal, position, self.model.config.code_attention)
            hidden = self.hidden(
                batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=at, coarse=batch.coarse
            )
            losses = F.cross_entropy(self.model.logits(hidden).cpu(), batch.labels, reduction="none")
            found.append(torch.zeros(len(batch.keys)).index_add(0, batch.label_sample, losses).numpy())
        return np.concatenate(found)


def key_of(prefix: Prefix) -> bytes:
    """What is asked, as bytes."""
    parts = []
    for segment in prefix:
        other = segment.pixels if isinstance(segment, Picture) else segment.grid if isinstance(segment, Codes) else ()
        values = np.asarray(segment.ids if isinstance(segment, Text) else other, np.int64)
        parts.append(f"{type(segment).__name__} {values.shape} ".encode() + values.tobytes())
    return b"".join(parts)
