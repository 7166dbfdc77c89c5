"""The command `m6 plan`: what it shows, as a page and as JSON, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from m6.cli import main
from m6.config import UserError
from m6.plan import plan


def test_the_page_has_mesh_memory_time_and_the_command() -> None:
    page = plan(["10b", "--gpus", "64", "--price", "2", "--corpus-tokens", "100000000000"])
    assert page.startswith("10b on 64 x a100-80g: fits, ")
    told = ("1 copy of the model over 64 GPUs", "all tensors, at the peak", "all_gather among 64 (shard)")
    for words in (*told, "torchrun --nnodes 8 --nproc-per-node 8 -m m6.cli pretrain 10b", "products at 40%"):
        assert words in page
    assert "100,000,000,000 tokens take" in page


def test_json_has_the_same_numbers_and_the_papers_figure_with_its_mark() -> None:
    facts = json.loads(plan(["100b", "--gpus", "128", "--json"]))
    assert facts["fits"]
    assert facts["mesh"]["replicate"] * facts["mesh"]["shard"] == 128
    assert facts["tokens_per_step"] == facts["rows"] * facts["length"] * facts["accumulate"] * 128
    assert facts["samples_per_second"] == pytest.approx(facts["tokens_per_second"] / facts["length"])
    assert facts["paper"]["samples_per_second"] == 1440
    assert facts["paper"]["mark"] == "recalled"


def test_what_one_chooses_oneself_is_kept(tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    own.write_text(
        '{"memory_gib": 24, "tflops": 165, "memory_gb_per_s": 1008, "link_gb_per_s": 25, "network_gb_per_s": 3}'
    )
    given = ["base", "--gpus", "4", "--gpu", str(own), "--replicate", "2", "--rows", "2", "--checkpointing", "full"]
    facts = json.loads(plan([*given, "--mfu", "0.3", "--json"]))
    assert (facts["mesh"]["replicate"], facts["rows"], facts["checkpointing"]) == (2, 2, "full")
    assert facts["mfu"] == {"value": 0.3, "assumed": False}
    assert facts["gpu"]["memory_gib"] == 24


def test_what_does_not_fit_is_said_plainly() -> None:
    page = plan(["100b", "--gpus", "8", "--gpu", "h100"])
    assert page.startswith("100b on 8 x h100: DOES NOT FIT")
    assert "What would fit: " in page


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "takes one size, recipe or run folder, got none"),
        (["10b"], "needs --gpus"),
        (["10b", "--gpus", "0"], "--gpus: '0' is not a whole number from 1 on"),
        (["11b", "--gpus", "8"], "no size, recipe or run folder '11b', did you mean '10b'"),
        (["10b", "--gpus", "8", "--gpu", "b200"], "no GPU 'b200'"),
        (["10b", "--gpus", "8", "--mfu", "2"], "--mfu 2: a share"),
        (["10b", "--gpus", "8", "--price", "x"], "--price: 'x' is not a number above 0"),
        (["10b", "--gpus", "8", "--checkpointing", "some"], "allowed are none, selective, full"),
        (["10b", "--gpus", "8", "--node", "1"], "--node: no such flag"),
        (["10b", "--gpus", "8", "--experts", "2"], "no mesh of 8 GPUs"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_a_file_that_is_no_gpu_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"memory_gib": 24}')
    with pytest.raises(UserError, match=r"mine\.json: tflops"):
        plan(["base", "--gpus", "4", "--gpu", str(tmp_path / "mine.json")])


def test_it_needs_no_torch() -> None:
    code = "import sys; from m6.plan import plan; plan(['10b', '--gpus', '8']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_dry_run_stands_beside_the_plan() -> None:
    facts = json.loads(plan(["nano", "--gpus", "2", "--replicate", "1", "--rows", "2", "--dry-run", "--json"]))
    real = facts["dry_run"]
    assert real["peak"] == pytest.approx(facts["memory"]["tensors"], rel=0.1)
    counted = {(each["kind"], each["axis"]) for each in real["traffic"]}
    assert {(each["kind"], each["axis"]) for each in facts["traffic"]} <= counted
