"""The encoder and the decoder of the published VQGANs (arXiv 2012.09841): wide residual networks with group norms and
attention at the lowest resolution. Parts have the names that the files of diffusers give them, so that weights come in
and go out by name (`m6.vqgan.interop`).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from m6.vqgan.config import VQGANConfig

EPSILON = 1e-6


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=EPSILON)


class Resnet(nn.Module):
    """Norm, activation, convolution, twice, beside a residual path, which is projected where the width changes."""

    def __init__(self, channels: int, wide: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels, groups)
        self.conv1 = nn.Conv2d(channels, wide, 3, padding=1)
        self.norm2 = group_norm(wide, groups)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, wide, 1) if channels != wide else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        shortcut: Tensor = self.conv_shortcut(x)
        return shortcut + h


class Attention(nn.Module):
    """Every place looks at every other, with one head, beside a residual path."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = group_norm(channels, groups)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        places = self.group_norm(x).flatten(2).mT
        seen = F.scaled_dot_product_attention(self.to_q(places), self.to_k(places), self.to_v(places))
        return x + self.to_out[0](seen).mT.unflatten(2, x.shape[2:])


class Halve(nn.Module):
    """Half the side, by a convolution that is padded below and to the right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        halved: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return halved


class Double(nn.Module):
    """Twice the side: every place fourfold, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return doubled


class Level(nn.Module):
    """The blocks of one resolution, with attention behind each or not, and the way to the next resolution."""

    def __init__(
        self, channels: int, wide: int, blocks: int, groups: int, attention: bool, step: type[Halve | Double] | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(wide if at else channels, wide, groups) for at in range(blocks))
        self.attentions = nn.ModuleList(Attention(wide, groups) for _ in range(blocks if attention else 0))
        name = "downsamplers" if step is Halve else "upsamplers"
        self.next = name
        self.add_module(name, nn.ModuleList([step(wide)] if step else []))

    def forward(self, x: Tensor) -> Tensor:
        for at, resnet in enumerate(self.resnets):
            x = resnet(x)
            if len(self.attentions):
                x = self.attentions[at](x)
        for step in getattr(self, self.next):
            x = step(x)
        return x


class Middle(nn.Module):
    """Two blocks, and attention between them if asked for."""

    def __init__(self, channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, groups)] if attention else [])

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        found: Tensor = self.resnets[1](x)
        return found


def encoder(config: VQGANConfig) -> nn.Sequential:
    """[B, 3, S, S'] -> [B, C, S / f, S' / f], C that of the quantizer. The last two layers make it of features."""
    channels, shape = config.channels, config.resnet
    levels, width = [], channels[0]
    for at, wide in enumerate(channels):
        last = at == len(channels) - 1
        step = None if last else Halve
        levels.append(Level(width, wide, config.encoder_blocks, shape.groups, shape.attention and last, step))
        width = wide
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv_in=nn.Conv2d(3, channels[0], 3, padding=1),
            down_blocks=nn.Sequential(*levels),
            mid_block=Middle(width, shape.groups, shape.middle_attention),
            conv_norm_out=group_norm(width, shape.groups),
            activation=nn.SiLU(),
            conv_out=nn.Conv2d(width, shape.latent_channels, 3, padding=1),
            quant_conv=nn.Conv2d(shape.latent_channels, config.quantizer.width, 1),
        )
    )


def decoder(config: VQGANConfig) -> nn.Sequential:
    """[B, C, S / f, S' / f] -> [B, 3, S, S']."""
    channels, shape = config.channels, config.resnet
    levels, width = [], channels[-1]
    for at, wide in enumerate(reversed(channels)):
        step = Double if at < len(channels) - 1 else None
        levels.append(Level(width, wide, config.decoder_blocks, shape.groups, shape.attention and not at, step))
        width = wide
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            post_quant_conv=nn.Conv2d(config.quantizer.width, shape.latent_channels, 1),
            conv_in=nn.Conv2d(shape.latent_channels, channels[-1], 3, padding=1),
            mid_block=Middle(channels[-1], shape.groups, shape.middle_attention),
            up_blocks=nn.Sequential(*levels),
            conv_norm_out=group_norm(width, shape.groups),
            activation=nn.SiLU(),
            conv_out=nn.Conv2d(width, 3, 3, padding=1),
        )
    )
