"""The whole model against a decoder of Hugging Face's with our weights in it, where the two have the same shape.

For text, M6 is Persimmon: blocks of LayerNorm, attention with normalised queries and keys, half of each head rotated,
LayerNorm and a GELU feed-forward. Three things are written differently: our rotary pairs are neighbours (2 i, 2 i + 1)
where theirs are (i, i + n); our text stands at row 0 and column 0 of the plane, whose embeddings are added to a token;
our output shares the embedding's weights.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from m6.data.packing import pack
from m6.data.sample import Branch, Sample, Text
from m6.model.masks import boolean_mask
from m6.model.sizes import SIZES
from m6.model.transformer import Transformer
from tests.unit.data.examples import VOCABULARY

transformers = pytest.importorskip("transformers")
CONFIG = SIZES["tiny"].model


def persimmon() -> Any:
    """Of the same shape; attention written out."""
    config = transformers.PersimmonConfig(
        vocab_size=VOCABULARY.size,
        hidden_size=CONFIG.hidden_size,
        num_hidden_layers=CONFIG.num_layers,
        num_attention_heads=CONFIG.num_heads,
        intermediate_size=CONFIG.ffn_size,
        hidden_act="gelu",
        qk_layernorm=True,
        tie_word_embeddings=False,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        rope_parameters={"rope_type": "default", "rope_theta": CONFIG.rope_base, "partial_rotary_factor": 0.5},
        attn_implementation="eager",
    )
    return transformers.PersimmonForCausalLM(config).eval()


def theirs(model: Transformer) -> dict[str, Tensor]:
    """Our weights by their names. What has no counterpart here, biases and the norms' weights of queries and keys, is
    0 and 1."""
    heads, width = CONFIG.num_heads, CONFIG.hidden_size
    size = width // heads
    rotated = torch.arange(size // 2)
    order = torch.cat([rotated[0::2], rotated[1::2], torch.arange(size // 2, size)])  # of the dimensions of a head
    ours = model.state_dict()
    plane = ours["row_embedding.weight"][0] + ours["column_embedding.weight"][0]
    found = {
        "model.embed_tokens.weight": ours["embedding.weight"] + plane,
        "lm_head.weight": ours["embedding.weight"],
        "model.final_layernorm.weight": ours["norm.weight"],
    }
    for index in range(CONFIG.num_layers):
        block, to = f"blocks.{index}.", f"model.layers.{index}."
        query, key, value = ours[f"{block}attention.qkv.weight"].view(3, heads, size, width)
        fused = torch.stack([query[:, order], key[:, order], value], 1).flatten(0, 2)
        found |= {
            f"{to}self_attn.query_key_value.weight": fused,
            f"{to}self_attn.dense.weight": ours[f"{block}attention.out.weight"],
            f"{to}input_layernorm.weight": ours[f"{block}attention_norm.weight"],
            f"{to}post_attention_layernorm.weight": ours[f"{block}ffn_norm.weight"],
            f"{to}mlp.dense_h_to_4h.weight": ours[f"{block}ffn.up.weight"],
            f"{to}mlp.dense_4h_to_h.weight": ours[f"{block}ffn.down.weight"],
        }
    return found


@torch.no_grad()
def test_logits_of_packed_samples_with_prefixes_are_those_of_persimmon() -> None:
    torch.manual_seed(0)
    model = Transformer(CONFIG, VOCABULARY.size).eval()
    for parameter in model.parameters():  # larger than at the start, so that attention is far from even
        parameter.normal_(0.0, 0.1) if parameter.dim() > 1 else parameter.uniform_(0.5, 1.5)
    reference = persimmon()
    missing, unexpected = reference.load_state_dict(theirs(model), strict=False)
    assert not unexpected
    assert all(name.endswith("bias") or "q_layernorm" in name or "k_layernorm" in name for name in missing)
    for name, parameter in reference.named_parameters():
        if name in missing:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)

    def text(*ids: int) -> Text:
        return Text(tuple(9 + number for number in ids))

    samples = [
        Sample("a", (text(1, 2, 3, 4),), (Branch("x", (text(5, 6),), text(7, 8, 9)), Branch("y", (), text(4, 3)))),
        Sample("b", (), (Branch("z", (), text(*range(10))),)),
        Sample("c", (text(8, 8, 1),), (Branch("x", (), text(2)),)),
    ]
    batch = pack(samples, VOCABULARY, CONFIG.patch_size, 64)
    allowed = boolean_mask(batch.sample, batch.branch, batch.causal)
    ours = model.logits(model(batch.ids, batch.position, allowed))
    added = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    expected = reference(input_ids=batch.ids, position_ids=batch.position[..., 0].long(), attention_mask=added).logits
    real = batch.sample >= 0
    assert int(real.sum()) > 20
    assert expected[real].std() > 0.5
    torch.testing.assert_close(ours[real], expected[real], atol=1e-4, rtol=1e-4)
