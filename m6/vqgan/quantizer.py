"""Quantizers: features of an encoder to discrete codes, and codes to what a decoder reads. All have one face.

All but the first are those of vector-quantize-pytorch. They compute in float32 whatever surrounds them: rounding, a
nearest neighbour or a sign taken in bfloat16 is another one.

    fsq      each channel is rounded to one of a few levels (arXiv 2309.15505)
    ema_vq   the nearest of learnt vectors, which are moving averages of what they stand for (arXiv 1711.00937)
    lfq      the signs of the channels (arXiv 2310.05737)
    bsq      the signs of channels on the unit sphere (arXiv 2406.07548)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.vqgan.config import QuantizerConfig


class Quantizer(nn.Module):
    """Features [B, C, h, w] to codes [B, h, w], 0 to `num_codes` - 1, and back; C is `config.width`."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B, C, h, w] of any float type to themselves quantised, of that type, with a gradient that goes
        straight through; codes [B, h, w] int64; and a loss [] float32 of the quantizer itself, 0 if it has none."""
        with torch.autocast(latent.device.type, enabled=False):
            quantized, codes, loss = self._quantize(latent.float())
        return quantized.to(latent.dtype), codes.long(), loss

    def features(self, codes: Tensor) -> Tensor:
        """What a decoder reads, [B, C, h, w] float32, of codes [B, h, w]."""
        raise NotImplementedError

    def after_step(self) -> None:
        """To be called after each update of the weights."""

    def after_skip(self) -> None:
        """To be called instead where a step is skipped."""

    def _quantize(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError


class Rounded(Quantizer):
    """Finite scalar quantisation: there is nothing to learn, so nothing can go unused for good.

    To the bit what `FSQ` of the library computes. That loads compilers with it, which takes longer than all else that a
    run needs to answer: the others, which no run has by default, are worth it.
    """

    levels: Tensor
    places: Tensor
    """What a step of each channel counts in a code."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        levels = torch.tensor(config.levels, dtype=torch.int32)
        places = torch.cumprod(torch.tensor([1, *config.levels[:-1]]), 0, dtype=torch.int32)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("places", places, persistent=False)

    def _quantize(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reach = (self.levels - 1) * (1 + 1e-3) / 2  # a little more, or the outer levels would never be met
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)  # an even number of levels has none in the middle
        last = latent.movedim(1, -1).contiguous()
        bounded = torch.tanh(last + torch.atanh(offset / reach)) * reach - offset
        half = self.levels // 2
        quantized = (bounded + (bounded.round() - bounded).detach()) / half
        codes = ((quantized * half + half) * self.places).sum(-1).round().int()
        return quantized.movedim(-1, 1), codes, latent.new_zeros(())

    def features(self, codes: Tensor) -> Tensor:
        """As of `Quantizer`."""
        half = self.levels // 2
        return ((codes[..., None] // self.places % self.levels - half) / half).movedim(-1, 1)


class Signs(Quantizer):
    """The sign of each channel is one bit of the code; a loss of entropies keeps all codes in use."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        from vector_quantize_pytorch import LFQ

        self.inner = LFQ(
            codebook_size=config.codebook_size,
            entropy_loss_weight=config.entropy,
            commitment_loss_weight=config.commitment,
            spherical=config.kind == "bsq",
        )

    def _quantize(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, codes, loss = self.inner(latent)
        return quantized, codes, loss

    def features(self, codes: Tensor) -> Tensor:
        """As of `Quantizer`."""
        found: Tensor = self.inner.indices_to_codes(codes)
        return found


class Learnt(Quantizer):
    """A code book of moving averages, whose dead codes start anew.

    It moves after the update of the weights, by the features that the step has seen: so a step that is skipped leaves
    it as it was. Where codes start anew is drawn from a generator seeded by the number of the update, which is kept
    with the weights: a training that goes on draws as one that was not stopped.
    """

    moves: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        from vector_quantize_pytorch import VectorQuantize

        self.inner = VectorQuantize(
            dim=config.code_dim,
            codebook_size=config.codebook_size,
            decay=config.decay,
            commitment_weight=config.commitment,
            threshold_ema_dead_code=config.revive_below,
            rotation_trick=False,
            accept_image_fmap=True,
        )
        # The start of the library has codes of width 1 / codebook_size, which no feature is near: all but one die.
        self.codebook.normal_()
        self.inner._codebook.embed_avg.copy_(self.inner._codebook.embed)
        self.register_buffer("moves", torch.zeros((), dtype=torch.long))
        self._seen: Tensor | None = None

    @property
    def codebook(self) -> Tensor:
        """The learnt vectors [N, C], by code; writing into it changes them."""
        embed: Tensor = self.inner._codebook.embed
        return embed[0]

    def _quantize(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.training and torch.is_grad_enabled():
            self._seen = latent.detach()
        quantized, codes, loss = self.inner(latent, freeze_codebook=True)
        return quantized, codes, loss.squeeze()

    def features(self, codes: Tensor) -> Tensor:
        """As of `Quantizer`."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def after_step(self) -> None:
        """As of `Quantizer`."""
        if self._seen is None:
            return
        with torch.random.fork_rng(devices=[self._seen.device] if self._seen.is_cuda else []):
            torch.manual_seed(int(self.moves))
            self.inner(self._seen)
        self.moves += 1
        self._seen = None

    def after_skip(self) -> None:
        """As of `Quantizer`."""
        self._seen = None


def quantizer(config: QuantizerConfig) -> Quantizer:
    """The quantizer of this kind."""
    kinds: dict[str, Any] = {"fsq": Rounded, "ema_vq": Learnt, "lfq": Signs, "bsq": Signs}
    made: Quantizer = kinds[config.kind](config)
    return made
