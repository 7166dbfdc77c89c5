"""The training step of a decoder of transformers: PYTHON transformers_step.py FILE VOCABULARY PRECISION KIND [--memory]

FILE is one of `benchmarks.mixed`, PRECISION float32 or bfloat16 (autocast), KIND dense or experts. Dense is Starcoder2,
of theirs the nearest to our blocks: LayerNorm, one GELU feed-forward, rotary positions, no biases, tied embedding, so
that layers, widths and parameters are the same. With experts it is Mixtral with its eager experts; theirs are gated, so
they are two thirds as wide, which is the same number of products; its balance loss, which takes no 4-D mask, is left
out. Patches go in by `inputs_embeds`, the rule of the mask as a 4-D mask made for each batch, labels through the
library's own loss over logits of the whole vocabulary. AdamW is the fused one.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from resident import peak_of_work, resident
from serve import serve
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

LAYERS, WIDTH, HEADS, INNER, EXPERTS, PATCH = 6, 256, 8, 1024, 8, 8  # as TINY and EXPERTS of benchmarks.step
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
        self.patches = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH, bias=False)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        embedded = self.decoder.get_input_embeddings()(batch["ids"])
        if len(batch["patch_at"]):
            pixels = [group.permute(0, 3, 1, 2) / 127.5 - 1.0 for group in batch["pictures"]]
            patches = torch.cat([self.patches(group).flatten(2).transpose(1, 2).flatten(0, 1) for group in pixels])
            embedded = embedded.view(-1, WIDTH).index_copy(0, batch["patch_at"], patches).view_as(embedded)
        labels = torch.full((batch["ids"].numel(),), -100)
        labels[batch["label_at"]] = batch["labels"]
        labels = labels.view_as(batch["ids"])
        found = self.decoder(
            inputs_embeds=embedded,
            attention_mask=mask(batch["sample"], batch["branch"], batch["causal"]),
            position_ids=batch["position"][..., 0].long(),
            labels=labels,
            shift_labels=labels,
        )
        return found.loss


def mask(sample: Tensor, branch: Tensor, causal: Tensor) -> Tensor:
    """[R, 1, T, T] float32: 0 where a query may look, the lowest number elsewhere."""
    order = torch.arange(sample.shape[1])
    same = sample[:, :, None] == sample[:, None, :]
    own = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    allowed = same & own & (~causal[:, None, :] | (order[None, :] <= order[:, None]))
    return torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)[:, None]


class Step:
    """A model and its optimizer; `run` trains on some batches and returns their real tokens."""

    def __init__(self, vocabulary: int, precision: str, kind: str) -> None:
        torch.set_flush_denormal(True)
        self.half = precision == "bfloat16"
        torch.manual_seed(0)
        self.model = Decoder(vocabulary, kind).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)

    def run(self, batches: list[dict[str, Any]]) -> int:
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                loss = self.model(batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            assert (loss + norm).isfinite()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return sum(int((batch["sample"] >= 0).sum()) for batch in batches)


def main(path: str, vocabulary: str, precision: str, kind: str, *memory: str) -> None:
    """Serve; with `--memory`, what is answered is the peak of a step in KiB, over what was resident before."""
    batches = torch.load(path, weights_only=True)
    before = resident()
    step = Step(int(vocabulary), precision, kind)
    serve(lambda: peak_of_work(lambda: step.run(batches), before) if memory else step.run(batches))


if __name__ == "__main__":
    main(*sys.argv[1:])
