"""Rows of metrics, and batches that are asked for ahead."""

import pytest
import torch

from m6.data.loader import one_ahead
from m6.train import window

CPU = torch.device("cpu")


def test_a_row_is_the_mean_of_what_came_and_its_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.5, 1.5, 1.5, 4.0, 4.0])
    monkeypatch.setattr("m6.train.window.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(window, "measured_peak", lambda device, dtype: 1e12)
    monkeypatch.setattr(window, "datasheet_peak", lambda device: 4e12)
    gathered = window.Window(CPU, torch.float32)  # begins at 0 s
    batches = iter(["first", "second"])
    assert gathered.next_of(batches) == "first"  # from 1 s to 1.5 s
    counts = {"tokens": 30.0, "tokens/text": 20.0, "places": 40.0, "flops": 1e12, "flops_square": 2e12}
    gathered.add(counts, {"loss": (torch.tensor(2.0), 1.0), "loss/poem": (torch.tensor(6.0), torch.tensor(3))})
    assert gathered.next_of(batches) == "second"  # takes no time
    gathered.add(counts, {"loss": (torch.tensor(4.0), 1.0), "loss/poem": (torch.tensor(0.0), torch.tensor(0))})
    row = gathered.close()  # at 4 s
    memory = row.pop("peak_memory_gib")
    assert 0.01 < memory < 100
    assert row == pytest.approx({
        "loss": 3.0, "loss/poem": 2.0, "tokens": 60.0, "seconds": 4.0, "tokens_per_second": 15.0,
        "tokens_per_second/text": 10.0, "padding_share": 0.25, "stall_share": 0.125,
        "tflops_per_second": 0.5, "mfu": 0.5, "mfu_datasheet": 0.125,
        "tflops_per_second_square": 1.0, "mfu_square": 1.0, "mfu_datasheet_square": 0.25,
    })  # fmt: skip


def test_the_next_batch_is_asked_for_before_the_last_is_done() -> None:
    asked: list[int] = []

    def numbers() -> object:
        for number in range(4):
            asked.append(number)
            yield number

    stream = one_ahead(numbers())  # type: ignore[arg-type, var-annotated]
    assert next(stream) == 0
    assert asked == [0, 1]
    assert list(stream) == [1, 2, 3]
