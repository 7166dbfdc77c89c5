"""What the image tokenizer is trained for: near pixels, near features, pictures that a discriminator takes for real.

    loss = l2 * squared error + l1 * absolute error + perceptual * distance of features      (the reconstruction)
         + discriminator * adaptive weight * (- what the discriminator says of the restored picture)
         + the loss of the quantizer

The adaptive weight is that of VQGAN (arXiv 2012.09841, equation 7): the norm of the gradient of the reconstruction at
the last layer of the decoder by that of the discriminator's part, so that neither drowns the other. The discriminator
looks at patches (PatchGAN, arXiv 1611.07004), with the hinge loss (arXiv 1705.02894), and joins late: at first all that
is restored is so wrong that it would learn nothing that helps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.vqgan.config import LossConfig
from m6.vqgan.layers import ChannelNorm

LARGEST_WEIGHT = 1e4
"""Of the discriminator's part, where its gradient is next to nothing."""
SMALLEST_NORM = 1e-4


class PatchDiscriminator(nn.Module):
    """Images [B, 3, S, S'] in -1 to 1 to how real each patch looks, [B, 1, s, s']: convolutions of stride 2."""

    def __init__(self, channels: int, layers: int) -> None:
        """channels: after the first convolution; they double with each of `layers`, up to eightfold."""
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = channels
        for layer in range(1, layers + 1):
            wider = channels * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            parts += [nn.Conv2d(width, wider, 4, stride=stride, padding=1), ChannelNorm(wider), nn.LeakyReLU(0.2)]
            width = wider
        self.layers = nn.Sequential(*parts, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        judged: Tensor = self.layers(images)
        return judged


def hinge(real: Tensor, restored: Tensor) -> Tensor:
    """The loss [] of a discriminator that says `real` of real pictures and `restored` of others."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + restored).mean())


def feature_distance(features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The perceptual distance [] of maps of features [B, C, h, w]: at each place of each layer both are scaled to
    length 1, and their squared distances averaged (LPIPS, arXiv 1801.03924, without its learnt weights of channels)."""
    layers = [
        (F.normalize(one.float(), dim=1) - F.normalize(other.float(), dim=1)).square().sum(1).mean()
        for one, other in zip(features, others, strict=True)
    ]
    return torch.stack(layers).mean()


class Losses:
    """The losses of both players. Keeps of a batch what the discriminator needs next."""

    def __init__(
        self,
        config: LossConfig,
        last_layer: nn.Conv2d,
        features: Callable[[Tensor], list[Tensor]] | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        """last_layer: of the decoder, at which gradients are compared. features: images to maps of features."""
        assert (features is not None) or not config.perceptual
        assert (discriminator is not None) or not config.discriminator
        self._config, self._last_layer = config, last_layer
        self._features, self._discriminator = features, discriminator
        self._seen: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, images: Tensor, restored: Tensor, auxiliary: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [] of the tokenizer, and its parts by name, for images [B, 3, S, S'], what was restored of them, and
        the loss of the quantizer; `step` says whether the discriminator plays already."""
        restored = restored.float()
        if not self.plays(step):
            loss, parts = self._reconstruction(images, restored)
            return loss + auxiliary, parts
        assert self._discriminator is not None
        self._seen = images, restored.detach()
        # Each network is gone back through once, down to the restored picture; from there on both parts go as one.
        picture = restored.detach().requires_grad_()
        near, parts = self._reconstruction(images, picture)
        real = -self._discriminator(picture).float().mean()
        by_nearness, by_realness = (torch.autograd.grad(loss, picture)[0] for loss in (near, real))
        weight = self._config.discriminator * self._balance(restored, by_nearness, by_realness)
        gradient = by_nearness + weight * by_realness
        path = (restored * gradient).sum()
        loss = (near + weight * real).detach() + (path - path.detach()) + auxiliary
        return loss, parts | {"loss/generator": real.detach(), "discriminator_weight": weight}

    def against(self) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The loss [] of the discriminator on the batch before, and figures; None while it does not play."""
        if self._seen is None:
            return None
        assert self._discriminator is not None
        images, restored = self._seen
        self._seen = None
        real, made = (self._discriminator(pictures).float() for pictures in (images, restored))
        loss = hinge(real, made)
        said = {"discriminator/real": real.mean(), "discriminator/restored": made.mean()}
        return loss, {"loss/discriminator": loss.detach(), **{name: each.detach() for name, each in said.items()}}

    def plays(self, step: int) -> bool:
        """Whether the discriminator takes part in this step."""
        return self._config.discriminator > 0 and step >= self._config.discriminator_start

    def _reconstruction(self, images: Tensor, restored: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        config, error = self._config, restored - images
        loss = config.l2 * error.square().mean() + config.l1 * error.abs().mean()
        if not config.perceptual:
            return loss, {}
        assert self._features is not None
        with torch.no_grad():
            wanted = self._features(images)
        distance = feature_distance(self._features(restored), wanted)
        return loss + config.perceptual * distance, {"loss/perceptual": distance.detach()}

    def _balance(self, restored: Tensor, *gradients: Tensor) -> Tensor:
        """Norm of the first gradient by that of the second, both taken from the restored picture to the last layer."""
        near, real = (
            torch.autograd.grad(restored, self._last_layer.weight, each, retain_graph=True)[0].norm()
            for each in gradients
        )
        return (near / (real + SMALLEST_NORM)).clamp(max=LARGEST_WEIGHT)
