"""The benchmarks: they work on a machine without peers, without a network and without a GPU, and pair their runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks come with the repository alone")

from benchmarks import dalle, gpu, growth
from benchmarks.command import RUNS, command
from benchmarks.memory import peak_of
from benchmarks.rows import Row, row, table
from benchmarks.runners import ROOT, Runner, paired


def bench(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks.corpus`, in the repository."""
    command = [sys.executable, "-m", "benchmarks.corpus", *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_a_broken_peer_is_one_line(tmp_path: Path) -> None:
    """An environment without the peer in it: the last line of its error, and ours is measured all the same."""
    interpreter = tmp_path / "datatrove" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text("#!/bin/sh\necho 'no module named datatrove' >&2\nexit 1\n")
    interpreter.chmod(0o755)
    done = bench("--smoke", "--only", "clean_vs_datatrove", M6_PEERS=str(tmp_path))
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert lines.count("benchmarks: datatrove does not run: no module named datatrove") == 2, "of pages, of texts"
    assert re.search(r"^clean_vs_datatrove +[\d.]+ +- +- ", done.stdout, re.MULTILINE)


def test_an_unknown_key_is_one_line() -> None:
    done = bench("--only", "clean_vs_datatrov")
    assert done.returncode == 2
    assert done.stderr.startswith("benchmarks: no key 'clean_vs_datatrov'")
    assert "clean_vs_datatrove" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ratios_are_taken_within_a_pair() -> None:
    """A slow moment of the machine, here the second pair, changes no ratio."""
    one = row("key", [4.0, 1.0, 4.4], "MB/s", peer=[2.0, 0.5, 2.0], peer_name="other")
    assert (one["ours"], one["peer"], one["ratio"]) == (4.0, 2.0, 2.0)
    assert one["spread"] == [2.0, 2.2]
    assert one["runs"] == 3
    assert "2 to 2.2" in table([one])


def test_programs_are_warm_and_take_turns(tmp_path: Path) -> None:
    """Work is done once before the first run; what a library prints does not disturb."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nsys.path.insert(0, sys.argv[1])\nfrom serve import serve\ndone = []\n"
        "def work():\n    print('noise')\n    done.append(1)\n    open(sys.argv[2], 'a').write(sys.argv[3])\n"
        "    return len(done)\nserve(work)\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, str(program), str(ROOT / "benchmarks" / "peers"), str(log)]
    with Runner([*command, "a"]) as first, Runner([*command, "b"]) as second:
        assert first.kept == second.kept == 1
        found = paired({"a": first, "b": second}, 3)
    assert log.read_text() == "ab" + "ab" + "ba" + "ab"
    assert [run.kept for run in found["a"]] == [2, 3, 4]
    assert all(run.user >= 0 and run.wall > 0 for run in found["b"])


def test_the_peak_is_that_of_all_processes() -> None:
    """A process of 100 MB that starts another of 100 MB."""
    hold = "held = bytearray(100_000_000); held[::4096] = b'x' * len(held[::4096])"
    child = f"{hold}; import time; time.sleep(0.5)"
    parent = f"{hold}; import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert 200e6 < peak_of([sys.executable, "-c", parent]) < 260e6


def test_captions_need_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.generate", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"benchmarks: {tmp_path} is no pretrained run; make it with: m6 quickstart\n"


def test_products_in_8_bits_need_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.int8", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}: no run folder")


def gpu_bench(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_smoke_of_the_gpu_benchmark(tmp_path: Path) -> None:
    """Every key has a row with a figure; what is not installed says so."""
    done = gpu_bench("--smoke", "--json", str(tmp_path / "rows.json"))
    assert done.returncode == 0, done.stderr
    rows: dict[str, Row] = {one["key"]: one for one in json.loads((tmp_path / "rows.json").read_text())}
    mfu = {"text_mfu_1b", "text_mfu_3b", "mixed_mfu", "moe_mfu_wide", "moe_mfu_narrow"}
    others = {"compile_speedup", "float8_speedup", "loader_stall_share", "recompilations"}
    assert set(rows) == {*mfu, *others, "step_10b_gib"}
    for key, one in rows.items():
        assert set(one) == set(Row.__annotations__)
        assert one["command"] == f"python -m benchmarks.gpu --only {key}"
        if key == "float8_speedup":  # torchao may be there, a Hopper GPU is not
            assert one["ours"] is None
            assert "torchao is not installed" in one["note"] or "needs an NVIDIA GPU" in one["note"]
        else:
            assert one["ours"] is not None, one
            assert one["runs"] == 2, one
            assert one["ours"] > 0 or key == "recompilations", one
    assert all(rows[key]["unit"] == "MFU" and rows[key]["spread"][1] < 1 for key in mfu)
    assert rows["compile_speedup"]["ratio"] is not None


def test_a_configuration_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends, one whose memory ends at any number of tokens, and one for which no time is left."""
    tried = []

    def answer(name: str, folder: Path, tokens: int, seconds: float, smoke: bool) -> gpu.Answer:
        tried.append((name, tokens))
        if name == "text_1b":
            return {"failed": "ended with -11: "}
        return {"failed": "out of memory", "out_of_memory": True}

    monkeypatch.setattr(gpu, "_answer", answer)
    rows = {one["key"]: one for one in gpu.run(["text_mfu_1b", "step_10b_gib"], smoke=True)}
    assert tried == [("text_1b", 512), ("step_10b", 512), ("step_10b", 256)]
    assert rows["text_mfu_1b"]["note"] == "bar 0.50; ended with -11: "
    assert rows["step_10b_gib"]["note"] == "a cost, bar 139; out of memory (at 256 tokens a step)"
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    assert gpu.run(["mixed_mfu"], smoke=True)[0]["note"] == "bar 0.45; no time was left"


def test_without_a_gpu_one_line_names_the_way_out() -> None:
    done = gpu_bench(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--smoke" in done.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--runs", "-1"], "benchmarks: --runs -1 is too small, it takes 1 at least"),
        (["--json", "/nonexistent/x.json"], "benchmarks: --json /nonexistent/x.json cannot be written; name a file in"),
        (["--json", "."], "benchmarks: --json . cannot be written"),
    ],
)
def test_what_could_not_be_written_is_not_measured(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[bool] = []

    def measure(given: object) -> list[Row]:
        measured.append(True)
        return []

    assert command("some", None, measure, RUNS, words) == 2
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert len(said.splitlines()) == 1
    assert not measured


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--minutes", "0"], "benchmarks: --minutes 0.0 is no time to learn in, it has to be above 0"),
        (["--run", "nowhere"], "benchmarks: nowhere is no run with image codes; make one with: m6 quickstart paint"),
    ],
)
def test_painting_beside_dalle_needs_time_and_codes(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dalle.main(words) == 2
    assert capsys.readouterr().err == line + "\n"


def test_serving_needs_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.serve", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"benchmarks: {tmp_path} is no run; make it with: m6 quickstart\n"


def test_a_command_that_fails_is_not_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.start", "--only", "first_answer_seconds", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"benchmarks: --run {tmp_path} is no run folder; make one with: m6 quickstart\n"
    (tmp_path / "config.json").write_text("no JSON")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert " failed: m6: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("power", [0.0, 1.0, 1.7])
def test_an_exponent_is_that_of_a_power(power: float) -> None:
    sizes = [3.0, 10.0, 40.0, 90.0]
    assert growth.slope(sizes, [0.01 * size**power for size in sizes]) == pytest.approx(power)
