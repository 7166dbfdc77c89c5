"""On a GPU the mask is a FlexAttention block mask; it has to give what the boolean mask gives. Skipped without one."""

import pytest
import torch

from m6.data.packing import pack
from m6.data.sample import Branch, Codes, Sample, Text
from m6.model.attention import attend
from m6.model.config import CodeAttentionConfig
from m6.model.masks import block_mask, boolean_mask
from tests.unit.data.examples import VOCABULARY, mixed_samples

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


@pytest.mark.parametrize("pattern", ["window", "row_column", "window_strided"])
def test_a_sparse_block_mask_attends_like_the_boolean_mask(pattern: str) -> None:
    """Values and gradients."""
    codes = CodeAttentionConfig.model_validate({"pattern": pattern, "rows": 2, "columns": 2, "stride": 4})
    grid = torch.randint(0, 100, (20, 24), generator=torch.Generator().manual_seed(0)).numpy()
    painting = Sample("large", (), (Branch("text_to_image", (Text((300, 301)),), Codes(grid)),))
    batch = pack([painting, *mixed_samples()], VOCABULARY, 8, 560)
    rule = [part.cuda() for part in (batch.sample, batch.branch, batch.causal, batch.position)]
    torch.manual_seed(0)
    given = torch.randn(3, len(batch.ids), 4, batch.ids.shape[1], 64, device="cuda")
    results = []
    for form in (boolean_mask, block_mask):
        leaf = given.clone().requires_grad_()
        mixed = attend(leaf[0], leaf[1], leaf[2], form(rule[0], rule[1], rule[2], rule[3], codes))
        results.append((mixed, *torch.autograd.grad(mixed.square().sum(), leaf)))
    for plain, blocks in zip(*results, strict=True):
        torch.testing.assert_close(blocks, plain, atol=5e-3, rtol=5e-3)
