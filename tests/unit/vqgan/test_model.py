"""The image tokenizer: shapes, round trips of codes, and codes that do not depend on what lies beside them."""

import numpy as np
import pytest
import torch

from m6.data.pictures import to_pixels, to_tensor
from m6.vqgan.config import VQGANConfig
from m6.vqgan.figures import psnr
from m6.vqgan.model import VQGAN
from tests.unit.data.examples import picture


@pytest.mark.parametrize("channels", [(8, 16), (8, 8, 16), (16, 16, 16)])
def test_sides_shrink_by_the_downsampling_and_come_back(channels: tuple[int, ...]) -> None:
    config = VQGANConfig(channels=channels)
    model = VQGAN(config)
    images = to_tensor(np.stack([picture(0, 64), picture(1, 64)]))
    codes = model.encode(images)
    assert codes.shape == (2, 64 // config.downsample, 64 // config.downsample)
    assert 0 <= int(codes.min()) <= int(codes.max()) < config.num_codes
    assert model.decode(codes).shape == images.shape


def test_a_code_does_not_change_with_what_lies_far_away() -> None:
    torch.manual_seed(0)
    model = VQGAN(VQGANConfig())
    alone = np.full((64, 128, 3), 255, np.uint8)
    alone[:, :64] = picture(0, 64)
    beside = alone.copy()
    beside[:, 96:] = picture(5, 64)[:, :32]
    codes = [model.encode(to_tensor(pixels[None]))[0, :, :8] for pixels in (alone, beside)]
    assert torch.equal(codes[0], codes[1])


def test_pixels_survive_the_way_to_tensors_and_back() -> None:
    pixels = np.stack([picture(2, 32), picture(3, 32)])
    assert np.array_equal(to_pixels(to_tensor(pixels)), pixels)


def test_psnr_by_hand() -> None:
    black, grey = torch.full((1, 3, 4, 4), -1.0), torch.full((1, 3, 4, 4), -0.8)
    assert psnr(black, grey).item() == pytest.approx(20.0, abs=1e-4)  # an error of a tenth of the range
    assert psnr(black, black).item() == pytest.approx(100.0)
