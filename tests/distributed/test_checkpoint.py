"""Checkpoints of several ranks: gone on from by others, exported, damaged, cut short by a rank that dies."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from m6.config import UserError
from m6.model.export import export_weights
from m6.model.weights import TensorFiles, checkpoints, load_weights
from m6.parallel.fsdp import shard
from m6.parallel.mesh import AgreedError, Ranks
from m6.parallel.state import model_parts
from m6.train.checkpoint import Checkpoints
from m6.train.loop import train
from m6.train.optimizer import Optimizers
from m6.train.pretrain import muon_matrices
from tests.distributed.launch import run_on
from tests.distributed.test_loop import EXPERTS, MUON
from tests.distributed.training import LOOP, Outcome, alone, assert_same, make_model, make_task, train_small


def stop_after_five(ranks: Ranks, folder: Path, experts: dict[str, Any]) -> None:
    """A training that ends in the middle of step 6, after the checkpoint of step 5."""
    task = make_task(ranks, experts)
    sound = task.batches

    def batches(start: int, stop: int, workers: int) -> Any:
        for number, batch in enumerate(sound(start, stop, workers)):
            if number == 5:
                raise AgreedError("stopped")
            yield batch

    with pytest.raises(AgreedError, match="stopped"):
        train(replace(task, batches=batches), LOOP.override(MUON), folder, "test", {"a": 1}, ranks)


def go_on(world: int, folder: Path, experts: dict[str, Any], layout: dict[str, int]) -> Outcome:
    if world == 1:
        return alone(folder, experts, MUON)
    outcome: Outcome = run_on(world, train_small, folder, experts, MUON, **layout)[0]
    return outcome


@pytest.mark.parametrize(
    ("experts", "layout", "others"),
    [
        ({}, {}, {1: {}, 2: {}, 3: {}}),
        (EXPERTS, {"experts": 2}, {1: {}, 2: {"experts": 2}, 3: {}}),
        (EXPERTS, {"replicate": 2, "experts": 2}, {1: {}, 2: {"replicate": 2}, 3: {"replicate": 3}}),
    ],
    ids=["dense", "experts", "copies"],
)
def test_a_checkpoint_of_four_ranks_is_gone_on_from_by_one_two_and_three(
    tmp_path: Path, experts: dict[str, Any], layout: dict[str, int], others: dict[int, dict[str, int]]
) -> None:
    """Five steps on four ranks, five more on others: as ten by one process. Sides are no multiples of 4."""
    expected = alone(tmp_path / "single", experts, MUON)
    run_on(4, stop_after_five, tmp_path / "four", experts, **layout)
    (written,) = checkpoints(tmp_path / "four")
    assert len(list((written / "model").iterdir())) == 4
    for world, config in others.items():
        folder = shutil.copytree(tmp_path / "four", tmp_path / str(world))
        found = go_on(world, folder, experts, config)
        assert len(found.batches) == 5
        assert_same(found, expected)


def test_a_checkpoint_of_one_process_is_gone_on_from_by_four_ranks(tmp_path: Path) -> None:
    expected = alone(tmp_path / "single", EXPERTS, MUON)
    stop_after_five(Ranks(), tmp_path / "one", EXPERTS)
    found = go_on(4, tmp_path / "one", EXPERTS, {"experts": 2})
    assert len(found.batches) == 5
    assert_same(found, expected)


@pytest.mark.parametrize("layout", [{}, {"experts": 2}, {"replicate": 2, "experts": 2}, {"experts": 4}], ids=str)
def test_what_four_ranks_wrote_is_the_whole_model_bit_for_bit(tmp_path: Path, layout: dict[str, int]) -> None:
    """Read by one process without a group, and exported; against weights gathered by collectives."""
    outcome = run_on(4, train_small, tmp_path, EXPERTS, {**MUON, "checkpoint_every": 3}, 3, **layout)[0]
    (tmp_path / "out").mkdir()
    export_weights(tmp_path / "step-00000003", tmp_path / "out", 20_000)
    for folder in (tmp_path / "step-00000003", tmp_path / "out"):
        model = make_model(**EXPERTS)
        load_weights(folder, model)
        found = model.state_dict()
        assert found.keys() == outcome.weights.keys()
        for name, weight in outcome.weights.items():
            assert torch.equal(found[name], weight), name
    states = TensorFiles(tmp_path / "step-00000003" / "optimizer").tensors()
    assert states["momentum.blocks.0.ffn.experts.up"].shape == model.blocks[0].ffn.experts.up.shape  # type: ignore[union-attr]
    assert json.loads((tmp_path / "step-00000003" / "state.json").read_text())["ranks"] == 4


def count_reads(ranks: Ranks, folder: Path) -> tuple[int, int]:
    """Elements that lie on this rank, and elements that it read."""
    model = make_model(**EXPERTS)
    shard(model, ranks)
    optimizers = Optimizers(model, LOOP.override(MUON).optimizer, 10, muon_matrices(model), ranks=ranks)
    read = 0
    sound = HuggingFaceStorageReader._process_read_request

    def counted(self: Any, file: Any, request: Any, planner: Any) -> None:
        nonlocal read
        read += torch.Size(request.lengths).numel()
        sound(self, file, request, planner)

    HuggingFaceStorageReader._process_read_request = counted  # type: ignore[assignment,method-assign]
    assert Checkpoints(folder, model, optimizers, LOOP, {}, ranks).resume() == 5
    parts = [*model_parts(model).values(), *optimizers.parts_of_states().values()]
    return sum(part.local.numel() for part in parts), read


def test_a_rank_reads_its_own_part_alone(tmp_path: Path) -> None:
    stop_after_five(Ranks(), tmp_path, EXPERTS)
    whole = 3 * sum(weight.numel() for weight in make_model(**EXPERTS).parameters())
    for held, read in run_on(4, count_reads, tmp_path, experts=2):
        assert read == held
        assert held < 0.4 * whole


def resume_message(ranks: Ranks, folder: Path, experts: dict[str, Any], loop: dict[str, Any]) -> str:
    with pytest.raises(AgreedError) as caught:
        train_small(ranks, folder, experts, loop)
    return str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def test_a_damaged_file_of_one_rank_is_one_line_on_all(tmp_path: Path) -> None:
    run_on(2, stop_after_five, tmp_path / "sound", EXPERTS)
    harms: tuple[tuple[str, Callable[[Path], None]], ...] = (
        ("model/shard-00002*", Path.unlink),
        ("optimizer/shard-00001*", cut),
        ("model/shard-00001*", alter),
    )
    for number, (pattern, harm) in enumerate(harms):
        folder = shutil.copytree(tmp_path / "sound", tmp_path / str(number))
        (path,) = (folder / "step-00000005").glob(pattern)
        harm(path)
        for line in run_on(3, resume_message, folder, EXPERTS, MUON):
            assert line.startswith(f"{path}: missing, cut short or altered since it was written; remove ")


def test_a_checkpoint_of_another_config_is_one_line_on_all(tmp_path: Path) -> None:
    run_on(2, stop_after_five, tmp_path, EXPERTS)
    for experts, loop, line in (
        (
            {**EXPERTS, "ffn_size": 20},
            MUON,
            r"model: its tensors .*up is \[4, .*\], not \[4, .*\], and 3 more",
        ),
        ({}, MUON, "model: its tensors do not fit .*blocks.*is missing, and"),
        (EXPERTS, {"optimizer.muon_learning_rate": 0.0}, r"optimizer: its tensors .*step\.blocks.*is missing, and"),
    ):
        for told in run_on(2, resume_message, tmp_path, experts, loop):
            with pytest.raises(UserError, match=f"step-00000005.*{line}"):
                raise UserError(told)


def save_twice(ranks: Ranks, folder: Path, harm: Any) -> str:
    """Saves update 1 as it should be, and update 2 with a harm done to the writing of rank 1."""
    model = make_model(**EXPERTS)
    shard(model, ranks)
    optimizers = Optimizers(model, LOOP.override(MUON).optimizer, 10, muon_matrices(model), ranks=ranks)
    with Checkpoints(folder, model, optimizers, LOOP, {}, ranks) as saved:
        saved.save(1)
        saved.wait()
        if ranks.rank == 1:
            HuggingFaceStorageWriter.write_data = harm  # type: ignore[method-assign]
        saved.save(2)
        with pytest.raises(AgreedError) as caught:
            saved.save(3)
    return str(caught.value)


def train_while_writing(ranks: Ranks, folder: Path) -> float:
    """The second rank writes before it trains on, the first one after."""
    model = make_model(**EXPERTS)
    shard(model, ranks)
    trained, sound = threading.Event(), HuggingFaceStorageWriter.write_data

    def write_data(self: Any, *given: Any) -> Any:
        assert ranks.rank == 1 or trained.wait(60)
        return sound(self, *given)

    HuggingFaceStorageWriter.write_data = write_data  # type: ignore[assignment,method-assign]
    with Checkpoints(folder, model, Optimizers(model, LOOP.optimizer, 10, ranks=ranks), LOOP, {}, ranks) as saved:
        saved.save(1)
        time.sleep(ranks.rank * 0.5)
        total = ranks.sum(torch.ones(1000))
        trained.set()
    return float(total.sum())


def test_what_ranks_exchange_for_a_checkpoint_keeps_apart_from_the_training(tmp_path: Path) -> None:
    assert run_on(2, train_while_writing, tmp_path) == [2000.0, 2000.0]
    load_weights(tmp_path / "step-00000001", make_model(**EXPERTS))


def fill_disk(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_of_one_rank_is_one_line_on_all_and_leaves_the_one_before(tmp_path: Path) -> None:
    for line in run_on(3, save_twice, tmp_path, fill_disk):
        assert line.startswith(f"{tmp_path}: a checkpoint cannot be written (No space left on device); free some space")
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    load_weights(tmp_path / "step-00000001", make_model(**EXPERTS))


def test_a_rank_that_dies_while_it_writes_leaves_the_one_before(tmp_path: Path) -> None:
    with pytest.raises((EOFError, pytest.fail.Exception)):
        run_on(2, save_twice, tmp_path, die)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000001"]
    (tmp_path / ".step-00000002.tmp").mkdir(exist_ok=True)  # the first rank may have had the time to remove it
    run_on(2, partial(save_once, step=2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001", "step-00000002"}
    load_weights(tmp_path / "step-00000001", make_model(**EXPERTS))


def die(*_: Any) -> None:
    os._exit(9)


def save_once(ranks: Ranks, folder: Path, step: int) -> None:
    model = make_model(**EXPERTS)
    shard(model, ranks)
    with Checkpoints(folder, model, Optimizers(model, LOOP.optimizer, 10, ranks=ranks), LOOP, {}, ranks) as saved:
        saved.save(step)
