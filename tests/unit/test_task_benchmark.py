"""The benchmark of the tasks: what is trained anew, how long for, rows that go on, its table, and the bits of peers."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("benchmarks", reason="the benchmarks come with the repository alone")

from benchmarks import tasks
from benchmarks.peers import task_models
from benchmarks.peers.task_models import BEGIN, END, PAD, SHIFT, Written, batches, best
from benchmarks.task_rows import Rows, table
from m6.config import UserError
from m6.data.sample import Branch, Sample, Text
from m6.recipes.recipe import Recipe
from m6.tasks.example import Example
from m6.train.task_answers import surprise
from tests.unit.generate.small_engine import small_engine

SPEED = 0.5  # seconds of an update


@pytest.fixture
def given(tmp_path: Path) -> argparse.Namespace:
    """A call: a run folder of which only the names of its weights count, and two questions."""
    run = tmp_path / "run"
    (run / "tokenizer").mkdir(parents=True)
    (run / "tokenizer" / "tokenizer.json").write_text("{}")
    Recipe().write(run / "config.json")
    weigh(run, "1")
    data = tmp_path / "data" / "question_answering"
    data.mkdir(parents=True)
    for split in ("train", "test"):
        (data / f"{split}.jsonl").write_text('{"question": "云是什么", "answer": "水"}\n', encoding="utf-8")
    return argparse.Namespace(
        run=run, data=data.parent, work=tmp_path / "work", json=tmp_path / "rows.json", also=[], only=(), seeds=1,
        minutes=1.0, pretraining=0.0, examples=0, split="test", smoke=False, threads=2, python=None,
    )  # fmt: skip


def weigh(run: Path, digest: str) -> None:
    checkpoint = run / "pretrain" / "step-00000002"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "state.json").write_text(json.dumps({"sha256": {"model/a": digest}}))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The updates of every training that is started; one takes `SPEED` seconds an update, in a trial half of it."""
    started: list[int] = []

    def program(command: Sequence[object], log: Path, threads: int) -> None:
        words = [str(word) for word in command]
        out, steps = Path(words[words.index("--out") + 1]), int(words[words.index("--finetune.loop.num_steps") + 1])
        started.append(steps)
        each = SPEED / 2 if out.name.endswith("tried") else SPEED
        rows = [(min(at + 10, steps), each * (min(at + 10, steps) - at)) for at in range(0, steps, 10)]
        (out / "finetune").mkdir(parents=True)
        lines = [json.dumps({"step": step, "seconds": seconds, "tokens": 7}) + "\n" for step, seconds in rows]
        (out / "finetune" / "metrics.jsonl").write_text("".join(lines))
        (out / "finetune" / "done.json").write_text('{"parameters_trained": 5}')

    monkeypatch.setattr(tasks, "program", program)
    monkeypatch.setattr(tasks.Course, "room", lambda course, run: [])
    return started


def train(given: argparse.Namespace, seed: int = 0, *flags: str) -> tuple[Path, float]:
    return tasks.Course(given, "question_answering", seed).trained(given.run, flags)


def test_a_training_takes_the_minutes_that_are_asked_for(given: argparse.Namespace, trainings: list[int]) -> None:
    """The trial was twice as fast as the training is, which is therefore made anew at the speed that it had."""
    _, seconds = train(given)
    assert trainings == [40, 240, 120]
    assert seconds == 60


def test_only_an_equal_training_is_taken_for_done(given: argparse.Namespace, trainings: list[int]) -> None:
    first = train(given)
    count = len(trainings)
    assert train(given) == first
    assert len(trainings) == count

    def anew(change: Callable[[], None] = lambda: None, seed: int = 0, *flags: str) -> bool:
        change()
        trainings.clear()
        return train(given, seed, *flags) != first and bool(trainings)

    assert anew(lambda: setattr(given, "minutes", 2.0))
    given.minutes = 1.0
    assert anew(lambda: None, 1)
    assert anew(lambda: None, 0, "--finetune.fresh", "true")
    assert anew(lambda: setattr(given, "threads", 1))
    given.threads = 2
    assert anew(lambda: setattr(given, "smoke", True))
    given.smoke = False
    assert anew(lambda: weigh(given.run, "2"))
    weigh(given.run, "1")
    assert train(given) == first  # all is as it was
    with open(given.data / "question_answering" / "train.jsonl", "a", encoding="utf-8") as file:
        file.write('{"question": "雨是什么", "answer": "水"}\n')
    assert anew()


