"""All benchmarks in one run: names of files, pages, plots, a series that is killed, and benchmarks that fail."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks come with the repository alone")

from benchmarks import __main__ as bench
from benchmarks.bars import missed
from benchmarks.curve import curve_svg
from benchmarks.layout import NAME, RESULTS, path_of, read, results
from benchmarks.page import pages
from benchmarks.peers import setup
from benchmarks.plots import GOOD, MISSED, growth_svg, mark, ratios_svg
from benchmarks.rows import Row, row
from benchmarks.runners import ROOT, named, started
from benchmarks.series import SERIES, Benchmark, smoke
from benchmarks.tables import COLUMNS, page, shown
from m6.config import UserError

BESIDE = row("beam5_vs_hf", [4.0, 4.0], "captions/s", peer=[2.0, 1.0], peer_name="transformers 5.23.0", note="a | b")
COST = row("memory_vs_hf", [50.0], "MiB", peer=[100.0], peer_name="transformers", ratios=[0.5], module="train_step")


def written(folder: Path, what: str, content: Any) -> Path:
    path = folder / f"{what}_2cores_202611.json"
    path.write_text(json.dumps(content))
    return path


def pretended(monkeypatch: pytest.MonkeyPatch, failing: Sequence[str] = ()) -> list[str]:
    """Benchmarks that write a row at once, or fail. Returns the names of those that are run, as they are run."""
    ran: list[str] = []

    def call(words: Sequence[str]) -> dict[str, str]:
        name = words[2].removeprefix("benchmarks.")
        ran.append(name)
        if name in failing:
            raise UserError(f"{name} ended with 1: out of paper")
        Path(words[words.index("--json") + 1]).write_text(json.dumps([BESIDE]))
        return {}

    monkeypatch.setattr(bench, "_call", call)
    monkeypatch.setattr(bench, "make_all", lambda names, folder: {})
    return ran


def test_results_have_their_names_and_their_pages() -> None:
    """Every file of the folder is a result by name, or made from one and as it would be made now."""
    found = {one.path.name for one in results(RESULTS)}
    made = pages(RESULTS)
    assert {path.name for path in RESULTS.iterdir() if not path.name.startswith(".")} == found | set(made)
    for name, text in made.items():
        assert (RESULTS / name).read_text(encoding="utf-8") == text, f"{name}: run python -m benchmarks --pages"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_figure_says_by_what_command_seed_machine_and_when_it_was_made(path: Path) -> None:
    """Each row; of a single study the file, or each part that is a call of its own."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for one in content if isinstance(content, list) else [content]:
        assert {"command", "seed", "hardware", "date"} <= set(one)
        assert one["command"].startswith(("m6 ", "python -m "))
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", one["date"])


def test_a_measurement_is_named_by_hardware_and_month(tmp_path: Path) -> None:
    path = path_of(tmp_path, "train_step")
    assert re.fullmatch(r"train_step_\d+cores_20\d{4}\.json", path.name)
    named_parts = NAME.fullmatch(path.stem)
    assert named_parts
    assert named_parts["what"] == "train_step"
    assert not NAME.fullmatch("corpus_2cores_202613")


def test_every_row_is_a_line_with_all_that_it_is_known_by(tmp_path: Path) -> None:
    text = page(read(written(tmp_path, "generate", [BESIDE])))
    line = text.strip().splitlines()[-1]
    assert [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] == [
        "`beam5_vs_hf`", "4", "1.5, transformers 5.23.0", "3", "3", "captions/s", "2", "2 to 4",
        "`python -m benchmarks.corpus --only beam5_vs_hf`", "0", BESIDE["hardware"], BESIDE["date"], "a \\| b",
    ]  # fmt: skip
    assert f"| {' | '.join(COLUMNS)} |" in text


def test_what_has_no_peer_has_no_ratio(tmp_path: Path) -> None:
    alone = row("memory_at_10x", [1.5, 1.5], "times", ratios=[1.5, 1.5])
    line = page(read(written(tmp_path, "corpus", [alone]))).strip().splitlines()[-1]
    assert line.startswith("| `memory_at_10x` | 1.5 | - | - | at most 1.3, missed | times |")
    assert "| 1.5 | - | - | times | at most 1.3, missed |" in pages(tmp_path)["README.md"]


def test_scores_stand_beside_their_intervals_and_baselines() -> None:
    content = {"seed": 0, "right": 0.5, "right.low": 0.25, "right.high": 0.75, "right.baseline": 0.1, "wrong": 1}
    assert shown(content | {"left": 2, "left.baseline": None}).splitlines() == [
        "- seed: 0", "- wrong: 1", "",
        "| score | value | 95 % interval | trivial baseline |", "| --- | --- | --- | --- |",
        "| right | 0.5 | 0.25 to 0.75 | 0.1 |", "| left | 2 | - | - |",
    ]  # fmt: skip


