"""A training that begins with the weights of another run: the same ones, or experts made of them, or one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m6.config import UserError
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.model.upcycle import upcycle
from m6.recipes.recipe import Recipe
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers
from m6.train.start import begin, check_start

DENSE = ModelConfig(num_layers=2, hidden_size=32, num_heads=2, ffn_size=64)
EXPERTS = {"experts.num_experts": 4, "experts.top_k": 2}


def make_run(folder: Path, model: ModelConfig = DENSE, tokenizer: str = "words", trained: bool = True) -> Path:
    """A run folder as far as another one reads it."""
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "tokenizer.json").write_text(tokenizer)
    Recipe(model=model).write(folder / "config.json")
    if trained:
        save(folder, 1, model)
        save(folder, 2, model)
    return folder


def save(folder: Path, seed: int, model: ModelConfig = DENSE) -> None:
    torch.manual_seed(seed)
    save_weights(folder / "pretrain", seed, Transformer(model, 50))


def save_weights(folder: Path, step: int, model: torch.nn.Module) -> None:
    with Checkpoints(folder, model, Optimizers(model, OptimizerConfig(), 1), LoopConfig(), {}) as saved:
        saved.save(step)


def state_of(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return Transformer(DENSE, 50).state_dict()


def begun(other: Path, folder: Path, model: ModelConfig = DENSE, vocabulary: int = 50) -> dict[str, Tensor]:
    torch.manual_seed(9)
    made = Transformer(model, vocabulary)
    begin(made, other, folder, seed=0)
    return made.state_dict()


def equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_begins_with_the_newest_weights(tmp_path: Path) -> None:
    other, mine = make_run(tmp_path / "other"), make_run(tmp_path / "mine", trained=False)
    assert equal(begun(other, mine), state_of(2))


def test_dense_weights_become_those_of_experts(tmp_path: Path) -> None:
    other, mine = make_run(tmp_path / "other"), make_run(tmp_path / "mine", trained=False)
    config = DENSE.override(EXPERTS)
    found = begun(other, mine, config)
    assert equal(found, upcycle(state_of(2), config, seed=0))
    made, dense = Transformer(config, 50), Transformer(DENSE, 50)
    made.load_state_dict(found)
    dense.load_state_dict(state_of(2))
    ids, position = torch.arange(8).view(2, 4), torch.zeros(2, 4, 3, dtype=torch.int64)
    torch.testing.assert_close(made(ids, position, None), dense(ids, position, None), atol=1e-5, rtol=1e-4)


def test_experts_go_on_as_experts(tmp_path: Path) -> None:
    config = DENSE.override(EXPERTS)
    other, mine = make_run(tmp_path / "other", config), make_run(tmp_path / "mine", trained=False)
    changed = {"experts.capacity_factor": 2.0, "experts.kernel": "loop", "init_std": 0.1}
    found = begun(other, mine, config.override(changed))
    torch.manual_seed(2)
    assert equal(found, Transformer(config, 50).state_dict())


def test_own_checkpoints_go_first_and_the_other_run_may_be_gone(tmp_path: Path) -> None:
    check_start(tmp_path / "gone", DENSE, make_run(tmp_path / "mine"))
    with pytest.raises(UserError, match="gone is not a run folder"):
        check_start(tmp_path / "gone", DENSE, make_run(tmp_path / "new", trained=False))


@pytest.mark.parametrize(
    ("there", "here", "line"),
    [
        (
            {"num_layers": 3, "num_heads": 4, "rope_base": 500.0},
            {},
            "here): num_layers: 3, 2; num_heads: 4, 2; rope_base: 500.0, 10000.0",
        ),
        (EXPERTS, {}, "experts.num_experts: 4, 1; experts.top_k: 2, 1"),
        (EXPERTS, {**EXPERTS, "experts.balance": "bias"}, "here): experts.balance: 'loss', 'bias'"),
        ({}, {**EXPERTS, "experts.ffn_size": 16}, "here): experts.ffn_size: 64, 16"),
        ({"num_layers": 6}, {**EXPERTS, "num_layers": 4}, "here): num_layers: 6, 4"),
    ],
    ids=str,
)
def test_another_model_is_one_line_with_all_that_differs(
    tmp_path: Path, there: dict[str, Any], here: dict[str, Any], line: str
) -> None:
    other, mine = make_run(tmp_path / "other", DENSE.override(there)), make_run(tmp_path / "mine", trained=False)
    for ask in (
        lambda: check_start(other, DENSE.override(here), mine),
        lambda: begun(other, mine, DENSE.override(here)),
    ):
        with pytest.raises(UserError, match=r"pretrain\.start_from: .*other has another model") as caught:
            ask()
        assert str(caught.value).endswith(line)


def test_other_tokenizers_are_refused(tmp_path: Path) -> None:
    other = make_run(tmp_path / "other")
    mine = make_run(tmp_path / "mine", tokenizer="other words", trained=False)
    with pytest.raises(UserError, match=r"start_from: tokenizer of .*other is not that of .*mine, so ids mean other"):
        begun(other, mine)
    mine = make_run(tmp_path / "same", trained=False)
    for run, pixels in ((other, 1), (mine, 2)):
        torch.manual_seed(pixels)
        save_weights(run / "vqgan", 1, torch.nn.Linear(2, 1))
    with pytest.raises(UserError, match=r"start_from: vqgan of .*other is not that of .*same"):
        begun(other, mine)


def test_a_run_without_weights_and_another_vocabulary_are_refused(tmp_path: Path) -> None:
    mine = make_run(tmp_path / "mine", trained=False)
    with pytest.raises(UserError, match=r"no checkpoint here; run `m6 pretrain` first"):
        begun(make_run(tmp_path / "untrained", trained=False), mine)
    other = make_run(tmp_path / "other")
    for model in (DENSE, DENSE.override(EXPERTS)):
        with pytest.raises(UserError, match=r"do not fit the model of this config .*embedding\.weight"):
            begun(other, mine, model, vocabulary=60)
