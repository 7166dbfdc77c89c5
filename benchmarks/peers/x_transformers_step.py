"""The training step of x-transformers: PYTHON x_transformers_step.py FILE VOCABULARY PRECISION KIND [--memory]

Its attention layers at our size: pre-norm, GELU, no biases, rotary positions, flash attention, the rule of our mask as
a mask of its own, which takes the place of the causal one. Embedding and output are tied; logits are made only where a
label is, which is less work than its own wrapper does. KIND is dense; experts are not in the package.
"""

from __future__ import annotations

from typing import Any

from step_work import HEADS, INNER, LAYERS, WIDTH, allowed, embedded, main, patches
from torch import Tensor, nn
from torch.nn import functional as F
from x_transformers import Encoder


class Decoder(nn.Module):
    """Its layers between an embedding and an output of one matrix."""

    def __init__(self, vocabulary: int, kind: str) -> None:
        super().__init__()
        assert kind == "dense"
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.patches = patches()
        self.layers: Any = Encoder(
            dim=WIDTH, depth=LAYERS, heads=HEADS, attn_dim_head=WIDTH // HEADS, attn_flash=True, rotary_pos_emb=True,
            rotary_emb_dim=WIDTH // HEADS, ff_mult=INNER / WIDTH, ff_no_bias=True,
        )  # fmt: skip

    def forward(self, batch: dict[str, Any]) -> Tensor:
        mask = allowed(batch["sample"], batch["branch"], batch["causal"])[:, None]
        rows = embedded(batch, self.embedding, self.patches)
        found = self.layers(rows, attn_mask=mask, pos=batch["position"][..., 0].long())
        logits = F.linear(found.flatten(0, 1)[batch["label_at"]], self.embedding.weight)
        return F.cross_entropy(logits.float(), batch["labels"])


if __name__ == "__main__":
    main(Decoder)
