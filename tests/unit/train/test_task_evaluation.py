"""`m6 evaluate` on tasks with a small model of weights drawn by chance: files, tables, mistakes; what is chosen."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m6.cli import main
from m6.config import UserError
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.data.sample import Branch, Sample
from m6.generate.engine import Engine
from m6.recipes.recipe import Recipe
from m6.train.config import TaskEvaluation
from m6.train.finetune import check_codes
from m6.train.task_answers import answered, choices_of
from m6.train.task_evaluation import evaluate
from m6.train.task_examined import Examined
from tests.unit.generate.small_engine import small_engine

Said = pytest.CaptureFixture[str]
QUESTIONS = [("苹果是什么", "水果"), ("猫是什么", "动物"), ("狗是什么", "动物")]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "load", lambda folder: small_engine())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder whose training has ended."""
    folder = tmp_path / "run"
    checkpoint = folder / "pretrain" / "step-00000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text(json.dumps({"step": 2, "sha256": {"model/a": "1"}}))
    (folder / "pretrain" / "done.json").write_text("{}")
    Recipe().write(folder / "config.json")
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four tasks: pictures of starter things; of one task the texts are not told."""
    folder, rows = tmp_path / "data", emoji_rows()[:4]
    for row in rows:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / Path(row["file"]).name).write_bytes(emoji_pictures()[row["file"]])
    images = [f"../pictures/{Path(row['file']).name}" for row in rows]
    names = [row["name"] for row in rows]
    asked = [{"question": question, "answer": answer} for question, answer in QUESTIONS]
    write(folder / "question_answering" / "train.jsonl", asked)
    write(folder / "question_answering" / "test.jsonl", asked)
    write(folder / "retrieval" / "test.jsonl", [{"image": image, "texts": []} for image in images])
    several = [
        {"image": image, "text": name, "negatives": [other for other in names if other != name]}
        for image, name in zip(images, names, strict=True)
    ]
    write(folder / "matching" / "test.jsonl", several)
    about = [
        {"image": image, "question": question, "answer": answer, "kind": f"seen.{kind}"}
        for image, name in zip(images, names, strict=True)
        for question, answer, kind in (("这是什么？", name, "what"), ("是动物吗？", "否", "yes_no"))
    ]
    write(folder / "visual_question_answering" / "train.jsonl", about)
    write(folder / "visual_question_answering" / "test.jsonl", [row | {"kind": row["kind"][5:]} for row in about[:5]])
    return folder


def m6(capsys: Said, *words: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["evaluate", *map(str, words)])
    return code, *capsys.readouterr()


def results(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "evaluate").glob("*.json"))


def test_all_tasks_but_those_that_fail_and_not_twice(run: Path, data: Path, capsys: Said) -> None:
    words = (run, "--all", "--data", data, "--answers", "chosen", "--baselines", "false")
    code, out, err = m6(capsys, *words)
    assert code == 1
    for task in ("question_answering", "matching", "visual_question_answering"):
        assert f"### {task}, test\n\n| system | **" in out
    assert err.splitlines()[-1].startswith(f"m6: retrieval: {data}/retrieval: no picture of the test split has a text")
    assert (run / "evaluate" / "tasks.md").read_text(encoding="utf-8") == out
    before = {path: path.stat().st_mtime_ns for path in (run / "evaluate").glob("*.json*")}
    assert len(before) == 6
    again = m6(capsys, *words)
    assert again[:2] == (code, out)
    assert again[2].count("taken from") == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # A result that was made otherwise, or by a killed process without its answers, is not taken.
    next((run / "evaluate").glob("matching*.answers.jsonl")).unlink()
    state = run / "pretrain" / "step-00000002" / "state.json"
    assert m6(capsys, *words)[2].count("taken from") == 2
    state.write_text(state.read_text().replace('"1"', '"2"'))
    assert m6(capsys, *words)[2].count("taken from") == 0
    assert m6(capsys, *words, "--anew")[2].count("taken from") == 0


def test_names_tell_settings_and_data_apart(run: Path, data: Path, tmp_path: Path, capsys: Said) -> None:
    ask = ("--task", "question_answering", "--baselines", "false")
    assert m6(capsys, run, *ask, "--data", data / "question_answering", "--answers", "chosen")[0] == 0
    (name,) = (name for name in results(run) if ".answers." not in name)
    begun = "question_answering-test-answers_chosen-baselines_false-"
    assert name.startswith(begun)
    result = json.loads((run / "evaluate" / name).read_text(encoding="utf-8"))
    assert result["baselines"] == {}
    assert (result["protocol"]["answers"], result["protocol"]["chosen_by"]) == ("chosen", "likelihood")
    assert result["protocol"]["examples_sha256"].startswith(name.removeprefix(begun).removesuffix(".json"))
    assert result["scores"]["distinct_1"]["low"] is None
    rows = [{"question": question, "answer": answer} for question, answer in QUESTIONS[1:]]
    write(tmp_path / "other" / "test.jsonl", rows)
    write(tmp_path / "other" / "train.jsonl", rows)
    assert m6(capsys, run, *ask, "--data", tmp_path / "other", "--answers", "chosen")[0] == 0
    assert len(results(run)) == 2
    assert m6(capsys, run, *ask, "--data", tmp_path / "other", "--answers", "chosen", "--seed", "3")[0] == 0
    assert any("-answers_chosen-baselines_false-seed_3-" in name for name in results(run))


@pytest.mark.parametrize("by", ["pmi", "likelihood"])
def test_choices_are_those_of_the_kind_and_the_best_by_plain_losses(run: Path, data: Path, by: str) -> None:
    folder = data / "visual_question_answering"
    config = TaskEvaluation().override(
        {"task": "visual_question_answering", "data": str(folder), "answers": "chosen", "chosen_by": by}
    )
    about = Examined(run, config)
    choices = choices_of(about)
    names = tuple(row["name"] for row in emoji_rows()[:4])
    assert choices == [names, ("否",)] * 2 + [names]
    answers, scores = answered(about)
    for answer, example, own in zip(answers, about.examples, choices, strict=True):
        texts = [about.segments.text(text) for text in own]
        loss = about.engine.losses([Sample("", about.prefix(example), (Branch("x", (), text),)) for text in texts])
        prior = about.engine.losses([Sample("", (), (Branch("x", (), text),)) for text in texts])
        assert answer == own[int(np.argmin(loss - prior if by == "pmi" else loss))]
    assert len(scores["accuracy"].clusters) == 3  # pictures, of five questions


def test_what_has_no_answers_can_be_joined(run: Path, data: Path, tmp_path: Path, capsys: Said) -> None:
    image = str(next((data / "pictures").iterdir()))
    write(tmp_path / "untold" / "test.jsonl", [{"image": image, "caption": None, "image_id": "007c"}])
    code, out, err = m6(capsys, run, "--task", "captioning", "--data", tmp_path / "untold")
    assert code == 0, err
    said = "no right answers in this split: answers written to "
    path = Path(next(line for line in out.splitlines() if line.startswith(said)).removeprefix(said))
    (row,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert (row["key"], row["image_id"]) == ("test.jsonl line 1", "007c")
    assert "|" not in out


def test_a_training_that_has_not_ended_is_told(run: Path, data: Path, capsys: Said) -> None:
    (run / "pretrain" / "done.json").unlink()
    words = (run, "--task", "matching", "--data", data / "matching")
    line = f"m6: {run}: its pretrain has not ended; this is step 2 of {Recipe().pretrain.loop.num_steps}"
    assert line in m6(capsys, *words)[2].splitlines()
    rise = Recipe().pretrain.loop.largest_rise or 1.0
    recipe = Recipe().override({"pretrain.loop.largest_rise": rise})
    recipe.write(run / "config.json")
    losses = [2.0, 2.0, 2.0, None, *[2.1 + rise] * 3]
    write(run / "pretrain" / "metrics.jsonl", [{"step": 1 + at, "loss": loss} for at, loss in enumerate(losses)])
    assert f"{line}; it diverged at step 7" in m6(capsys, *words)[2].splitlines()


def test_a_finetuning_without_weights_is_told_in_one_line(run: Path, data: Path, capsys: Said) -> None:
    (run / "finetune").mkdir()
    Recipe().override({"finetune.task": "matching"}).write(run / "config.json")
    code, _, err = m6(capsys, run, "--task", "matching", "--data", data / "matching")
    said = f"m6: {run}: its finetuning has no checkpoint yet; go on with `m6 finetune {run}`\n"
    assert (code, err) == (2, said)


def test_a_collapsed_image_tokenizer_has_nothing_to_paint_with(run: Path) -> None:
    (run / "vqgan").mkdir(exist_ok=True)
    for entropy, refused in ((-0.0, True), (0.1, False)):
        (run / "vqgan" / "done.json").write_text(json.dumps({"codebook_entropy": entropy}))
        with pytest.raises(UserError, match="uses one code alone") if refused else nullcontext():
            check_codes(run, "runs/base")


def test_shots_beyond_what_was_trained_are_refused(run: Path, data: Path) -> None:
    """128 tokens of an answer, the longest request, and each question with its answer."""
    config = TaskEvaluation(task="question_answering", data=str(data / "question_answering"), shots=3)
    about = Examined(run, config)
    requests = [len(about.segments.text(each.prompt).ids) for each in about.examples]
    shown = [len(about.segments.text(each.prompt + each.answers[0]).ids) for each in about.known]
    all_three = 128 + max(requests) + sum(shown)
    plain = about.engine.data
    about.engine.data = plain.override({"row_length": all_three - 1})
    with pytest.raises(UserError, match=rf"--shots 3: .* {all_three} tokens, .* {all_three - 1}; .* examples 2 fit"):
        _ = about.shots
    about.engine.data = plain.override({"row_length": all_three})
    assert len(about.shots) == 6


def test_mistakes_are_one_line(run: Path, data: Path, tmp_path: Path, capsys: Said) -> None:
    write(tmp_path / "long" / "test.jsonl", [{"question": "长" * 300, "answer": "短"}])
    for words, line in {
        ("--all",): "give --data FOLDER too",
        ("--all", "--data", data, "--task", "poems"): "take one of them",
        ("--task", "retrieval", "--data", data / "retrieval"): "nothing to rank",
        ("--data", data): "give --task TASK, or --all",
        ("--task", "question_answering", "--data", tmp_path / "long"): f"m6: {tmp_path / 'long'}: test.jsonl line 1: ",
    }.items():
        code, _, err = m6(capsys, run, *words)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert line in err
        assert "--pretrain.data" not in err


def test_help_names_all_words(capsys: Said) -> None:
    code, out, _ = m6(capsys, "--task", "--help")
    assert code == 0
    assert all(f"\n  {word} " in out for word in ("--task", "--all", "--data", "--anew"))
    assert "--task TASK" in m6(capsys, "--help")[1]


def test_evaluation_from_python(run: Path, data: Path) -> None:
    config = TaskEvaluation(task="matching", data=str(data / "matching"))
    result = evaluate(run, config)
    assert not result["taken"]
    assert {"accuracy", "pair_accuracy"} == result["scores"].keys()
    assert evaluate(run, config)["taken"]


def test_a_blind_run_is_asked_the_same_in_the_same_groups(run: Path, data: Path) -> None:
    """So that its scores can be compared with those of one that sees, example by example."""
    config = TaskEvaluation(task="visual_question_answering", data=str(data / "visual_question_answering"))
    seeing = Examined(run, config).examples
    Recipe().override({"finetune.blind": True}).write(run / "config.json")
    blind = Examined(run, config).examples
    assert not any(each.picture for each in blind)
    assert [each.cluster for each in blind] == [each.cluster for each in seeing]