def test_what_is_alike_in_all_rows_is_told_once_and_wide_rows_are_read_downwards() -> None:
    alike = [{"a": 1, "b": 2}, {"a": 1, "b": 3}]
    assert shown(alike).splitlines() == ["- a: 1", "", "| b |", "| --- |", "| 2 |", "| 3 |"]
    assert shown([{"a": 1}, {"a": 1}]).splitlines() == ["- a: 1"]
    wide = shown([{str(number): number for number in range(40)}, {"39": 7}]).splitlines()
    assert wide[0] == "|  | 1 | 2 |"
    assert wide[-1] == "| 39 | 39 | 7 |"


def test_a_page_leads_to_the_cards_of_its_figures() -> None:
    text = page(read(RESULTS / "experts_curve_2cores_202611.json"))
    assert "m6 reproduce" not in text, "a curve has none"
    text = page(read(RESULTS / "ablations_2cores_202611.json"))
    for card in ("ablations", "experts"):
        assert f"[`m6 reproduce {card}`](../../docs/reproduce/{card}.toml)" in text


def test_other_results_are_shown_as_they_stand() -> None:
    content = {
        "seed": 0, "scores": {"dense": [{"loss": 1.5}, {"loss": 2}]}, "rows": [{"a": 1, "b": [1, 2]}, {"a": None}],
        "curve": [[[1, 2.5], [2, 2.25]]],
    }  # fmt: skip
    assert shown(content).splitlines() == [
        "- seed: 0", "", "## scores", "", "|  | loss |", "| --- | --- |", "| dense | 1.5 |", "| dense | 2 |", "",
        "## rows", "", "| a | b |", "| --- | --- |", "| 1 | 1 2 |", "| - | - |", "", "## curve", "", "- 1 2.5, 2 2.25",
    ]  # fmt: skip


def test_bars_are_held_against_ratios_and_costs_the_other_way_round() -> None:
    assert not missed(BESIDE)
    assert missed(Row(**{**BESIDE, "ratio": 2.99}))
    assert not missed(COST)
    assert missed(Row(**{**COST, "ratio": 0.81}))
    assert not missed(row("beam5_vs_hf", [1.0], "captions/s", peer_name="transformers")), "no peer, no verdict"
    assert missed(row("minhash_recall", [0.94], "share")), "what has no peer is held against its own figure"
    assert missed(row("new", [2.0], "s", note="a cost, bar at most 1.5; seconds"))
    assert not missed(row("new", [2.0], "s", note="bar 1.5"))


def test_plots_are_svg_and_show_what_misses() -> None:
    cheap = mark(COST)
    assert cheap
    assert (cheap.label, cheap.ratio, cheap.bar) == ("1 / memory_vs_hf", 2.0, 1.25)
    short = Row(**{**BESIDE, "key": "guided16_vs_hf", "ratio": 0.5, "spread": [0.4, 0.6]})
    drawing = ratios_svg({"a & b": [BESIDE, COST], "painting": [short, row("alone", [1.0], "s")]})
    bars = [one for one in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}rect") if one.get("y") != "26"][1:]
    assert [one.get("fill") for one in bars] == [GOOD, GOOD, MISSED]
    one, two, half = (float(each.get("width", "")) for each in bars)
    assert one == pytest.approx(two * 1.585, rel=0.01), "log(3) over log(2)"
    assert half == pytest.approx(two, abs=0.2), "half as good is as far from 1 as twice as good"
    assert "alone" not in drawing
    for text in (ratios_svg({}), growth_svg({"length <": [(2, 1.0), (4, 4.0)]}, "grows"), growth_svg({}, "nothing")):
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert ET.fromstring(curve_svg({"a": [[{"step": 1, "loss": 2.0}]]}, "loss"))


def test_curves_of_growth_have_a_plot(tmp_path: Path) -> None:
    written(tmp_path, "growth", [row("length_exponent", [2.0], "exponent", points=[(16, 0.5), (64, 8.0)])])
    made = pages(tmp_path)
    line = ET.fromstring(made["growth_2cores.svg"]).find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    (x, y), (to_x, to_y) = (map(float, point.split(",")) for point in line.get("points", "").split())
    assert (x, to_x) == (50, 410), "the axis ends where the work does"
    assert y > to_y
    assert "![growth](growth_2cores.svg)" in made["README.md"]
    assert "ratios" not in made["README.md"]


