"""Arms of the recipe `tasks` without an objective: what is left out, what stays, and what is refused."""

from pathlib import Path

import pytest

from benchmarks.task_objectives import WITHOUT, main, recipe
from m6.recipes import tasks


@pytest.mark.parametrize("arm", WITHOUT)
def test_an_arm_leaves_out_its_objectives_and_keeps_all_else(arm: str) -> None:
    def taught(mixture: tuple) -> list[tuple[str, str, float]]:
        return [(entry.source, name, entry.samples) for entry in mixture for name in entry.objectives]

    whole, part = tasks.recipe(), recipe(arm, 0.1)
    kept = [row for row in taught(whole.pretrain.data.mixture) if row[1] not in WITHOUT[arm]]
    assert taught(part.pretrain.data.mixture) == kept
    assert set(WITHOUT[arm]) <= {name for _, name, _ in taught(whole.pretrain.data.mixture)}
    assert part.pretrain.loop.num_steps == round(0.1 * whole.pretrain.loop.num_steps)
    assert {entry.first_step for entry in part.pretrain.data.mixture} == {0, 60}
    assert (part.model, part.corpus, part.tokenizer) == (whole.model, whole.corpus, whole.tokenizer)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--share", "2"], "--share 2.0 is no share of the updates, it takes 0.01 to 1"),
        (["--only", "no_captions"], "no_captions"),
        ([], "has no finished corpus; make it with `m6 corpus tasks`"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
