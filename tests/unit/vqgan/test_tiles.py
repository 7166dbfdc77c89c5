"""Tiles: the same codes and pixels as of the whole picture, and no more around a tile than needed."""

import numpy as np
import pytest
import torch

from m6.config import UserError
from m6.data.pictures import to_tensor
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN
from m6.vqgan.tiles import decoder_reach, encoder_reach
from tests.unit.data.examples import picture

SHAPES = [
    VQGANConfig(channels=(8, 12)),
    VQGANConfig(channels=(8, 8, 12), encoder_blocks=2, decoder_blocks=1),
    VQGANConfig(channels=(6, 6, 6, 8)),
]


def trained(config: VQGANConfig) -> VQGAN:
    """With weights that let every place see all that it can: those drawn by chance leave residual paths at 0."""
    torch.manual_seed(0)
    model = VQGAN(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 4:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


def wide(side: int, across: int) -> torch.Tensor:
    tiles = [np.concatenate([picture(row * 5 + at, 64) for at in range(-(-across // 64))], 1) for row in range(4)]
    return to_tensor(np.concatenate(tiles)[None, :side, :across].copy())


@pytest.mark.parametrize("config", SHAPES)
def test_tiles_give_what_the_whole_picture_gives(config: VQGANConfig) -> None:
    model = trained(config)
    images = wide(176, 208)
    codes = model.encode(images)
    assert codes.unique().numel() > 20
    restored = model.decode(codes)
    for tile in (48, 64):
        assert torch.equal(model.encode(images, tile), codes)
        torch.testing.assert_close(model.decode(codes, tile), restored, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", SHAPES)
def test_the_reach_is_what_a_place_sees(config: VQGANConfig) -> None:
    """By gradients: nothing beyond the reach, and something in its outermost ring."""
    model, f = trained(config), config.downsample
    for work, channels, reach, shrink, grow in (
        (model.encoder, 3, encoder_reach(config), f, 1),
        (model.decoder, config.quantizer.width, decoder_reach(config), 1, f),
    ):
        middle = 3 * max(reach // shrink, 1) * shrink
        x = torch.randn(1, channels, 2 * middle, 2 * middle, requires_grad=True)
        at = middle * grow // shrink
        size = max(grow // shrink, 1)
        work(x)[..., at : at + size, at : at + size].square().sum().backward()
        assert x.grad is not None
        seen = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
        first, last = middle - int(seen.min()), int(seen.max()) - (middle + shrink - 1)
        assert reach - max(shrink, 1) < max(first, last) <= reach


def test_sides_and_tiles_that_do_not_fit_are_refused() -> None:
    model = VQGAN(VQGANConfig(channels=(8, 8, 8)))
    with pytest.raises(UserError, match="a picture of 60 x 64 pixels: sides have to be multiples of the 8 pixels"):
        model.encode(torch.zeros(1, 3, 64, 60))
    with pytest.raises(UserError, match="tile 20: it has to be a multiple of the 8 pixels of a code"):
        model.encode(torch.zeros(1, 3, 64, 64), tile=20)
    assert model.decode(model.encode(torch.zeros(1, 3, 64, 40))).shape == (1, 3, 64, 40)
