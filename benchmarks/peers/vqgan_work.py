"""What is measured of an image tokenizer, ours or a peer's: encoding, decoding, and a training by seconds of CPU.

Only torch, numpy and the standard library are imported here."""

from __future__ import annotations

import json
import sys
import time
from typing import Protocol

import numpy as np
import torch
from serve import serve
from torch import Tensor, nn

BATCH, AT_ONCE = 16, 8
RATE, BETAS, L1 = 2e-3, (0.9, 0.95), 0.1


class Tokenizer(Protocol):
    """An image tokenizer under measurement; images are [B, 3, S, S] in -1 to 1, codes [B, h, w]."""

    model: nn.Module

    def encode(self, images: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The restored images, and the loss of the quantizer."""

    def after_step(self) -> None: ...


def images_of(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def main(tokenizer: Tokenizer, path: str, what: str, seconds: str = "1") -> None:
    """Serve "encode" or "decode", or do "train" and print a line of JSON."""
    torch.set_flush_denormal(True)
    pictures = np.load(path)
    if what == "train":
        print(json.dumps(trained(tokenizer, pictures["train"], pictures["heldout"], float(seconds))))
        return
    tokenizer.model.eval()
    images = images_of(pictures["train"][:BATCH])
    with torch.inference_mode():
        codes = tokenizer.encode(images)

    def once() -> int:
        with torch.inference_mode():
            return len(tokenizer.encode(images) if what == "encode" else tokenizer.decode(codes))

    serve(once)


def trained(tokenizer: Tokenizer, train: np.ndarray, heldout: np.ndarray, seconds: float) -> dict[str, float]:
    """Trains for so many seconds of CPU; the rate falls over them from its peak to nothing."""
    model = tokenizer.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=0.0, fused=True)
    draws = np.random.default_rng(0)
    began, steps, passed = time.process_time(), 0, 0.0
    while passed < 1.0:
        images = images_of(train[draws.choice(len(train), AT_ONCE, replace=False)])
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((steps + 1) / 20, 1 - passed)
        restored, auxiliary = tokenizer.forward(images)
        error = restored - images
        loss = error.square().mean() + L1 * error.abs().mean() + auxiliary
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokenizer.after_step()
        steps += 1
        passed = (time.process_time() - began) / seconds
    model.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(heldout), AT_ONCE):
            images = images_of(heldout[start : start + AT_ONCE])
            error = tokenizer.decode(tokenizer.encode(images)).clamp(-1, 1) - images
            found += (-10 * torch.log10(error.square().mean((1, 2, 3)) / 4)).tolist()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{steps} steps", file=sys.stderr)
    return {"psnr": sum(found) / len(found), "steps": steps, "parameters": parameters}
