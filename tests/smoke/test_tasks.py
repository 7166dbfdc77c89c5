"""Task files, finetuning and evaluation as a user types them, on the run of the smoke recipe."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from m6.cli import main
from m6.model.weights import TensorFiles
from tests.smoke.conftest import M6, m6

pytestmark = pytest.mark.xdist_group("smoke")
QUICK = ("--finetune.loop.num_steps", "6", "--finetune.loop.log_every", "2", "--finetune.loop.heldout_every", "0",
         "--finetune.loop.checkpoint_every", "2", "--finetune.samples", "4")  # fmt: skip


Said = pytest.CaptureFixture[str]


def at_once(capsys: Said, *words: str | Path) -> tuple[int, str, str]:
    """A command line in this process, which has imported all that takes seconds: its code and what it says."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def data(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tasks") / "data"
    done = m6("tasks", run, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "visual_question_answering" in done.stdout
    return out


@pytest.fixture(scope="module")
def finetuned(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finetuned") / "captions"
    done = m6("finetune", "captioning", "--from", run, "--data", data / "captioning", "--out", out, *QUICK)
    assert done.returncode == 0, done.stderr
    return out


def losses(folder: Path) -> list[float]:
    rows = (folder / "finetune" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(row)["loss"] for row in rows]


def test_a_finetuned_run_is_a_run(finetuned: Path, data: Path, tmp_path: Path) -> None:
    assert len(losses(finetuned)) == 3
    picture = next((data / "pictures").iterdir())
    assert m6("generate", "caption", "--run", finetuned, "--image", picture).returncode == 0
    assert m6("export", finetuned, "--out", tmp_path / "weights").returncode == 0
    again = m6("finetune", finetuned)
    assert again.returncode == 0
    assert "already done" in again.stdout


def test_scores_stand_beside_baselines_with_their_protocol(finetuned: Path, capsys: Said) -> None:
    code, out, err = at_once(capsys, "evaluate", finetuned, "--num-examples", "12")
    assert code == 0, err
    assert "nearest_picture" in out
    (path,) = (finetuned / "evaluate").glob("captioning-test-num_examples_12-*[0-9a-f].json")
    result = json.loads(path.read_text(encoding="utf-8"))
    score = result["scores"]["cider_d"]
    assert score["low"] <= score["value"] <= score["high"]
    assert result["protocol"]["checkpoint"] == "finetune/step-00000006"
    assert {"examples_sha256", "versions", "seed", "split", "prompt"} <= result["protocol"].keys()
    answers = path.with_suffix(".answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(answers) == 12


@pytest.mark.parametrize("task", ["matching", "retrieval", "poems", "classification", "visual_question_answering"])
def test_a_pretrained_run_is_measured_without_finetuning(run: Path, data: Path, task: str, capsys: Said) -> None:
    words = ("--task", task, "--data", data / task, "--num-examples", "8", "--split", "train")
    shots = ("--shots", "2") if task in ("classification", "visual_question_answering") else ()
    code, out, err = at_once(capsys, "evaluate", run, *words, *shots)
    assert code == 0, err
    assert f"### {task}, train" in out


def test_a_killed_finetuning_goes_on_to_the_same_weights(run: Path, data: Path, tmp_path: Path) -> None:
    start = ("finetune", "captioning", "--from", run, "--data", data / "captioning")
    words = (*start, *QUICK, "--finetune.lora.rank", "4")
    whole = tmp_path / "whole"
    assert m6(*words, "--out", whole).returncode == 0
    broken = tmp_path / "broken"
    with subprocess.Popen([*M6, *map(str, words), "--out", str(broken)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (broken / "finetune" / "step-00000002").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert m6("finetune", broken).returncode == 0
    assert losses(broken) == losses(whole)
    ours, theirs = (TensorFiles(each / "finetune" / "step-00000006" / "model").read() for each in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_mistakes_are_one_line(run: Path, data: Path, finetuned: Path, tmp_path: Path, capsys: Said) -> None:
    out = ("--out", tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(data / "captioning", other)
    (other / "train.jsonl").write_text('{"image": "gone.png", "caption": "猫"}\n', encoding="utf-8")
    long = tmp_path / "long"
    shutil.copytree(data / "poems", long)
    (long / "train.jsonl").write_text(
        json.dumps({"title": "长", "form": "五言绝句", "poem": "春" * 500}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    mixed = tmp_path / "mixed"
    shutil.copytree(run, mixed)
    with open(mixed / "tokenizer" / "tokenizer.json", "a", encoding="utf-8") as file:
        file.write("\n")
    for words, line in {
        ("finetune", "captioning", "--from", mixed, "--data", data / "captioning", *out): "not the tokenizer that",
        ("evaluate", mixed, "--task", "captioning", "--data", data / "captioning"): "not the tokenizer that",
        ("finetune", "captoining", "--from", run, "--data", data / "captioning", *out): "did you mean 'captioning'",
        ("finetune", "captioning", "--from", tmp_path, "--data", data / "captioning", *out): "no run folder",
        ("finetune", "captioning", "--from", run, "--data", data / "poems", *out): "poems",
        ("finetune", "captioning", "--from", run, "--data", tmp_path / "nothing", *out): "no such file or folder",
        ("finetune", "captioning", "--from", run, "--data", other, *out): "gone.png",
        ("finetune", "poems", "--from", run, "--data", long, *out): "--pretrain.data.max_text",
        ("finetune", "captioning", "--from", run, *out): "give --data too",
        ("evaluate", run, "--task", "captioning"): "give --data too",
        ("evaluate", finetuned, "--task", "captioning", "--split", "tset"): "no split 'tset'",
        ("evaluate", run, "--all", "--data", tmp_path): "name of a task",
    }.items():
        code, said, told = at_once(capsys, *words)
        assert code == 2, (words, said, told)
        assert len(told.strip().splitlines()) == 1, told
        assert line in told
        assert not (tmp_path / "out").exists(), words


def test_painting_is_finetuned_on_pairs_and_measured(run: Path, data: Path, tmp_path: Path, capsys: Said) -> None:
    words = ("finetune", "text_to_image", "--from", run, "--data", data / "text_to_image")
    lora = ("--finetune.lora.rank", "2", *QUICK)
    code, _, err = at_once(capsys, *words, "--out", tmp_path / "refused", "--finetune.jitter", "0.1")
    assert (code, err.count("\n")) == (2, 1)
    assert "pictures are what is learnt" in err
    code, _, err = at_once(capsys, *words, "--out", tmp_path / "painter", *lora)
    assert code == 0, err
    assert "text_to_image" in json.loads((tmp_path / "painter" / "finetune" / "done.json").read_text())["task"]
    code, out, err = at_once(capsys, "evaluate", tmp_path / "painter", "--num-examples", "4")
    assert code == 0, err
    (path,) = (tmp_path / "painter" / "evaluate").glob("text_to_image-test-num_examples_4-*[0-9a-f].json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert {"round_trip.recall_1", "nearest_is_meant", "bits_per_code"} <= result["scores"].keys()
    assert {"restored", "nearest_text", "frequencies"} == result["baselines"].keys()
    assert 0 < result["scores"]["bits_per_code"]["value"] < 20
    answers = [json.loads(line)["answer"] for line in path.with_suffix(".answers.jsonl").read_text().splitlines()]
    assert all((path.parent / answer).is_file() for answer in answers)
    assert "painted at temperature 0" in out
    picture = tmp_path / "picture.png"
    assert at_once(capsys, "generate", tmp_path / "painter", "--task", "text_to_image", "企鹅", picture)[0] == 0
    assert picture.is_file()
