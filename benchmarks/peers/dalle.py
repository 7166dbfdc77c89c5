"""DALLE-pytorch under measurement: PYTHON dalle.py DATA train|paint|learn [SECONDS [OUT]]

The `DALLE` of the package of as many layers, as wide, with as many heads and the same inner width as ours, its other
settings as published: gated feed-forward, shifted tokens, rotary positions, causal attention over text and codes, text
learnt too at a seventh of the weight of codes. Input and output weights are tied, as ours are. Codes are given as they
are; its `DiscreteVAE` only says how many there are. AdamW with warm-up and a cosine that ends when the time does.

Three things are not as published. It imports torchvision, taming and others for image tokenizers of its own, which are
not used here: an empty module stands for them in this process alone, while it is imported. rotary-embedding-torch is of
its time (`benchmarks.peers.setup`). And `generate_images` forgets its cache of keys and values unless it is guided;
here the cache is passed on, since without it a painting takes many times as long.
"""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from dalle_work import main
from torch import Tensor
from torch.nn import functional as F

STUBS = dict.fromkeys(
    (
        "torchvision", "taming", "taming.models", "taming.models.vqgan", "omegaconf", "requests", "yaml", "PIL", "tqdm",
        "packaging", "pkg_resources",
    ),
    MagicMock(),
)  # fmt: skip
before = {name: sys.modules.get(name) for name in STUBS}
sys.modules.update(STUBS)
from dalle_pytorch import DALLE, DiscreteVAE  # noqa: E402

for name, module in before.items():
    del sys.modules[name]
    if module is not None:
        sys.modules[name] = module

RATES = (3e-4, 1e-3, 3e-3)


class Cached(DALLE):
    """One that keeps its cache without guidance too."""

    def forward_with_cond_scale(self, *args: Any, cond_scale: float = 1.0, cache: Any = None, **kwargs: Any) -> Tensor:
        """Logits."""
        assert cond_scale == 1.0
        found: Tensor = self(*args, cache=cache, **kwargs)
        return found


class Peer:
    """The model with the face of `dalle_work.Painter`."""

    def __init__(self, data: dict[str, Any], rate: float) -> None:
        torch.manual_seed(0)
        self.rate = rate
        self.bfloat16 = data["bfloat16"]
        shape = DiscreteVAE(image_size=2 * data["side"], num_layers=1, num_tokens=data["num_codes"])
        shape.decode = lambda codes: codes
        assert data["inner"] == 4 * data["width"], "its feed-forward is four times as wide as the model"
        self.model: Any = Cached(
            dim=data["width"], vae=shape, num_text_tokens=data["text_size"],
            text_seq_len=data["train_texts"].shape[1], depth=data["layers"], heads=data["heads"],
            dim_head=data["width"] // data["heads"], share_input_output_emb=True,
        )  # fmt: skip
        learnt = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(learnt, lr=rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def update(self, texts: np.ndarray, codes: np.ndarray, done: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, done / 0.05 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * min(done, 1.0)))
        with torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else contextlib.nullcontext():
            loss = self.model(torch.from_numpy(texts), torch.from_numpy(codes), return_loss=True)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def nats(self, texts: np.ndarray, codes: np.ndarray) -> Tensor:
        """Text has no part in the softmax: the package masks it where codes stand."""
        wanted = torch.from_numpy(codes)
        logits = self.model(torch.from_numpy(texts), wanted)[:, -codes.shape[1] :, self.model.num_text_tokens :]
        return F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")

    def paint(self, texts: np.ndarray, temperature: float) -> np.ndarray:
        share_left_out = 0.0 if temperature else 1.0  # of the likeliest one always stays
        with torch.inference_mode():
            found = self.model.generate_images(
                torch.from_numpy(texts), filter_thres=share_left_out, temperature=temperature or 1.0, use_cache=True
            )
        painted: np.ndarray = found.numpy()
        return painted


if __name__ == "__main__":
    main(Peer, RATES, *sys.argv[1:])
