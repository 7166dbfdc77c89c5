"""Every reproduction card at smoke size, as CI runs them: what a benchmark or a run has to show even where it is small.

Cards that need a run take the one that all smoke tests share, in its worker; the others spread over the workers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("benchmarks", reason="the cards come with the repository alone")

from m6 import cards, reproduce
from m6.cli import main

SHARED = "m6 quickstart smoke --out {out}/smoke"
PEERS = {
    "corpus": ("data-juicer", "datatrove", "img2dataset"),
    "train_step": ("transformers",),
    "vqgan": ("diffusers",),
    "dalle": ("dalle-pytorch",),
}
"""What the smoke run of a card says is missing, where no environments of peers have been made."""
NAMES = cards.names()
ON_THE_RUN = [name for name in NAMES if SHARED in cards.read(name).smoke.commands]


def again(name: str, out: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A card comes out as it says; beside a peer that is missing a row has our figure alone, and a line says why."""
    monkeypatch.setenv("M6_PEERS", str(out / "peers"))
    monkeypatch.setenv("M6_BENCH_DATA", str(out / "texts"))
    capfd.readouterr()
    code = main(["reproduce", name, "--smoke", "--out", str(out)])
    said = capfd.readouterr()
    assert code == 0, said.out + said.err
    for peer in PEERS.get(name, ()):
        assert f"{peer} is missing: no {out / 'peers' / peer}" in said.err
    if name in PEERS:
        rows: list[dict[str, Any]] = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        assert {row["key"] for row in rows} == {expect.row["key"] for expect in cards.read(name).smoke.expect}
        beside = [row for row in rows if row["peer_name"] and not row["peer_name"].startswith("open-m6")]
        assert beside
        assert all(row["peer"] is None and row["ratio"] is None for row in beside)


@pytest.mark.xdist_group("smoke")
@pytest.mark.parametrize("name", ON_THE_RUN)
def test_a_card_on_the_shared_run(
    name: str, run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if SHARED not in reproduce.finished(run.parent):
        reproduce.note(run.parent, SHARED, 0.0)  # the fixture is this command
    again(name, run.parent, monkeypatch, capfd)


@pytest.mark.xdist_group("smoke")
def test_tasks_beside_others_have_intervals(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each score of the card `task_peers` with its interval, and how much better ours is than it."""
    test_a_card_on_the_shared_run("task_peers", run, monkeypatch, capfd)  # its commands have ended, as a rule
    rows = json.loads((run.parent / "task-peers.json").read_text(encoding="utf-8"))
    systems = {"m6", "m6_scratch", "m6_blind", "most_frequent", "nearest_picture", "trigram"}
    assert {row["system"] for row in rows} == systems
    assert all(row["low"] is None or row["low"] <= row["value"] <= row["high"] for row in rows)
    assert all(("better" in row) == (row["system"] != "m6") for row in rows)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(ON_THE_RUN)))
def test_a_card_of_its_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    again(name, tmp_path, monkeypatch, capfd)
