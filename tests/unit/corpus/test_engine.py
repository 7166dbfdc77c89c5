"""The engine: work is done in other processes, and their errors arrive here; on Ray as on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from m6.config import UserError
from m6.corpus.config import EngineConfig
from m6.corpus.engine import each
from m6.corpus.starter import poem_rows
from tests.unit.corpus.parts import documents, write


def test_each_number_is_done_once_in_another_process(tmp_path: Path) -> None:
    def leave_a_mark(number: int) -> None:
        with open(tmp_path / str(number), "x") as file:
            file.write(str(os.getpid()))

    assert sorted(each(leave_a_mark, [3, 1, 2], EngineConfig(workers=1))) == [1, 2, 3]
    pids = {(tmp_path / str(number)).read_text() for number in (1, 2, 3)}
    assert len(pids) == 1
    assert str(os.getpid()) not in pids
    assert list(each(leave_a_mark, [])) == []


def test_errors_of_workers_are_raised_here() -> None:
    def mistake(number: int) -> None:
        raise UserError("corpus.folder.path: no such folder")

    def bug(number: int) -> None:
        raise ZeroDivisionError("three")

    def killed(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match=r"^corpus\.folder\.path: no such folder$"):
        list(each(mistake, [1]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: three"):
        list(each(bug, [1]))
    with pytest.raises(UserError, match=r"^corpus\.engine: a worker was killed .*corpus\.engine\.workers"):
        list(each(killed, [1]))


def test_ray_that_is_missing_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install \"open-m6\[ray\]\""):
        list(each(print, [1], EngineConfig(runner="ray")))


def test_the_corpus_needs_no_torch() -> None:
    code = "import sys, m6.corpus.pipeline, m6.corpus.engine; m6.corpus.engine.daft(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


# One process for all of this, since Ray takes seconds to start.
_ON_RAY = """
import os, signal, sys, time
from pathlib import Path

import m6.corpus.dedup.grouping as grouping
import m6.corpus.engine as engine
from m6.config import UserError
from m6.corpus.config import CorpusConfig, EngineConfig
from m6.corpus.dedup import find_duplicates
from m6.corpus.engine import each

folder, ray = Path(sys.argv[1]), EngineConfig(runner="ray", workers=2)

def meet(number):
    (folder / f"here-{number}").touch()
    deadline = time.monotonic() + 60
    while len(list(folder.glob("here-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(folder.glob("here-*"))) == 2

def killed_once(number):
    mark = folder / f"killed-{number}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)

def mistake(number):
    raise UserError("corpus.x: no such file")

def killed(number):
    os.kill(os.getpid(), signal.SIGKILL)

print("at once", sorted(each(meet, [0, 1], ray)))
print("again", sorted(each(killed_once, [7], ray)))
engine.ATTEMPTS = 1
for function in (mistake, killed):
    try:
        list(each(function, [1], ray))
    except UserError as error:
        print("error", error)
grouping.ENTRIES = 800
parts = sorted(folder.glob("parts/??????.parquet"))
native = find_duplicates(parts, CorpusConfig(engine=EngineConfig(workers=2)))
print("same", native.num_rows, find_duplicates(parts, CorpusConfig(engine=ray)) == native)
"""


def test_ray_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    texts = ["".join(row["couplets"]) for row in poem_rows()[:120]]
    texts += [text[:-3] + "也。" for text in texts[:40]]
    write(tmp_path / "parts", documents(texts), 3, batch=20)
    result = subprocess.run([sys.executable, "-c", _ON_RAY, str(tmp_path)], capture_output=True, text=True, check=False)
    at_once, again, mistake, killed, same = [line for line in result.stdout.splitlines() if "raylet" not in line]
    assert at_once == "at once [0, 1]"
    assert again == "again [7]"
    assert mistake == "error corpus.x: no such file"
    assert killed.startswith("error corpus.engine: a worker was killed")
    word, number, equal = same.split()
    assert (word, equal) == ("same", "True")
    assert int(number) > 20
