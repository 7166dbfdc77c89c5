"""Sampling against hand-worked distributions."""

import math
from typing import Any

import pytest
import torch

from m6.config import UserError
from m6.generate.sampling import Sampling, choose, generators, guide, keep_likeliest

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]]))


def kept(top_k: int, top_p: float) -> list[list[int]]:
    return [torch.isfinite(row).nonzero()[:, 0].tolist() for row in keep_likeliest(LOGITS, top_k, top_p)]


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        (2, 1.0, [[0, 1], [2, 3]]),
        (0, 0.7, [[0, 1], [2, 3]]),
        (0, 0.81, [[0, 1, 2], [1, 2, 3]]),
        (0, 0.01, [[0], [3]]),
        (9, 1.0, [[0, 1, 2, 3], [0, 1, 2, 3]]),
    ],
)
def test_only_the_likeliest_are_kept(top_k: int, top_p: float, expected: list[list[int]]) -> None:
    assert kept(top_k, top_p) == expected


def test_frequencies_are_the_probabilities() -> None:
    count = 4000
    drawn = choose(LOGITS[:1].expand(count, -1), Sampling(temperature=1.0), generators(0, count))
    shares = torch.bincount(drawn, minlength=4) / count
    torch.testing.assert_close(shares, LOGITS[0].exp(), atol=0.03, rtol=0)


def test_temperature_zero_takes_the_likeliest_and_forbidden_tokens_are_never_drawn() -> None:
    assert choose(LOGITS, Sampling(), []).tolist() == [0, 3]
    barred = LOGITS.masked_fill(torch.tensor([[True, False, False, False], [False, False, False, True]]), -torch.inf)
    for seed in range(50):
        first, second = choose(barred, Sampling(temperature=2.0), generators(seed, 2)).tolist()
        assert first != 0
        assert second != 3


def test_guidance_by_hand() -> None:
    assert guide(torch.tensor(2.0), torch.tensor(1.0), 3.0).item() == 4.0
    assert math.isclose(guide(torch.tensor(2.0), torch.tensor(1.0), 1.0).item(), 2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.5}, "temperature -0.5"),
        ({"temperature": math.nan}, "temperature nan"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 10**20}, "seed 1000"),
    ],
)
def test_senseless_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**values)
