"""The training step of a decoder of transformers: PYTHON transformers_step.py FILE VOCABULARY PRECISION KIND [--memory]

FILE is one of `benchmarks.mixed`, PRECISION float32 or bfloat16 (autocast), KIND dense or experts. Dense is Starcoder2,
of theirs the nearest to our blocks: LayerNorm, one GELU feed-forward, rotary positions, no biases, tied embedding, so
that layers, widths and parameters are the same. With experts it is Mixtral with its eager experts; theirs are gated, so
they are two thirds as wide, which is the same number of products; its balance loss, which takes no 4-D mask, is left
out. Patches go in by `inputs_embeds`, the rule of the mask as a 4-D mask made for each batch, labels through the
library's own loss over logits of the whole vocabulary. AdamW is the fused one.
"""

from __future__ import annotations

from typing import Any

import torch
from step_work import EXPERTS, HEADS, INNER, LAYERS, WIDTH, allowed, embedded, main, patches
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

SAME = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "tie_word_embeddings": True,
    "use_cache": False,
    "sliding_window": None,
}


class Decoder(nn.Module):
    """The decoder of the library, with a linear projection of patches before it."""

    def __init__(self, vocabulary: int, kind: str) -> None:
        super().__init__()
        self.decoder: Any
        if kind == "experts":
            inner = INNER * 2 // 3 // 8 * 8
            config = MixtralConfig(
                vocab_size=vocabulary,
                intermediate_size=inner,
                num_local_experts=EXPERTS,
                num_experts_per_tok=1,
                hidden_act="gelu",
                **SAME,
            )
            config._experts_implementation = "eager"
            self.decoder = MixtralForCausalLM(config)
        else:
            config = Starcoder2Config(
                vocab_size=vocabulary,
                intermediate_size=INNER,
                hidden_act="gelu",
                use_bias=False,
                residual_dropout=0.0,
                embedding_dropout=0.0,
                **SAME,
            )
            self.decoder = Starcoder2ForCausalLM(config)
        self.patches = patches()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        labels = torch.full((batch["ids"].numel(),), -100)
        labels[batch["label_at"]] = batch["labels"]
        labels = labels.view_as(batch["ids"])
        found = self.decoder(
            inputs_embeds=embedded(batch, self.decoder.get_input_embeddings(), self.patches),
            attention_mask=mask(batch["sample"], batch["branch"], batch["causal"]),
            position_ids=batch["position"][..., 0].long(),
            labels=labels,
            shift_labels=labels,
        )
        return found.loss


def mask(sample: Tensor, branch: Tensor, causal: Tensor) -> Tensor:
    """[R, 1, T, T] float32: 0 where a query may look, the lowest number elsewhere."""
    seen = allowed(sample, branch, causal)
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


if __name__ == "__main__":
    main(Decoder)
