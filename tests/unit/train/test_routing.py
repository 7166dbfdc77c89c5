"""Metrics of experts by hand: load, drop share and entropy of a layer, and of each modality in it."""

import pytest
import torch

from m6.model.experts import Routing
from m6.model.experts.router import Tally
from m6.train.routing import MODALITIES, layer_figures
from m6.train.window import Figures, divided, sums

TEXT, PATCH, CODE = (MODALITIES.index(name) for name in ("text", "patch", "code"))


NOTHING = Tally(*torch.zeros(4))
"""Of the losses, which are not told here."""


def test_figures_of_a_layer_by_hand() -> None:
    """Four experts, two choices a token: three tokens of text, two patches, one of padding, one of filling."""
    routing = Routing(
        expert=torch.tensor([[0, 1], [0, 2], [0, 1], [0, 3], [3, 1], [4, 4], [4, 4]]),
        kept=torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1], [0, 1], [0, 0], [0, 0]], dtype=torch.bool),
        load=torch.tensor([4, 3, 1, 2]),
        entropy=torch.tensor([0.1, 0.2, 0.6, 1.0, 0.5, 9.0, 9.0]),
        tally=NOTHING,
    )
    row = divided(sums([layer_figures(routing, torch.tensor([TEXT, TEXT, TEXT, PATCH, PATCH, -1]))]))
    assert row == pytest.approx({
        "load": 4 / (10 / 4), "dropped": 4 / 10, "entropy": 2.4 / 5,
        "load/text": 3 / (6 / 4), "dropped/text": 3 / 6, "entropy/text": 0.3,
        "load/patch": 2 / (4 / 4), "dropped/patch": 1 / 4, "entropy/patch": 0.75,
    })  # fmt: skip


def test_a_modality_counts_by_its_tokens_and_only_where_it_is() -> None:
    """Two batches, the second without a code: what is said of codes is the first's alone, of text the mean of both,
    by tokens but for the load."""

    def batch(expert: list[int], kept: list[bool], entropy: list[float], kinds: list[int]) -> Figures:
        chosen = torch.tensor(expert)
        load = torch.bincount(chosen, minlength=2)
        routing = Routing(chosen[:, None], torch.tensor(kept)[:, None], load, torch.tensor(entropy), NOTHING)
        return layer_figures(routing, torch.tensor(kinds))

    row = divided(sums([
        batch([0, 1, 0], [True, True, False], [0.3, 0.5, 0.7], [TEXT, CODE, CODE]),
        batch([0, 1, 1], [False, True, True], [0.1, 0.1, 0.1], [TEXT, TEXT, TEXT]),
    ]))  # fmt: skip
    assert (row["load/code"], row["dropped/code"]) == (1.0, 0.5)
    assert row["entropy/code"] == pytest.approx(0.6)
    assert row["load/text"] == pytest.approx((2 + 4 / 3) / 2)
    assert (row["dropped/text"], row["entropy/text"]) == pytest.approx((1 / 4, 0.6 / 4))
    assert not any("patch" in name for name in row)