def test_a_series_that_is_killed_goes_on_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 in the second of three: the first is not measured again, and what lacks of its pages is written."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom benchmarks import __main__ as bench\n"
        "def call(words):\n"
        "    if words[2] == 'benchmarks.scale':\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    Path(words[words.index('--json') + 1]).write_text('[]')\n    return {}\n"
        "bench._call, bench.make_all = call, lambda *given: {}\n"
        "bench.run(['corpus', 'scale', 'vqgan'], Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert [one.what for one in results(tmp_path)] == ["corpus"]
    read(path_of(tmp_path, "corpus")).page.unlink()
    ran = pretended(monkeypatch)
    assert bench.run(["corpus", "scale", "vqgan"], tmp_path) == []
    assert ran == ["scale", "vqgan"]
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".json"} == set(pages(tmp_path))
    assert bench.run(["corpus"], tmp_path, again=True) == []
    assert ran == ["scale", "vqgan", "corpus"]


def test_a_benchmark_that_fails_is_shown_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretended(monkeypatch, failing=["scale"])
    assert bench.main(["--only", "scale", "vqgan", "--into", str(tmp_path)]) == 1
    assert ran == ["scale", "vqgan"]
    assert "failed: scale; benchmarks: 2" in capsys.readouterr().out
    assert "| failed | scale ended with 1: out of paper |" in (tmp_path / "README.md").read_text()
    assert "Failed: scale ended with 1: out of paper" in read(path_of(tmp_path, "scale")).page.read_text()
    ran = pretended(monkeypatch)
    assert bench.main(["--only", "scale", "vqgan", "--into", str(tmp_path)]) == 0
    assert ran == ["scale"], "what failed is tried again"
    pretended(monkeypatch, failing=["scale"])
    assert bench.main(["--only", "scale", "--again", "--into", str(tmp_path)]) == 1
    assert read(path_of(tmp_path, "scale")).rows, "a failure takes no figures away"


def test_what_another_machine_has_measured_is_not_done_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_of(tmp_path, "scale")
    abroad = [Row(**{**BESIDE, "hardware": "2 cores of a Z80, 64 GiB, Python 3.11.7"})]
    path.write_text(json.dumps(abroad))
    line = "benchmarks: scale: the results there are of another machine (2 cores of a Z80, 64 GiB); measuring anew\n"
    pretended(monkeypatch, failing=["scale"])
    assert bench.run(["scale"], tmp_path) == ["scale"]
    assert line in capsys.readouterr().err
    assert read(path).rows == abroad, "a failure takes no figures away"
    ran = pretended(monkeypatch)
    assert bench.run(["scale"], tmp_path) == []
    assert read(path).rows == [BESIDE]
    here = BESIDE["hardware"].partition(", Python ")[0]
    path.write_text(json.dumps([Row(**{**BESIDE, "hardware": f"{here}, Python 2.7.18"})]))
    path_of(tmp_path, "vqgan").write_text(json.dumps({"hardware": "2 cores of a Z80", "scores": {"loss": 1.5}}))
    assert bench.run(["scale", "vqgan"], tmp_path) == []
    assert ran == ["scale"], "another Python is the same machine, and other results stay as they are"


