"""The command: help, exit codes, mistakes in one line, stages in order, skipped when done, safe to kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from m6 import __version__, flags
from m6.cli import main
from m6.config import UserError, load_recipe
from m6.recipes.recipe import Recipe
from m6.run import Run
from m6.stages import STAGES

Said = pytest.CaptureFixture[str]


def mistake(words: list[str], said: Said) -> str:
    """The one line that a command with a mistake says; nothing else, and exit code 2."""
    assert main(words) == 2
    captured = said.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that only note that they were run, and a report that does too."""
    done: list[str] = []

    def work(name: str) -> Callable[[Run, Recipe], dict[str, Any]]:
        def note(run: Run, recipe: Recipe) -> dict[str, Any]:
            done.append(name)
            return {"layers": recipe.model.num_layers}

        return note

    for name, stage in STAGES.items():
        monkeypatch.setitem(STAGES, name, replace(stage, work=work(name)))
    report = ModuleType("m6.train.report")
    report.__dict__["write"] = lambda run: (run.folder / "report.html").write_text("report")
    monkeypatch.setitem(sys.modules, "m6.train.report", report)
    monkeypatch.setattr("m6.train.report", report, raising=False)
    return done


def test_first_help_and_version(capsys: Said) -> None:
    assert main(["--help"]) == main([]) == 0
    text = capsys.readouterr().out
    positions = [text.index(f"m6 {verb}") for verb in [*STAGES, "generate"]]
    assert positions == sorted(positions), "verbs stand in the order of the work"
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"m6 {__version__}\n"


