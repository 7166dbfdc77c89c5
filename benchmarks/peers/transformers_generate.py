"""Beam search by `generate` of transformers over a model of this project: python -m ... FILE BEAMS OUT

FILE is one of `benchmarks.captions`. The very model is wrapped as a `PreTrainedModel` with `GenerationMixin`, so that
every product is the same on both sides; keys and values are in the library's `DynamicCache`. All that a user could do
for speed is done: pictures are read once each, in batches, and their keys and values are then repeated for the beams,
as `generate` repeats its inputs; a step computes logits of the text vocabulary alone; no mask where nothing is filled
up. The number of captions at once is the best of `TRIED`. OUT becomes the captions, ids of each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from benchmarks.captions import Asked, read
from benchmarks.peers.serve import serve
from m6.generate.engine import Engine
from m6.generate.prefill import Prefill, Prefix
from m6.tokenizer.vocabulary import END, PAD, TEXT

TRIED = (8, 16, 32, 64, 128)
"""Captions at once."""
TRIED_ON = 128  # captions
CACHES = ("past_key_values", "cache")
"""What `generate` calls it before transformers 5.24, and since."""


class Layer:
    """A layer of the library's cache, as our attention asks for it."""

    def __init__(self, cache: DynamicCache, index: int) -> None:
        self.cache, self.index = cache, index

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """New keys and values [B, H, T, K] to all so far."""
        found: tuple[Tensor, Tensor] = self.cache.update(key, value, self.index)
        return found


class Wrapped(PreTrainedModel, GenerationMixin):
    """The model of an engine, behind prefixes that are in the cache already."""

    config_class = PreTrainedConfig

    def __init__(self, engine: Engine) -> None:
        config = engine.model.config
        super().__init__(
            PreTrainedConfig(
                vocab_size=engine.vocabulary.text_size, num_hidden_layers=config.num_layers,
                hidden_size=config.hidden_size, num_attention_heads=config.num_heads,
                bos_token_id=TEXT, eos_token_id=END, pad_token_id=PAD,
            )
        )  # fmt: skip
        self.engine = engine
        self.model = engine.model

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """The last token alone: what is before it is cached."""
        names = (*CACHES, "order", "visible")
        return {"input_ids": input_ids[:, -1:], **{name: kwargs[name] for name in names if name in kwargs}}

    def forward(
        self,
        input_ids: Tensor,
        order: Tensor,
        past_key_values: DynamicCache | None = None,
        cache: DynamicCache | None = None,
        visible: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
    ) -> CausalLMOutputWithPast:
        """input_ids: [B, 1]; order: [B], where the answer starts; visible: [B, T] of the prefix, None if all is."""
        past: Any = past_key_values if cache is None else cache
        step = past.get_seq_length() - int(self.prefix_length)
        place = torch.stack([order + step, torch.zeros_like(order), torch.zeros_like(order)], -1)[:, None]
        mask = None
        if visible is not None:
            mask = torch.cat([visible, visible.new_ones(len(visible), step + 1)], 1)[:, None, None]
        layers: Any = [Layer(past, index) for index in range(len(self.model.blocks))]
        hidden = self.model(input_ids, place, mask, caches=layers)
        return CausalLMOutputWithPast(logits=self.engine.text_logits(hidden), past_key_values=past)

    @torch.inference_mode()
    def write(self, prefixes: Sequence[Prefix], most: int, **settings: Any) -> list[list[int]]:
        """The ids after each prefix by `generate`, all in one batch."""
        prefill = Prefill(self.engine, prefixes, 0)
        cache = DynamicCache([(each.keys, each.values) for each in prefill.caches])
        cache.batch_repeat_interleave(settings.get("num_beams", 1))
        self.prefix_length = prefill.visible.shape[-1]
        visible = None if bool(prefill.visible.all()) else prefill.visible[:, 0, 0]
        found = self.generate(
            torch.full((len(prefixes), 1), TEXT), past_key_values=cache, order=prefill.order, visible=visible,
            max_new_tokens=most, do_sample=False, use_cache=True, **settings,
        )  # fmt: skip
        return [_told(ids) for ids in found[:, 1:].tolist()]


def _told(ids: list[int]) -> list[int]:
    return ids[: ids.index(END)] if END in ids else [each for each in ids if each != PAD]


def captions(model: Wrapped, asked: Asked, beams: int, at_once: int, count: int) -> list[list[int]]:
    """The first `count` of them."""
    found: list[list[int]] = []
    for start in range(0, count, at_once):
        part = asked.prefixes[start : min(start + at_once, count)]
        found += model.write(part, asked.most, num_beams=beams)
    return found


def best_batch(model: Wrapped, asked: Asked, beams: int) -> int:
    """How many at once are fastest."""
    seconds = {}
    count = min(TRIED_ON, len(asked.prefixes))
    for at_once in TRIED:
        if at_once <= max(count, TRIED[0]):
            began = time.perf_counter()
            captions(model, asked, beams, at_once, count)
            seconds[at_once] = time.perf_counter() - began
    print(f"transformers, seconds by captions at once: {seconds}", file=sys.stderr)
    return min(seconds, key=lambda size: seconds[size])


def main(path: str, number: str, out: str) -> None:
    """Serve."""
    asked, beams = read(Path(path)), int(number)
    model = Wrapped(asked.engine)
    at_once = best_batch(model, asked, beams)

    def work() -> int:
        found = captions(model, asked, beams, at_once, len(asked.prefixes))
        torch.save({"captions": found, "at_once": at_once}, out)
        return len(found)

    serve(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