def test_rows_that_a_series_does_not_make_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a key that takes a run of its own, unless they are of another machine."""
    alone, abroad = COST, Row(**{**COST, "key": "elsewhere", "hardware": "2 cores of a Z80, 64 GiB, Python 3.11.7"})
    path_of(tmp_path, "scale").write_text(json.dumps([Row(**{**BESIDE, "ours": 1.0}), alone, abroad]))
    pretended(monkeypatch)
    assert bench.run(["scale"], tmp_path, again=True) == []
    assert read(path_of(tmp_path, "scale")).rows == [BESIDE, alone]


def test_pages_of_nothing_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--pages", "--into", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"--into {tmp_path / 'nowhere'}: no results are there; measure some first\n"
    assert not (tmp_path / "nowhere").exists()


def test_rows_without_their_peer_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended(monkeypatch)
    assert bench.main(["--only", "scale", "--into", str(tmp_path)]) == 0
    assert "without their peer" not in capsys.readouterr().out
    lone = [row("a", [1.0], "s", peer_name=name) for name in ("diffusers, VQModel", "webdataset", "webdataset")]
    path_of(tmp_path, "vqgan").write_text(json.dumps([*lone, row("b", [1.0], "s")]))
    assert bench.main(["--only", "scale", "vqgan", "--into", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 rows without their peer: diffusers, webdataset"
    assert said[1].startswith("failed: none; benchmarks: 2")


def test_no_program_that_is_started_outlives_the_series() -> None:
    """Each is bound to the process that starts it, so that nothing of a killed series disturbs the next."""
    calls = [
        (path.name, node.lineno, {word.arg for word in node.keywords})
        for path in Path(bench.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.run", "subprocess.Popen")
    ]
    assert len(calls) > 10
    assert [f"{name}:{line}" for name, line, words in calls if "preexec_fn" not in words] == []


def test_the_last_line_of_a_program_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-c", "import sys; print('first\\nlast\\n', file=sys.stderr); sys.exit(3)"]
    with pytest.raises(UserError, match=r"ended with 3: last$"):
        bench._call(words)
    assert "first" in capfd.readouterr().err


def test_a_peer_that_does_not_run_is_left_out_and_named_in_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is installed, and ends before it has done its work: the others are measured, and its rows say why."""
    monkeypatch.setenv("M6_PEERS", str(tmp_path))
    python = tmp_path / "webdataset" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    works = [sys.executable, "-c", "import sys; [print('{\"kept\": 1}', flush=True) for _ in sys.stdin]"]
    works[-1] = "print('{\"kept\": 1}', flush=True); " + works[-1]
    fails = [str(python), "-c", "import nothing_of_this_name"]
    with contextlib.ExitStack() as stack:
        assert list(started(stack, {"ours": works, "web_dataset": fails})) == ["ours"]
    said = capfd.readouterr().err
    why = "webdataset does not run: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert said == f"benchmarks: {why}\n"
    with contextlib.ExitStack() as stack, pytest.raises(UserError, match="nothing_of_this_name"):
        started(stack, {"ours_packed": fails})

    lone = row("vs_webdataset", [4.0], "samples/s", peer_name="webdataset 1.0.2", note="not available")
    script = (
        f"import sys; print({said!r}, end='', file=sys.stderr); open(sys.argv[-1], 'w').write({json.dumps([lone])!r})"
    )
    call = bench._call
    monkeypatch.setattr(bench, "_call", lambda words: call([sys.executable, "-c", script, *words[1:]]))
    monkeypatch.setattr(bench, "make_all", lambda names, folder: {})
    [found] = bench.measured("loader", Benchmark(), tmp_path)
    assert found["note"] == f"not available; {why}"


def test_a_peer_that_cannot_be_installed_is_named_in_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def make(name: str, folder: Path) -> None:
        made.append(name)
        if name == "datatrove":
            raise UserError("benchmarks: datatrove: pip failed: no such version")

    monkeypatch.setattr(setup, "make", make)
    assert setup.main(["--into", str(tmp_path), "--only", "datatrove", "diffusers"]) == 2
    assert made == ["datatrove", "diffusers"]
    assert capsys.readouterr().err == "benchmarks: datatrove: pip failed: no such version\n"
    broken = setup.make_all(["datatrove"], tmp_path)
    alone = row("clean_vs_datatrove", [9.0], "MB/s", peer_name="datatrove", note="8 MB")
    assert bench.explained(alone, broken)["note"] == "8 MB; datatrove: pip failed: no such version"
    assert bench.explained(BESIDE, broken) == BESIDE
    written(tmp_path, "corpus", [bench.explained(alone, broken)])
    assert "datatrove | 8 MB; datatrove: pip failed: no such version |" in pages(tmp_path)["README.md"]


def test_peers_are_named_with_their_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M6_PEERS", str(tmp_path))
    info = tmp_path / "data-juicer/lib/python3.11/site-packages/py_data_juicer-1.6.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: py-data-juicer\nVersion: 1.6.1\n")
    assert named("data-juicer") == "data-juicer 1.6.1"
    assert named("datatrove") == "datatrove"
    assert named("pytest", here=True) == f"pytest {pytest.__version__}"


def test_every_peer_is_pinned_and_says_how_it_is_run() -> None:
    assert set(setup.SETTINGS) == set(setup.PACKAGES)
    assert all(setup.SETTINGS.values())
    assert {peer for one in SERIES.values() for peer in one.peers} == set(setup.PACKAGES)
    for calls in setup.PACKAGES.values():
        assert any("==" in package for package in calls[-1])


def test_the_series_in_small_makes_no_environments(tmp_path: Path) -> None:
    for name in SERIES:
        small = smoke(name, tmp_path)
        assert not small.peers
        assert all(flags[0] == "--smoke" for flags in small.calls)
    assert all(str(tmp_path) in str(one.done) for one in smoke("dalle", tmp_path).before)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert bench.main(["--pages", "--into", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--only", "loder"]) == 2
    assert "loader" in capsys.readouterr().err
