"""Worker processes: what they do, and how it is said when one fails or is killed."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from m6.config import UserError
from m6.data.config import DataConfig, Entry
from m6.data.images import decode_image
from m6.data.loader import Steps, batches, to_device
from m6.data.mixture import Mixture
from m6.data.packing import Batch
from m6.tokenizer.vocabulary import Vocabulary
from tests.unit.small_corpus import tokenizer, write_corpus

DATA = DataConfig(
    mixture=(Entry(source="scenes", samples=2, objectives={"captioning": 1.0}),), image_input="pixels", row_length=128
)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    folder = tmp_path_factory.mktemp("corpus")
    text = tokenizer(write_corpus(folder))
    return Steps(Mixture(folder, None, text, DATA, seed=0), Vocabulary(text.size, 100), 8)


def test_pictures_are_decoded_by_the_workers(steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(encoded: bytes) -> object:
        (tmp_path / str(os.getpid())).touch()
        return decode_image(encoded)

    monkeypatch.setattr("m6.data.mixture.decode_image", noted)
    assert len(list(batches(steps, 0, 4, num_workers=2))) == 4
    pids = {int(path.name) for path in tmp_path.iterdir()}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_killed_worker_is_one_line_when_the_next_batch_is_asked_for(steps: Steps) -> None:
    stream = batches(steps, 0, 10_000, num_workers=2)
    next(stream)
    victim = multiprocessing.active_children()[0].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)  # nothing is said yet
    with pytest.raises(UserError, match=r"^a process that prepares batches was killed.*loop\.num_workers[^\n]*$"):
        drain(stream)


def test_a_worker_that_dies_while_it_hands_over_is_told_alike(monkeypatch: pytest.MonkeyPatch, steps: Steps) -> None:
    def gone(loader: object) -> Iterator[Batch]:
        raise ConnectionResetError("[Errno 104] Connection reset by peer")

    monkeypatch.setattr("m6.data.loader._begun", gone)
    with pytest.raises(UserError, match=r"^a process that prepares batches was killed"):
        drain(batches(steps, 0, 3, num_workers=1))


def test_every_tensor_of_a_batch_leaves_from_pinned_memory(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a device that holds no numbers, since pinning needs CUDA: the calls are noted."""
    pinned: list[int] = []
    sent: list[tuple[int, bool]] = []
    send = torch.Tensor.to

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(id(tensor))
        return tensor

    def noted(tensor: torch.Tensor, device: torch.device, non_blocking: bool = False) -> torch.Tensor:
        sent.append((id(tensor), non_blocking))
        return send(tensor, device)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", noted)
    batch = steps[0]
    there = to_device(batch, torch.device("meta"))
    tensors = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)] + [*batch.pictures]
    assert batch.pictures
    assert sorted(pinned) == sorted(id(tensor) for tensor in tensors)
    assert sent == [(tensor, True) for tensor in pinned]
    assert {value.device.type for value in (there.ids, there.labels, *there.pictures)} == {"meta"}


def test_a_mistake_that_a_worker_finds_is_said_as_it_is() -> None:
    class Bad(Dataset[Batch]):
        def __getitem__(self, step: int) -> Batch:
            raise UserError("mixture: this is wrong")

    for num_workers in (0, 1):
        with pytest.raises(UserError, match=r"^mixture: this is wrong$"):
            drain(batches(Bad(), 0, 3, num_workers))


def drain(stream: Iterator[Batch]) -> None:
    for _ in stream:
        pass