def test_help_of_a_stage_shows_its_fields_with_the_values_of_the_recipe(capsys: Said) -> None:
    assert main(["pretrain", "smoke", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--model.num_layers" in text
    assert f"--pretrain.loop.num_steps {load_recipe('smoke').pretrain.loop.num_steps} " in text  # type: ignore[attr-defined]
    assert "--corpus.image_size" not in text


def test_unknown_verb_recipe_and_flags(capsys: Said, tmp_path: Path) -> None:
    assert "no verb 'pretain', did you mean 'pretrain'?" in mistake(["pretain"], capsys)
    assert "takes one recipe (100b, 10b, base, large, long, mini, mini_more, mini_titles, paint," in mistake(
        ["corpus"], capsys
    )
    assert "no recipe 'smok', did you mean 'smoke'?" in mistake(["corpus", "smok"], capsys)
    assert "did you mean --model.num_layers?" in mistake(["corpus", "smoke", "--model.num_layer", "3"], capsys)
    assert "did you mean --model.num_layers?" in mistake(["corpus", "smoke", "--num_layers", "3"], capsys)
    assert "model.num_layers: 'x' is not a whole" in mistake(["corpus", "smoke", "--model.num_layers", "x"], capsys)
    assert "--out: give it a value" in mistake(["corpus", "smoke", "--out"], capsys)
    assert "not JSON" in mistake(["corpus", "smoke", "--vqgan.model.quantizer.levels", "[8,"], capsys)
    assert "no config.json" in mistake(["corpus", str(tmp_path)], capsys)


def test_flags() -> None:
    words = ["smoke", "--model.num-layers", "2", "--seed=3", "--vqgan.model.quantizer.levels", "[8, 5]"]
    alone, given = flags.split(words)
    assert alone == ["smoke"]
    recipe = load_recipe("smoke")
    changed = recipe.override(flags.values(given, recipe, "vqgan"))
    assert isinstance(changed, Recipe)
    assert (changed.model.num_layers, changed.seed, changed.vqgan.model.quantizer.levels) == (2, 3, (8, 5))
    with pytest.raises(UserError, match="no such flag"):
        flags.values({"zzz": "1"}, recipe, "vqgan")


def test_stages_run_in_order_once(stages: list[str], tmp_path: Path, capsys: Said) -> None:
    folder = str(tmp_path / "run")
    missing = mistake(["pretrain", "smoke", "--out", folder], capsys)
    assert f"pretrain needs the corpus of {folder}, run `m6 corpus` with the same words first" in missing
    assert not (tmp_path / "run").exists()
    assert main(["corpus", "smoke", "--out", folder, "--model.num_layers", "2"]) == 0
    for name in STAGES:  # a run folder takes the place of the recipe
        assert main([name, folder]) == 0
    assert stages == list(STAGES)
    assert (tmp_path / "run" / "report.html").read_text() == "report"
    capsys.readouterr()
    assert main(["corpus", folder]) == 0
    assert "corpus: already done" in capsys.readouterr().out
    assert stages == list(STAGES)
    assert "model.num_layers: " in mistake(["evaluate", folder, "--model.num_layers", "9"], capsys)


def test_report_lost_to_a_kill_is_written_again(stages: list[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    for name in STAGES:
        main([name, "smoke", "--out", folder])
    (tmp_path / "run" / "report.html").unlink()
    assert main(["evaluate", folder]) == 0
    assert (tmp_path / "run" / "report.html").exists()
    assert stages == list(STAGES)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.parquet"),
        RuntimeError("Io error: No space left on device (os error 28)"),  # as a library in another language says it
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a.parquet"),
    ],
)
def test_full_disk_is_told_in_a_line(
    error: Exception, stages: list[str], tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, recipe: Recipe) -> None:
        raise error

    monkeypatch.setitem(STAGES, "corpus", replace(STAGES["corpus"], work=fail))
    assert os.strerror(getattr(error, "errno", None) or errno.ENOSPC) in mistake(
        ["corpus", "smoke", "--out", str(tmp_path / "run")], capsys
    )
    assert not (tmp_path / "run" / "corpus" / "done.json").exists()


def test_other_failures_keep_their_traceback(
    stages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, recipe: Recipe) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(STAGES, "corpus", replace(STAGES["corpus"], work=fail))
    with pytest.raises(ZeroDivisionError):
        main(["corpus", "smoke", "--out", str(tmp_path / "run")])


# A recipe is Python, so this one replaces the stages in every process that loads it.
FAKE = """
import os, sys, time, types
from dataclasses import replace
from pathlib import Path
import m6.train
from m6.recipes import smoke
from m6.stages import STAGES

def work(run, recipe):
    with open(run.folder / "pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    while (Path(__file__).parent / "wait").exists():
        time.sleep(0.05)

def recipe():
    for name in STAGES:
        STAGES[name] = replace(STAGES[name], work=work)
    report = types.ModuleType("m6.train.report")
    report.write = lambda run: (run.folder / "report.html").write_text("report")
    sys.modules["m6.train.report"] = m6.train.report = report
    return smoke.recipe()
"""


def start(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "m6.cli", "quickstart", str(tmp_path / "fake.py"), "--out", str(tmp_path / "run")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Dead, but not yet collected by the process that inherits orphans.
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """The folder of a quickstart whose stages wait while the file `wait` is there."""
    (tmp_path / "fake.py").write_text(FAKE)
    (tmp_path / "wait").touch()
    return tmp_path


def test_quickstart_goes_on_after_a_kill(waiting: Path) -> None:
    pids = waiting / "run" / "pids"
    with start(waiting) as first:
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        first.kill()
        first.communicate()
    until(lambda: gone(int(pids.read_text())))  # the stage ended with it, and gave the run folder back
    (waiting / "wait").unlink()
    with start(waiting) as second:
        out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "report.html" in out.rsplit("Done:", 1)[1]
    assert (waiting / "run" / "report.html").exists()
    assert len(pids.read_text().split()) == 1 + len(STAGES)


def test_quickstart_tells_of_a_killed_stage(waiting: Path) -> None:
    pids = waiting / "run" / "pids"
    with start(waiting) as process:
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        os.kill(int(pids.read_text()), signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "m6: corpus was killed (perhaps for want of memory); the same command goes on where it was\n"


def test_stop_by_the_keyboard(waiting: Path) -> None:
    pids = waiting / "run" / "pids"
    command = [sys.executable, "-m", "m6.cli", "quickstart", str(waiting / "fake.py"), "--out", str(waiting / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "m6: stopped; the same command goes on where it was\n"


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that looks trained, with answers that say what they were asked."""
    run = Run.open(tmp_path / "run", load_recipe("smoke"))
    run.finish("pretrain")
    answers = ModuleType("m6.generate.answers")
    for kind in ("caption", "answer", "match", "describe", "poem"):
        answers.__dict__[kind] = lambda folder, **arguments: f"{arguments}"
    paintings = ModuleType("m6.generate.paintings")
    paintings.__dict__["paint"] = lambda folder, output, **arguments: [f"{output.name} {arguments}"]
    monkeypatch.setitem(sys.modules, "m6.generate.paintings", paintings)
    monkeypatch.setitem(sys.modules, "m6.generate.answers", answers)
    monkeypatch.setattr("m6.generate.answers", answers, raising=False)
    return run.folder


def test_generate(trained: Path, tmp_path: Path, capsys: Said) -> None:
    assert main(["generate", "poem", "--run", str(trained), "--title", "春晓", "--top-k", "5"]) == 0
    assert capsys.readouterr().out == "{'title': '春晓', 'top_k': 5}\n"
    output = tmp_path / "apple.png"
    Image.new("RGB", (8, 8), "red").save(output)
    question = ["--image", str(output), "--question", "这是什么？", "--seed", "3"]
    assert main(["generate", "answer", "--run", str(trained), *question]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert "'seed': 3" in told
    assert repr(output) in told
    assert "'question': '这是什么？'" in told
    ways = ["--beams", "5", "--length-penalty", "0.5", "--no-repeat-ngram", "3", "--choices", "是", "不是"]
    assert main(["generate", "answer", "--run", str(trained), *question, *ways]) == 0
    told = capsys.readouterr().out
    assert "'seed': 3, 'beams': 5, 'length_penalty': 0.5, 'no_repeat_ngram': 3, 'choices': ['是', '不是']}" in told


def test_an_empty_answer_is_told(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    words = ["--run", str(trained)]
    assert main(["generate", "answer", *words, "--question", "什么是云？"]) == 0
    assert capsys.readouterr().err == ""
    for kind in ("answer", "describe"):
        monkeypatch.setitem(sys.modules["m6.generate.answers"].__dict__, kind, lambda folder, **arguments: "")
    assert main(["generate", "answer", *words, "--question", "什么是云？"]) == 0
    line = "m6: the answer is empty; this run may have been trained too little\n"
    assert capsys.readouterr() == ("\n", line)
    assert main(["generate", "describe", *words, "--title", "晴雨伞"]) == 0
    assert "the description is empty" in capsys.readouterr().err


def test_questions_without_a_picture_and_products_are_asked(trained: Path, capsys: Said) -> None:
    words = ["--run", str(trained)]
    assert main(["generate", "answer", *words, "--question", "什么是云？"]) == 0
    assert capsys.readouterr().out == "{'question': '什么是云？'}\n"
    assert main(["generate", "describe", *words, "--title", "晴雨伞", "--attributes", "颜色=红", "重量=300克"]) == 0
    assert capsys.readouterr().out == "{'title': '晴雨伞', 'attributes': [('颜色', '红'), ('重量', '300克')]}\n"
    assert main(["generate", "describe", *words, "--attributes", "颜色"]) == 2
    assert "'颜色': it has to be a name and a value, as 颜色=红" in capsys.readouterr().err


def test_texts_are_matched_with_a_picture(trained: Path, tmp_path: Path, capsys: Said) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ["--run", str(trained), "--image", str(tmp_path / "a.png"), "--text", "红苹果", "--text", "猫"]
    assert main(["generate", "match", *words]) == 0
    assert "'texts': ['红苹果', '猫']" in capsys.readouterr().out


def test_a_painting_is_asked_for_in_two_ways(trained: Path, capsys: Said) -> None:
    ways = ["--n", "16", "--size", "256", "--guidance", "3", "--best=4", "--seed", "7"]
    words = ["--run", str(trained), "--prompt", "一只戴眼镜的猫", "--output", "out"]
    assert main(["generate", "paint", *words, *ways]) == 0
    told = capsys.readouterr().out
    asked = "{'prompt': '一只戴眼镜的猫', 'n': 16, 'size': '256', 'guidance': 3.0, 'best': 4, 'seed': 7}"
    assert told == f"out {asked}\n"
    assert main(["generate", str(trained), "--task", "text_to_image", "一只戴眼镜的猫", *ways, "out/"]) == 0
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["RUN", "--task", "paint", "x", "out"], "--task paint: only text_to_image"),
        (["RUN", "--task", "text_to_image"], "takes a run or none, a prompt and a folder or PNG to write, got RUN"),
        (["RUN", "--task=text_to_image", "", "out"], "--prompt: the text is empty"),
        (
            ["RUN", "--task", "text_to_image", "x", "out", "--sise", "64"],
            "--sise: no such option, did you mean --size?",
        ),
        (["paint", "--prompt", "x", "--region", "1,2,3"], "--region: '1,2,3': it has to be four whole numbers"),
        (["paint", "--prompt", "x", "--n", "many"], "invalid int value: 'many'"),
        ([], "required: KIND"),
        (["caption"], "required: --image"),
        (["pant"], "invalid choice: 'pant'"),
        (["poem", "--title", " "], "--title: the text is empty"),
        (["poem", "--title", "春", "--frm", "x"], "--frm: no such option, did you mean --form?"),
        (["paint", "--prompt", "x", "--guidance", "y"], "invalid float value: 'y'"),
        (
            ["poem", "--title", "春", "--run", "nowhere"],
            "nowhere: no run folder; name another with --run, leave it out for mini, or make one with `m6 quickstart`",
        ),
        (["match", "--image", "x.png"], "required: --text"),
        (["match", "--image", "x.png", "--text", "x", "--seed", "1"], "--seed: no such option"),
        (["caption", "--image", "/tmp"], "/tmp: it is a folder; give the file of a picture"),
    ],
)
def test_generate_mistakes(words: list[str], expected: str, capsys: Said) -> None:
    assert expected in mistake(["generate", *words], capsys)


def test_generate_needs_a_trained_run(tmp_path: Path, capsys: Said) -> None:
    run = Run.open(tmp_path / "run", load_recipe("smoke"))
    words = ["generate", "poem", "--title", "春", "--run", str(run.folder)]
    assert "its training has not ended" in mistake(words, capsys)


def test_generate_refuses_broken_pictures(
    trained: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "short.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("1", (9_000, 1)).resize((9_000, 8)).save(tmp_path / "wide.png")
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    expected = {
        "missing.png": "no such file",
        "short.png": "a broken picture",
        "text.png": "not a picture that can be read",
        "empty.png": "not a picture that can be read",
        "dot.png": "1x1 pixels, each side has to be from 8 to 8192",
        "wide.png": "9000x8 pixels, each side has to be from 8 to 8192",
        "huge.png": "too many pixels, each side has to be from 8 to 8192",
    }
    for name, message in expected.items():
        told = mistake(["generate", "caption", "--run", str(trained), "--image", str(tmp_path / name)], capsys)
        assert message in told
        assert name in told
