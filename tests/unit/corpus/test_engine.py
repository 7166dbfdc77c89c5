"""The engine: work is done in other processes, and their errors arrive here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m6.config import UserError
from m6.corpus.engine import each


def test_each_number_is_done_once_in_another_process(tmp_path: Path) -> None:
    def leave_a_mark(number: int) -> None:
        with open(tmp_path / str(number), "x") as file:
            file.write(str(os.getpid()))

    assert sorted(each(leave_a_mark, [3, 1, 2])) == [1, 2, 3]
    pids = {(tmp_path / str(number)).read_text() for number in (1, 2, 3)}
    assert str(os.getpid()) not in pids
    assert list(each(leave_a_mark, [])) == []


def test_errors_of_workers_are_raised_here() -> None:
    def mistake(number: int) -> None:
        raise UserError("corpus.folder.path: no such folder")

    def bug(number: int) -> None:
        raise ZeroDivisionError("three")

    with pytest.raises(UserError, match=r"^corpus\.folder\.path: no such folder$"):
        list(each(mistake, [1]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: three"):
        list(each(bug, [1]))


def test_the_corpus_needs_no_torch() -> None:
    code = "import sys, m6.corpus.pipeline, m6.corpus.engine; m6.corpus.engine.daft(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
