"""The run folder: one config, one writer, files whole at any moment, metrics that resume, progress that is read."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from m6.config import Config, UserError
from m6.run import Metrics, Run, duration, ends_with_parent, peak_rss_gib, progress, read_metrics, write_atomic


class Whole(Config):
    """A config."""

    size: int = 1
    """Size."""


def test_same_config_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    Run.open(tmp_path / "run", Whole())
    assert Run.open(tmp_path / "run", Whole()).folder == tmp_path / "run"
    with pytest.raises(UserError, match=r"another config.*size: 1, 2.*Give another --out"):
        Run.open(tmp_path / "run", Whole(size=2))
    assert Whole.read(tmp_path / "run" / "config.json") == Whole()
    assert "python" in json.loads((tmp_path / "run" / "versions.json").read_text())


def test_foreign_folder_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty and not a run folder"):
        Run.open(tmp_path, Whole())
    with pytest.raises(UserError, match="a file"):
        Run.open(tmp_path / "letter.txt", Whole())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_folder_of_a_process_killed_at_its_first_file_is_usable(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.tmp").write_text('{"si')
    Run.open(tmp_path, Whole())
    assert Whole.read(tmp_path / "config.json") == Whole()


def test_a_folder_in_which_nothing_was_made_is_left_as_it_was_found(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "run", Config())
    run.stage("corpus")
    run.leave()
    assert not (tmp_path / "run").exists()
    run = Run.open(tmp_path / "run", Config())
    (run.stage("corpus") / "shard-00000.parquet").write_bytes(b"")
    run.leave()
    assert (run.folder / "config.json").exists()


def test_stage_is_done_only_after_finish(tmp_path: Path) -> None:
    run = Run.open(tmp_path, Whole())
    assert run.stage("corpus") == tmp_path / "corpus"
    assert run.done("corpus") is None
    run.finish("corpus", documents=3)
    figures = Run.open(tmp_path, Whole()).done("corpus")
    assert figures is not None
    assert (figures["documents"], figures["resumed"]) == (3, False)
    assert 0 <= figures["seconds"] < 60
    assert figures["peak_rss_gib"] > 0
    again = Run.open(tmp_path, Whole())
    again.finish("corpus")
    assert json.loads((tmp_path / "corpus" / "done.json").read_text())["resumed"] is True


HOLDER = """
import sys
from m6.run import Run
from m6.config import Config
class Whole(Config):
    size: int = 1
Run.open(sys.argv[1], Whole())
print("open", flush=True)
sys.stdin.read()
"""


def test_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(UserError, match="another process is writing here"):
            Run.open(tmp_path / "run", Whole())
        holder.kill()
        holder.wait()
    Run.open(tmp_path / "run", Whole())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot")
def test_a_bound_child_ends_with_its_parent_and_not_before() -> None:
    done = subprocess.run(["sleep", "0.1"], preexec_fn=ends_with_parent(), check=False)
    assert done.returncode == 0
    script = (
        "import os, signal, subprocess\nfrom m6.run import ends_with_parent\n"
        "subprocess.Popen(['sleep', '99'], preexec_fn=ends_with_parent())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # `sleep` holds the pipe as long as it lives, and to read it to its end is to wait for that.
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -9


def test_nothing_is_bound_where_the_system_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ends_with_parent() is None


def test_write_atomic_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "旧")
    write_atomic(path, "新".encode())
    assert path.read_text(encoding="utf-8") == "新"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("m6.run.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_metrics_resume_drops_what_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path)
    for step in range(4):
        metrics.log(step, loss=4.0 - step, objective="captioning")
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # a kill in the middle of a row
    assert [row["step"] for row in read_metrics(path)] == [0, 1, 2, 3]
    resumed = Metrics(path, resume_step=2)
    resumed.log(2, loss=float("nan"))
    assert [(row["step"], row["loss"]) for row in read_metrics(path)] == [(0, 4.0), (1, 3.0), (2, None)]
    Metrics(path)
    assert read_metrics(path) == []


def test_progress_without_a_terminal_is_lines_with_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 4))  # 4 s pass between any two looks at the clock
    monkeypatch.setattr("m6.run.time.monotonic", lambda: float(next(clock)))
    seen = []
    bar = progress(10, "pretrain", start=4)
    for step in bar:
        bar.note(f"loss {step}")
        seen.append(step)
    assert seen == [4, 5, 6, 7, 8, 9]
    captured = capsys.readouterr()
    assert captured.out == ""
    # Looks at 4 (start), 8, 12, 16: the first line comes 12 s in, after 3 of the 6 steps; 3 left at 4 s each.
    assert captured.err.splitlines() == ["pretrain: 7 of 10 (70 %), 12 s left, loss 6", "pretrain: 10 in 28 s, loss 9"]


def test_progress_as_a_context(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3, "corpus") as bar:
        bar.advance(2)
        bar.advance()
    assert capsys.readouterr().err == "corpus: 3 in 0 s\n"
    assert list(progress("ab", "letters")) == ["a", "b"]


def test_duration() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.4, 200, 3900)] == ["0 s", "59 s", "3 min 20 s", "1 h 5 min"]


def test_peak_memory_follows_what_is_held() -> None:
    code = "from m6.run import peak_rss_gib; a = peak_rss_gib(); b = bytearray(2**28); b[::4096] = b[::4096]; {}"
    script = code.format("print(peak_rss_gib() - a)")
    grown = float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert grown == pytest.approx(0.25, abs=0.05)
    assert peak_rss_gib() > 0.01
