"""m6 reproduce, on a tiny card: it runs, goes on, compares and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m6 import cards
from m6.cards import Expect, Finding, Place, lookup
from m6.cli import main
from m6.config import UserError
from m6.reproduce import closing

# Each command leaves a mark, so that what has run can be counted; the second fails until it is let through.
CARD = r"""
title = { en = "A tiny table", zh = "小表" }
shows = { en = "README.md", zh = "README.zh.md" }
commands = [
    "python -c 'print(1, file=open(\"{out}/first\", \"a\"))'",
    "python -c 'open(\"{out}/let\"); print(\"{\\\"score\\\": 0.52}\")' > {out}/scores.json",
]
hardware = "any"
minutes = 0.1
seed = 0
expect = [
    { file = "scores.json", key = "score", value = 0.5, absolute = 0.05 },
    { file = "scores.json", key = "score", at_most = 1.0 },
    { file = "first" },
]

[smoke]
commands = ["python -c 'print(\"[3]\")' > {out}/little.json"]
expect = [{ file = "little.json", key = "0", value = 3 }]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the cards, with one."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "tiny.toml").write_text(CARD, encoding="utf-8")
    monkeypatch.setattr(cards, "CARDS", folder)
    return folder


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which a command is refused."""
    assert main(["reproduce", *words]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    return err


def test_a_stopped_reproduction_goes_on_and_compares(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["reproduce", "tiny", "--out", str(out)]
    assert main(words) == 1
    assert "begins with it again" in capfd.readouterr().err
    assert not (out / "scores.json").exists()
    (out / "let").touch()
    assert main(words) == 0
    said = capfd.readouterr().out
    assert (out / "first").read_text() == "1\n"
    assert "/first" in said.split("done before")[0]
    assert "3 of 3 as expected" in said
    assert [line.split()[-1] for line in said.splitlines() if line.startswith("  score")] == ["ok", "ok"]
    assert len(json.loads((out / "reproduce.json").read_text())["commands"]) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave the command running")
def test_a_killed_reproduction_leaves_no_command_running(folder: Path, tmp_path: Path) -> None:
    waiting = """commands = ["python -c 'import os, time; print(os.getpid(), flush=True); time.sleep(99)'"]\n"""
    (folder / "tiny.toml").write_text(CARD.partition("[smoke]")[0] + f"[smoke]\n{waiting}expect = []\n")
    script = (
        "from pathlib import Path\nfrom m6 import cards\nfrom m6.cli import main\n"
        f"cards.CARDS = Path({str(folder)!r})\n"
        f"main(['reproduce', 'tiny', '--smoke', '--out', {str(tmp_path / 'out')!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = next(int(line) for line in parent.stdout if line.strip().isdecimal())
        parent.kill()
    until = time.monotonic() + 10
    while alive(child) and time.monotonic() < until:
        time.sleep(0.02)
    left = alive(child)
    if left:
        os.kill(child, signal.SIGKILL)
    assert not left


def alive(process: int) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(") ")[2][0] != "Z"


def test_check_runs_nothing_and_says_what_differs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "scores.json").write_text('{"score": 0.56}')
    assert main(["reproduce", "tiny", "--check", "--out", str(out)]) == 1
    said = capfd.readouterr().out
    assert "no such file" in said
    assert "± 0.05" in said
    assert "0.56  differs" in said
    assert "1 of 3 as expected" in said
    assert sorted(path.name for path in out.iterdir()) == ["scores.json"]


def test_check_without_a_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/reproduce").mkdir(parents=True)
    line = "m6: runs/reproduce: nothing of it is there; run `m6 reproduce tiny` first\n"
    assert refused(capfd, "tiny", "--check") == line
    assert "; run `m6 reproduce tiny --smoke` first" in refused(capfd, "tiny", "--check", "--smoke")
    assert "; run `m6 reproduce tiny --out nowhere` first" in refused(capfd, "tiny", "--check", "--out", "nowhere")


def test_smoke_has_commands_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "tiny", "--smoke", "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["little.json", "reproduce.json"]
    assert capfd.readouterr().out.endswith("\n1 of 1 as expected\n")


def test_smoke_says_that_figures_are_not_compared() -> None:
    file, number, value = Expect(file="a"), Expect(file="a", key="b", at_least=0.0), Expect(file="a", key="b", value=3)
    there = [Finding(file, True, True), Finding(number, 0.5, True), Finding(number, 3, True), Finding(value, 3, True)]
    line = "ran; figures at this size are not compared: 1 file and 2 numbers there"
    assert closing(there[:3], smoke=True) == line
    assert closing(there, smoke=True) == f"{line}; 1 of fixed value as expected"
    assert closing([*there, Finding(number, "no such key", False)], smoke=True) == "4 of 5 as expected"
    assert closing(there, smoke=False) == "4 of 4 as expected"


def test_alone_it_lists_the_cards(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce"]) == 0
    assert "tiny  0.1 min  A tiny table" in capfd.readouterr().out


def test_mistakes_are_one_line(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(capfd, "tinny").startswith("m6: no card 'tinny', did you mean 'tiny'?")
    assert "--smok: no such flag, did you mean '--smoke'?" in refused(capfd, "tiny", "--smok")
    assert "takes one card" in refused(capfd, "tiny", "tiny")
    assert "takes a card: tiny" in refused(capfd, "--smoke")
    assert "--outt: no such flag" in refused(capfd, "tiny", "--outt", "x")
    for more, line in {
        'programs = ["no-such-program"]\nmodules = ["no_such_module"]': "the program no-such-program, the module no_",
        "memory_gib = 1e6": "1e+06 GiB of memory",
        "disk_gib = 1e9": "1e+09 GiB of free space",
        "memry_gib = 1": "did you mean 'memory_gib'",
        "minutes = 2": "tiny.toml: ",  # twice
    }.items():
        (folder / "tiny.toml").write_text(more + "\n" + CARD, encoding="utf-8")
        assert line in refused(capfd, "tiny", "--out", str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()
    (folder / "tiny.toml").write_text(CARD.replace("python", "sh"), encoding="utf-8")
    assert "no command of m6 or python" in refused(capfd, "tiny")


def test_without_a_checkout_it_says_where_cards_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cards, "CARDS", tmp_path / "nowhere")
    line = "m6: no cards are here; they come with a checkout of the repository, run m6 reproduce there\n"
    assert refused(capfd) == line


@pytest.mark.parametrize(
    ("told", "found", "ok"),
    [
        ({"value": 0.5, "absolute": 0.1}, 0.6, True),
        ({"value": 0.5, "absolute": 0.1}, 0.61, False),
        ({"value": -200.0, "relative": 0.1}, -219, True),
        ({"value": 200, "relative": 0.1}, 221, False),
        ({"value": 7}, 7.0, True),
        ({"value": 7}, 8, False),
        ({"value": "ours"}, "ours", True),
        ({"value": True}, 1, False),
        ({"value": 1}, True, False),
        ({"value": 1, "absolute": 9}, float("nan"), False),
        ({}, 0.3, True),
        ({}, float("inf"), False),
        ({}, None, False),
        ({"at_least": 1, "at_most": 2}, 2, True),
        ({"at_least": 1, "at_most": 2}, 2.1, False),
        ({"at_least": 1}, 0.9, False),
        ({"says": "all the same"}, "16 of them, all the same", True),
        ({"says": "all the same"}, 16, False),
        ({"value": 1.0, "absolute": 1, "at_most": 1.5}, 1.6, False),
    ],
)
def test_what_is_near_enough(told: dict[str, object], found: object, ok: bool) -> None:
    assert Expect(file="x", key="y", **told).holds(found) is ok


def test_a_tolerance_needs_a_number() -> None:
    with pytest.raises(UserError, match="needs a value that is a number"):
        Expect(file="x", key="y", value="text", absolute=0.1)


def test_keys_name_places() -> None:
    data = {"a.b": {"c": 1}, "a": {"b.c": 2, "d": 3}, "runs": [{"x": 4.0}, {"x": 6.0}]}
    for key, found in {"a.b.c": [1], "a.d": [3], "runs.1.x": [6.0], "runs.*.x": [4.0, 6.0]}.items():
        assert lookup(data, Place(key=key)) == found
    assert lookup([{"t": 1, "v": 2}, {"t": 2, "v": 3}], Place(row={"t": 2}, key="v")) == [3]
    assert lookup({"all": [{"t": 1, "v": 2}]}, Place(rows="all", row={"t": 1}, key="v")) == [2]
    for key in ("a.e", "runs.2.x", "runs.x", "a.b.c.d"):
        with pytest.raises(LookupError, match="no such key"):
            lookup(data, Place(key=key))
    for rows, reason in (([{"t": 1}, {"t": 1}], "2 rows"), ([{"t": 2}], "no such row")):
        with pytest.raises(LookupError, match=reason):
            lookup(rows, Place(row={"t": 1}, key="t"))


def test_one_figure_is_taken_of_several(tmp_path: Path) -> None:
    for number, value in enumerate((1.0, 2.0, 9.0)):
        (tmp_path / f"{number}-x.json").write_text(json.dumps({"runs": [value, value]}))
    files = tuple(f"{number}-?.json" for number in range(3))
    taken = [Expect(file=files, key="runs.*", take=take) for take in ("mean", "median")]
    assert [cards.figure(each, tmp_path) for each in taken] == [4.0, 2.0]
    with pytest.raises(LookupError, match="several files"):
        cards.figure(Expect(file="*.json", key="runs.0"), tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(LookupError, match="not JSON"):
        cards.figure(Expect(file="broken.json", key="runs.0"), tmp_path)
    assert cards.figure(Expect(file="broken.json"), tmp_path) is True