def test_rows_stand_after_each_task_and_are_not_measured_again(
    given: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of two seeds fails at first; then it alone is measured, and after a change both are."""
    measured: list[int] = []

    def rows(course: tasks.Course, clock: tasks.Clock) -> list[dict[str, Any]]:
        if course.seed == 1 and not measured[1:]:
            measured.append(1)
            raise UserError("benchmarks: no room on the disk")
        measured.append(course.seed)
        return [{"task": course.task, "seed": course.seed, "asked": course.asked, "value": 1.0}]

    monkeypatch.setattr(tasks.Course, "rows", rows)
    given.seeds = 2
    found, failed = tasks.measure(given)
    assert [row["seed"] for row in found] == [0]
    assert len(failed) == 1
    assert json.loads(given.json.read_text()) == found
    assert [row["seed"] for row in tasks.measure(given)[0]] == [0, 1]
    assert measured == [0, 1, 1]
    given.minutes = 3.0
    tasks.measure(given)
    assert measured == [0, 1, 1, 0, 1]
    assert len(json.loads(given.json.read_text())) == 2
    assert "no room on the disk" in capsys.readouterr().err


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"key": "other"}]')
    with pytest.raises(UserError, match="holds no rows of this benchmark"):
        Rows(path)
    assert path.read_text() == '[{"key": "other"}]'


def test_the_table_tells_intervals_and_sure_differences() -> None:
    def row(system: str, value: float, better: list[float | None] | None = None, **more: Any) -> dict[str, Any]:
        told = {"task": "poems", "score": "form_rate", "seed": 0, "low": value - 0.1, "high": value + 0.1, **more}
        return {**told, "system": system, "value": value, **({"better": better} if better else {})}

    rows = [
        row("m6", 0.5),
        row("gpt2", 0.3, [0.2, 0.05, 0.35]),
        row("m6_form", 0.9, [-0.4, -0.5, -0.3]),
        row("nearest_text", 0.45, [0.05, -0.1, 0.2]),
        row("m6", 0.7, score="distinct_1", low=None, high=None),
    ]
    lines = table(rows).splitlines()
    assert lines[0] == "| poems | m6 | gpt2 | m6_form | nearest_text |"
    assert lines[2] == (
        "| form_rate | 0.500 (0.400 to 0.600) | 0.300 (0.200 to 0.400) + | 0.900 (0.800 to 1.000) - "
        "| 0.450 (0.350 to 0.550) |"
    )
    assert lines[3] == "| distinct_1 | 0.700 | - | - | - |"
    assert "excludes zero" in lines[-1]


class Bigrams(Written):
    """A peer whose chances of a token are told by the one before: logits [V, V]."""

    def __init__(self, logits: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.pictures, self.body = None, "transformer"

        def body(input_ids: torch.Tensor, **_: Any) -> Any:
            return SimpleNamespace(last_hidden_state=logits[input_ids])

        self.model = SimpleNamespace(transformer=body, get_output_embeddings=lambda: lambda hidden: hidden)


def asked(prompt: list[int], answer: list[int]) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answer, "answers": [answer], "picture": 0}


def test_bits_of_a_peer_are_those_worked_out_by_hand() -> None:
    """p(a | begin) = 1/2, p(b | a) = 1/4, p(end | a) = 1/8, p(end | b) = 1: 3 bits of the prompt `a` do not count."""
    a, b = SHIFT, SHIFT + 1
    chances = torch.full((5, 5), 1e-30)
    chances[BEGIN, a], chances[a, b], chances[a, END], chances[b, END] = 0.5, 0.25, 0.125, 1.0
    chances[BEGIN, b], chances[a, a], chances[PAD] = 0.5, 0.625, 0.2
    peer = Bigrams(chances.log())
    examples = [asked([], [0]), asked([0], [1]), asked([], [0, 1])]
    nats = peer.surprises(examples)
    assert nats.tolist() == pytest.approx([math.log(16), math.log(4), math.log(8)])
    scores = surprise(
        nats.numpy(), [Example("1", "", ("云",)), Example("2", "云", ("水",)), Example("3", "", ("云水",))]
    )
    assert scores["bits_per_character"]() == pytest.approx((4 + 2 + 3) / 4)
    fits = peer.chosen([{**asked([], []), "choices": [1, 0]}], [[0], [1]])
    assert fits[0] == pytest.approx([math.log(0.5), -math.log(16)])


def test_bits_of_a_peer_count_what_ours_count() -> None:
    """Two models that know nothing, of vocabularies of one size: every token and the end are as likely."""
    engine = small_engine()
    for parameter in engine.model.parameters():
        nn.init.zeros_(parameter)
    texts = [("云是什么", "水"), ("", "天上的水"), ("雨", "云")]
    ids = [(engine.text(prompt).ids, engine.text(answer).ids) for prompt, answer in texts]
    samples = [
        Sample(str(at), (), (Branch("question_answering", (Text(prompt),) if prompt else (), Text(answer)),))
        for at, (prompt, answer) in enumerate(ids)
    ]
    size = engine.vocabulary.size
    peer = Bigrams(torch.zeros(size, size))
    theirs = peer.surprises([asked(list(prompt), list(answer)) for prompt, answer in ids]).numpy()
    np.testing.assert_allclose(engine.losses(samples), theirs, rtol=1e-5)
    np.testing.assert_allclose(theirs, [(len(answer) + 1) * math.log(size) for _, answer in ids])


def test_a_peer_in_a_batch_is_the_plain_model_alone() -> None:
    """The bits of GPT-2 of transformers, prompts and answers of unlike lengths together, and each by itself."""
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"layers": 1, "width": 16, "heads": 2, "inner": 32, "vocabulary": 9, "longest": 12, "pictures": None}
    peer = Written("gpt2", sizes).eval()
    examples = [asked([1, 2, 3], [4]), asked([], [5, 6, 7]), asked([8], [])]
    found = peer.surprises(examples).tolist()
    for each, nats in zip(examples, found, strict=True):
        prompt, answer = ([token + SHIFT for token in each[name]] for name in ("prompt", "answer"))
        ids = torch.tensor([BEGIN, *prompt, *answer, END])
        with torch.no_grad():
            chances = peer.model(ids[None]).logits[0, :-1].log_softmax(-1)
        own = chances[torch.arange(len(ids) - 1), ids[1:]][len(prompt) :]
        assert nats == pytest.approx(-float(own.sum()), rel=1e-5)


def test_batches_of_a_peer_are_whole_epochs_of_about_one_length() -> None:
    examples = [asked([0] * (at % 50), [at]) for at in range(640)]
    drawn = batches(examples, 0, by_length=True)
    epoch = [next(drawn) for _ in range(10)]
    assert sorted(each["answer"][0] for batch in epoch for each in batch) == list(range(640))
    assert (
        max(max(len(each["prompt"]) for each in batch) - min(len(each["prompt"]) for each in batch) for batch in epoch)
        < 10
    )
    assert best({3e-4: 2.0, 1e-3: 1.0, 3e-3: math.nan}) == 1e-3


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "poems").mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "data" / "poems" / f"{split}.jsonl").write_text(
            '{"title": "云", "form": "五言绝句", "poem": "云"}\n', encoding="utf-8"
        )
    where = ["--data", str(tmp_path / "data"), "--work", str(tmp_path / "work")]
    for words, line in {
        ("--run", str(tmp_path), *where): "is no pretrained run",
        ("--run", str(tmp_path), "--data", str(tmp_path)): "has no folder of a task",
        ("--run", str(tmp_path), *where, "--minutes", "0"): "--minutes 0.0 is too small",
        ("--run", str(tmp_path), *where, "--also", f"m6={tmp_path}"): "the name is taken",
    }.items():
        assert tasks.main(words) == 2
        told = [each for each in capsys.readouterr().err.splitlines() if "is missing" not in each]
        assert len(told) == 1, told
        assert line in told[0]


def test_a_program_that_fails_is_its_last_line_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(UserError, match=f"^benchmarks: the disk is full \\(all of it is in {log}\\)$"):
        tasks.program(["sh", "-c", "echo begun; echo 'the disk is full' >&2; exit 1"], log, 1)
    assert log.read_text() == "begun\nthe disk is full\n"


@pytest.mark.parametrize(("kind", "way"), [("gpt2", "chosen"), ("git", "written"), ("clip", "ranked")])
def test_a_peer_trains_and_answers(kind: str, way: str, tmp_path: Path) -> None:
    """The whole program on three examples, with pictures where it sees any."""
    pytest.importorskip("transformers")
    threads = torch.get_num_threads()
    examples = [{**asked([1, 2], [at]), "picture": at, "choices": [0, 1]} for at in range(3)]
    pictures = np.zeros((3, 8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    data: dict[str, Any] = {
        "layers": 2, "width": 16, "heads": 2, "inner": 32, "patch": 4, "vocabulary": 9, "minutes": 0.002, "seed": 0,
        "threads": threads, "bfloat16": False, "way": way, "pictures": pictures, "train": examples, "test": examples,
        "texts": [[0], [1]], "longest": 8, "longest_answer": 3,
    }  # fmt: skip
    torch.save(data, tmp_path / "data")
    task_models.main(kind, str(tmp_path / "data"), str(tmp_path / "out"))
    found = torch.load(tmp_path / "out", weights_only=False)
    assert found["steps"] >= 1
    assert found["seconds"] >= 60 * data["minutes"]
    if kind == "clip":
        assert found["fits"].shape == (3, 2)
    elif kind == "git":
        assert len(found["answers"]) == len(found["nats"]) == 3
        assert np.isfinite(found["nats"]).all()
    else:
        assert [len(row) for row in found["chances"]] == [2, 2, 2]
