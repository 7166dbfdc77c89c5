"""Numbers that mean nothing are refused where they are given, in one line that names the field and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from m6.config import UserError
from m6.data.config import Entry
from m6.flags import fields
from m6.recipes.recipe import Recipe

BOUNDED = ("seed", "tokenizer", "vqgan", "model", "pretrain", "evaluate")
NUMBERS = [
    (name, value)
    for name, value, _ in fields(Recipe())
    if name.split(".")[0] in BOUNDED and isinstance(value, int | float) and not isinstance(value, bool)
]


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        Recipe().override(values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name, _ in NUMBERS])
def test_every_number_has_a_least_value(name: str) -> None:
    assert "-9 " in (line := refusal({name: -9}))
    assert name.split(".")[-1] in line


@pytest.mark.parametrize("name", [name for name, value in NUMBERS if isinstance(value, float)])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_every_number_is_finite(name: str, value: str) -> None:
    assert refusal({name: value}) == f"{name}: {value!r} should be a finite number"


EDGES = [  # the last value that is refused, the first that is allowed, and what the line says
    ("model.num_layers", 0, 1, "0 should be greater than or equal to 1"),
    ("model.hidden_size", 0, 8, "0 should be greater than or equal to 1"),
    ("model.num_heads", 0, 1, "0 should be greater than or equal to 1"),
    ("model.patch_size", 0, 1, "0 should be greater than or equal to 1"),
    ("model.init_std", 0, 1e-9, "0 should be greater than 0"),
    ("model.experts.num_experts", 0, 1, "0 should be greater than or equal to 1"),
    ("model.experts.prototypes", 0, 1, "0 should be greater than or equal to 1"),
    ("model.experts.every", 0, 1, "0 should be greater than or equal to 1"),
    ("model.experts.ffn_size", -5, 0, "-5 should be greater than or equal to 0"),
    ("model.experts.capacity_factor", -1, 0, "-1 should be greater than or equal to 0"),
    ("model.crops.learning_rate_share", 0, 1, "0 should be greater than 0"),
    ("model.crops.learning_rate_share", 1.01, 1, "1.01 should be less than or equal to 1"),
    ("pretrain.loop.num_steps", 0, 1, "0 should be greater than or equal to 1"),
    ("pretrain.loop.keep_checkpoints", 0, 1, "0 should be greater than or equal to 1"),
    ("pretrain.loop.log_every", 0, 1, "0 should be greater than or equal to 1"),
    ("pretrain.loop.heldout_batches", 0, 1, "0 should be greater than or equal to 1"),
    ("pretrain.loop.num_workers", -1, 0, "-1 should be greater than or equal to 0"),
    ("pretrain.loop.optimizer.learning_rate", 0, 1e-9, "0 should be greater than 0"),
    ("pretrain.loop.optimizer.clip_norm", 0, 1e-9, "0 should be greater than 0"),
    ("pretrain.loop.optimizer.momentum", 1, 0.99, "1 should be less than 1"),
    ("pretrain.data.row_length", 0, 1, "0 should be greater than or equal to 1"),
    ("pretrain.data.masked_share", 1.5, 1, "1.5 should be less than or equal to 1"),
    ("pretrain.data.mean_span", 0.5, 1, "0.5 should be greater than or equal to 1"),
    ("vqgan.batch_size", 0, 1, "0 should be greater than or equal to 1"),
    ("tokenizer.vocab_size", 261, 262, "261 should be greater than or equal to 262"),
]


@pytest.mark.parametrize(("name", "refused", "allowed", "said"), EDGES)
def test_the_line_says_field_value_and_what_is_allowed(name: str, refused: Any, allowed: Any, said: str) -> None:
    assert refusal({name: refused}) == f"{name}: {said}"
    Recipe().override({name: allowed})


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"pretrain.loop.optimizer.betas": [0.9, 1.5]},
            "pretrain.loop.optimizer.betas.1: 1.5 should be less than 1",
        ),
        (
            {"pretrain.loop.optimizer.schedule": [[0, 0], [1, "nan"]]},
            "pretrain.loop.optimizer.schedule.1.1: 'nan' should be a finite number",
        ),
        ({"vqgan.model.channels": [8, 0]}, "vqgan.model.channels.1: 0 should be greater than or equal to 1"),
        ({"vqgan.model.channels": []}, "vqgan.model.channels: [] is too short, it takes 1 at least"),
        (
            {"vqgan.model.quantizer.levels": [8, 1]},
            "vqgan.model.quantizer.levels.1: 1 should be greater than or equal to 2",
        ),
        (
            {"model.experts.num_experts": 8, "model.experts.every": 5},
            "model: experts.every 5 exceeds num_layers 4: no layer would have experts",
        ),
        (
            {"model.stem": "convolutional", "model.patch_size": 64},
            "model: hidden_size 192 is not a multiple of 128, which a convolutional stem needs for patch_size 64",
        ),
        (
            {"model.max_side": 7, "pretrain.data.image_input": "pixels"},
            "corpus.image_size 64 gives 8 of the image tokenizer's patches on a side, more than model.max_side 7",
        ),
        (
            {"model.max_side": 8, "model.patch_size": 4, "pretrain.data.image_input": "pixels"},
            "corpus.image_size 64 gives 16 of the model's patches on a side, more than model.max_side 8",
        ),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(values: dict[str, Any], line: str) -> None:
    assert refusal(values) == line


def test_a_line_of_the_mixture_has_its_ranges_too() -> None:
    for wrong in ({"samples": -1}, {"samples": "nan"}, {"first_step": -1}, {"objectives": {"poem": -1}}):
        with pytest.raises(UserError, match=f"^{next(iter(wrong))}"):
            Entry.model_validate({"source": "poems", "samples": 1, "objectives": {"poem": 1}}).override(wrong)
