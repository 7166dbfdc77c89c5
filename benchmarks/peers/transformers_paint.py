"""Guided painting by `generate` of transformers over a model of this project: python -m ... FILE

FILE is one of `benchmarks.paint`. The very model is wrapped, see `transformers_generate`; both halves of guidance are
in one batch, with the library's own processor of classifier-free guidance, which is how its MusicGen does it and takes
less time than its unbatched one; keys and values are in its `DynamicCache`; logits are of image codes alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    ClassifierFreeGuidanceLogitsProcessor,
    DynamicCache,
    GenerationMixin,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from benchmarks.paint import VOCABULARY, Asked, read
from benchmarks.peers.serve import serve
from benchmarks.peers.transformers_generate import CACHES, Layer
from m6.generate.prefill import Prefill, Prefix
from m6.tokenizer.vocabulary import IMAGE

START = VOCABULARY.num_codes
"""The id of the start mark; ids are those of codes."""


class Painter(PreTrainedModel, GenerationMixin):
    """The model of an engine, behind prefixes that are in the cache already."""

    config_class = PreTrainedConfig

    def __init__(self, asked: Asked) -> None:
        config = asked.engine.model.config
        super().__init__(
            PreTrainedConfig(
                vocab_size=VOCABULARY.num_codes, num_hidden_layers=config.num_layers, hidden_size=config.hidden_size,
                num_attention_heads=config.num_heads, bos_token_id=START, eos_token_id=None, pad_token_id=None,
            )
        )  # fmt: skip
        self.model, self.asked = asked.engine.model, asked

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """The last token alone, for both halves."""
        names = (*CACHES, "order", "visible")
        return {"input_ids": input_ids[:, -1:].repeat(2, 1), **{name: kwargs[name] for name in names if name in kwargs}}

    def forward(
        self,
        input_ids: Tensor,
        order: Tensor,
        visible: Tensor,
        past_key_values: DynamicCache | None = None,
        cache: DynamicCache | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
    ) -> CausalLMOutputWithPast:
        """input_ids: [2 B, 1]; order: [2 B]; visible: [2 B, P] of the prefix."""
        past: Any = past_key_values if cache is None else cache
        step = past.get_seq_length() - visible.shape[1]
        row, column = (torch.full_like(order, at + 1) for at in divmod(step, self.asked.side))
        place = torch.stack([order, row, column], -1)[:, None]
        mask = torch.cat([visible, visible.new_ones(len(visible), step + 1)], 1)[:, None, None]
        layers: Any = [Layer(past, index) for index in range(len(self.model.blocks))]
        ids = torch.where(input_ids == START, IMAGE, input_ids + VOCABULARY.text_size)
        hidden = self.model(ids, place, mask, caches=layers)
        return CausalLMOutputWithPast(logits=self.asked.engine.code_logits(hidden), past_key_values=past)

    @torch.inference_mode()
    def paint(self) -> np.ndarray:
        """Codes [B, h, w] by `generate`, all in one batch."""
        asked = self.asked
        blank: list[Prefix] = [()] * len(asked.prefixes)
        prefill = Prefill(asked.engine, asked.prefixes + blank, 0)
        found = self.generate(
            torch.full((len(asked.prefixes), 1), START),
            past_key_values=DynamicCache([(each.keys, each.values) for each in prefill.caches]),
            order=prefill.order, visible=prefill.visible[:, 0, 0],
            logits_processor=LogitsProcessorList([ClassifierFreeGuidanceLogitsProcessor(asked.guidance)]),
            max_new_tokens=asked.side**2, do_sample=asked.temperature > 0, top_k=0, use_cache=True,
        )  # fmt: skip
        codes: np.ndarray = found[:, 1:].view(-1, asked.side, asked.side).numpy()
        return codes


def main(path: str) -> None:
    """Serve."""
    painter = Painter(read(Path(path)))
    serve(lambda: len(painter.paint()))


if __name__ == "__main__":
    main(*sys.argv[1:])
