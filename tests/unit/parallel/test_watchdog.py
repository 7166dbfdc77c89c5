"""The report of a hang, and what ranks compare before they start."""

import traceback
from pathlib import Path

from m6.config import Config
from m6.parallel.fingerprint import differences, fingerprint
from m6.parallel.watchdog import Beat, describe, waiting_in


def beat(phase: str, moves: int, collective: str = "", stack: str = "  File x\n", left: int | None = None) -> Beat:
    return Beat(9, phase, 12, moves, 61.0, collective, stack, left)


def test_who_is_in_no_collective_is_behind() -> None:
    waits = beat("backward", 7, "all_reduce (m6/train/loop.py:1)")
    report = describe([waits, beat("forward", 6), waits], [], 60)
    assert report.startswith("m6: the training hangs: rank 1 has been in forward of step 12 for 61 s\n")
    assert "  ranks 0, 2 wait in all_reduce (m6/train/loop.py:1)\n" in report
    assert "where rank 1 is:\n    File x\n" in report
    assert "where rank 0 is" not in report


def test_who_gives_no_sign_is_behind_and_who_has_left_is_not() -> None:
    waits = beat("backward", 7, "all_reduce (m6/train/loop.py:1)")
    report = describe([waits, beat("data", 9), beat("start", 1, left=0)], [1], 60)
    assert "rank 1 gives no sign of life" in report
    assert "rank 0 waits in all_reduce" in report
    assert "rank 2" not in report
    assert "where" not in report


def test_of_ranks_that_all_wait_the_one_that_came_least_far_is_behind() -> None:
    report = describe([beat("update", 8, "all_reduce (a)"), beat("forward", 6, "all_gather (b)")], [], 60)
    assert "rank 1 has been in forward" in report
    assert "rank 0 waits in all_reduce (a)" in report


def test_a_collective_is_named_with_our_line() -> None:
    def frame(file: str, line: int, name: str) -> traceback.FrameSummary:
        return traceback.FrameSummary(file, line, name, lookup_line=False)

    ours = [frame("/x/m6/cli.py", 1, "main"), frame("/x/m6/parallel/mesh.py", 83, "gather")]
    torch = [
        frame("/p/torch/distributed/c10d_logger.py", 83, "wrapper"),
        frame("/p/torch/distributed/distributed_c10d.py", 3000, "all_gather_object"),
        frame("/p/torch/distributed/distributed_c10d.py", 4000, "all_gather"),
    ]
    assert waiting_in(ours + torch) == "all_gather_object (m6/parallel/mesh.py:83)"
    assert waiting_in(ours) == ""


def test_differences_name_ranks_and_values() -> None:
    same = {"torch": "2.13.0", "the corpus": "abc"}
    assert differences([same, dict(same)]) == []
    found = differences([same, same | {"torch": "2.11.0"}, {"torch": "2.13.0"}])
    assert found == [
        "torch: 2.13.0 on ranks 0, 2; 2.11.0 on rank 1",
        "the corpus: abc on ranks 0, 1; missing on rank 2",
    ]


def test_a_fingerprint_knows_code_versions_config_and_data(tmp_path: Path) -> None:
    class Small(Config):
        steps: int = 3

    before = fingerprint(tmp_path, Small())
    assert before["steps"] == "3"
    assert before["the corpus"] == "missing"
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "manifest.json").write_text("{}")
    after = fingerprint(tmp_path, Small(steps=4))
    assert {name for name in before if before[name] != after[name]} == {"steps", "the corpus"}
    assert {"the code of m6", "python", "torch", "numpy"} <= set(before)
