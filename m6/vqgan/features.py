"""A small network of features of pictures, learnt from the pictures at hand: for the perceptual loss and the FID-style
distance, where no network from elsewhere is given (docs/decisions/0014-image-tokenizer.md).

It is taught to tell pictures apart: of every picture it sees two views, each moved, scaled, and changed in light and
colour, and has to find the other view of each among all of the batch (SimCLR, arXiv 2002.05709). No labels are needed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 96, 128)
TEMPERATURE = 0.1
VIEW = 64
"""Largest side of a view, in pixels."""
SHIFT, SCALE, LIGHT = 0.15, 0.25, 0.3
"""Largest changes of a view: of its side, of its size, of the strength of a channel."""


class FeatureNet(nn.Module):
    """Images [B, 3, S, S'] in -1 to 1, of 16 pixels a side at least, to features at four resolutions."""

    width = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        sides = (3, *WIDTHS)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.SiLU(),
            )
            for before, after in zip(sides, WIDTHS, strict=False)
        )
        self.head = nn.Linear(WIDTHS[-1], WIDTHS[-1])  # only while it is taught

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps [B, WIDTHS[i], S / 2^(i + 1), S' / 2^(i + 1)], the first near edges, the last near things."""
        found = []
        for block in self.blocks:
            images = block(images)
            found.append(images)
        return found

    def pooled(self, images: Tensor) -> Tensor:
        """One vector a picture, [B, width] float32."""
        return self(images)[-1].float().mean((2, 3))


def two_views_loss(net: FeatureNet, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The loss [] with which a network learns to find the other view of each of some images [B, 3, S, S'] among those
    of all, and the share [] that it finds. Views are drawn from the generator, which is on the CPU."""
    seen = [F.normalize(net.head(net.pooled(view(images, generator))).float(), dim=1) for _ in range(2)]
    likeness = seen[0] @ seen[1].T / TEMPERATURE
    wanted = torch.arange(len(images), device=images.device)
    loss = 0.5 * (F.cross_entropy(likeness, wanted) + F.cross_entropy(likeness.T, wanted))
    return loss, (likeness.argmax(1) == wanted).float().mean()


def view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images [B, 3, S, S'] in -1 to 1, each moved, scaled, perhaps mirrored, and changed in the strength of its
    channels; of large ones a part, as large as `VIEW`, from about the middle."""
    count = len(images)
    height, width = (min(side, VIEW) for side in images.shape[2:])

    def drawn(columns: int) -> Tensor:
        return torch.rand(count, columns, generator=generator).mul(2).sub(1).to(images.device)

    scale, mirrored = 1 + SCALE * drawn(1), drawn(1).sign()
    turned = torch.zeros(count, 2, 3, device=images.device)
    turned[:, 0, 0] = (scale * mirrored)[:, 0] * width / images.shape[3]
    turned[:, 1, 1] = scale[:, 0] * height / images.shape[2]
    turned[:, :, 2] = 2 * SHIFT * drawn(2)
    grid = F.affine_grid(turned, [count, 3, height, width], align_corners=False)
    moved = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    strength = 1 + LIGHT * drawn(3)[..., None, None]
    return ((moved + 1) * strength - 1).clamp(-1, 1)
