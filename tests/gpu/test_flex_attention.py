"""On a GPU the mask is a FlexAttention block mask; it has to give what the boolean mask gives. Skipped without one."""

import pytest
import torch

from m6.model.attention import attend
from m6.model.masks import block_mask, boolean_mask

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_block_mask_attends_like_the_boolean_mask() -> None:
    torch.manual_seed(0)
    batch, length = 2, 256
    sample = torch.arange(length).div(80, rounding_mode="floor").expand(batch, -1).contiguous().cuda()
    branch = torch.arange(length).remainder(80).div(30, rounding_mode="floor").expand(batch, -1).contiguous().cuda()
    causal = (torch.arange(length).remainder(30) > 12).expand(batch, -1).contiguous().cuda()
    query, key, value = torch.randn(3, batch, 4, length, 64, device="cuda")
    blocks, plain = block_mask(sample, branch, causal), boolean_mask(sample, branch, causal)
    torch.testing.assert_close(
        attend(query, key, value, blocks), attend(query, key, value, plain), atol=2e-3, rtol=2e-3
    )
