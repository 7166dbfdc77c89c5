"""The benchmark of the model of the package: how its scores stand beside another's."""

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks come with the repository alone")

from benchmarks.mini import _beside


def scored(name: str, value: float, low: float, high: float) -> dict[str, float]:
    return {name: value, f"{name}.low": low, f"{name}.high": high, f"{name}.baseline": 0.25}


def test_a_score_lies_above_where_the_intervals_do_not_meet() -> None:
    ours = (
        scored("a_heldout", 0.9, 0.85, 0.95) | scored("b_heldout", 0.5, 0.4, 0.6) | scored("c_heldout", 0.2, 0.1, 0.3)
    )
    peer = (
        scored("a_heldout", 0.8, 0.75, 0.84) | scored("b_heldout", 0.5, 0.6, 0.7) | scored("c_heldout", 0.4, 0.31, 0.5)
    )
    seen = scored("d_seen", 1.0, 0.9, 1.0)
    bits, none = {"poem.bits": 7.0, "poem.bits.baseline": 8.0}, {"e_heldout": 1.0}
    counted, *rows = _beside("key", ours | seen | bits | none, peer | seen | bits | none, "other")
    assert counted["ours"] == 1
    assert "of 3 held-out scores" in counted["note"]
    names = ["a_heldout", "b_heldout", "c_heldout", "d_seen", "poem.bits"]
    assert [row["key"] for row in rows] == [f"key_{name}" for name in names]
    assert [row["note"].rpartition(": ")[2] for row in rows[:3]] == ["above", "overlaps", "below"]
    assert rows[0]["note"].startswith("trivial baseline 0.250; ")
    assert rows[0]["ratio"] == pytest.approx(0.9 / 0.8)
    assert (rows[4]["unit"], rows[4]["note"]) == ("bits", "trivial baseline 8.000")
