"""What the ablations change, and how they tell it; the trainings themselves take an hour."""

import json
import statistics
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import ablations
from benchmarks.ablations import ABOUT_PICTURES, ABOUT_TEXT, CHANGES, main, recipe, scores, steps_to_reach, table
from benchmarks.curve import curve_svg
from benchmarks.layout import RESULTS
from m6.config import differences
from m6.data.packing import pack
from m6.model import transformer
from m6.model.config import ModelConfig
from m6.model.masks import build_mask
from m6.model.transformer import Transformer
from tests.unit.data.examples import VOCABULARY, mixed_samples

ROWS = [
    [{"step": step, "seconds": 5.0, "heldout/loss": loss, **{f"heldout/loss/{name}": loss for name in
      (*ABOUT_TEXT, *ABOUT_PICTURES)}}
     for step, loss in ((10, 6.0), (20, 5.0 - seed), (30, 4.0 - seed))]
    for seed in (0, 1)
]  # fmt: skip


def states() -> torch.Tensor:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(num_layers=2, hidden_size=32, num_heads=2, ffn_size=64), VOCABULARY.size)
    batch = pack(mixed_samples(), VOCABULARY, 8, 128)
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    with torch.no_grad():
        return model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_code_or_fields_and_is_undone(name: str) -> None:
    plain, change = states(), CHANGES[name]
    with change.code():
        found = states()
    assert found.isfinite().all()
    by_code = not torch.equal(found, plain)
    by_fields = bool(differences(recipe(change, 0, 100), recipe(CHANGES["dense"], 0, 100)))
    assert by_code != by_fields or name == "dense"
    assert torch.equal(states(), plain)


def test_order_alone_forgets_rows_and_columns() -> None:
    position = torch.tensor([[[3, 0, 0], [3, 5, 2], [4, 5, 2]]])
    with CHANGES["order_alone"].code():
        flat = vars(transformer)["rotary"](position, 16, 100.0)
    assert torch.equal(flat[0, 0], flat[0, 1])
    assert not torch.equal(flat[0, 1], flat[0, 2])


def test_the_step_at_which_a_loss_is_reached_lies_between_two_looks() -> None:
    assert steps_to_reach(ROWS[0], 5.5) == 15
    assert steps_to_reach(ROWS[0], 4.25) == 27.5
    assert steps_to_reach(ROWS[0], 3.0) is None


def test_the_table_has_means_and_deviations() -> None:
    lines = table({"dense": [scores(rows) for rows in ROWS]}).splitlines()
    assert lines[2].startswith("| dense | 3.500 ± 0.707 |")
    assert lines[2].endswith("| 0.500 ± 0.000 |")


def test_the_curve_is_svg_with_a_line_for_each_seed_and_their_mean() -> None:
    root = ElementTree.fromstring(curve_svg({"dense": ROWS}, "heldout/loss"))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [3, 3, 3]


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path), "--only", "dens"]) == 2
    assert "did you mean 'dense'" in capsys.readouterr().err
    assert main([str(tmp_path), "--out", str(tmp_path)]) == 2
    assert f"has no finished corpus; make it with `m6 corpus starter --out {tmp_path} && m6 tokenizer" in (
        capsys.readouterr().err
    )
    for words in (["--seeds", "0"], ["--steps", "10"], ["--curve", "/nonexistent/x.svg"]):
        assert main([str(tmp_path), "--out", str(tmp_path), *words]) == 2
        assert f"benchmarks: {' '.join(words)} " in capsys.readouterr().err


def test_json_has_every_point_of_every_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("corpus", "tokenizer"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "done.json").write_text("{}")
    monkeypatch.setattr(ablations, "measure", lambda source, out, name, seed, steps: ROWS[seed])
    words = [str(tmp_path), "--out", str(tmp_path), "--only", "dense", "--seeds", "2"]
    assert main([*words, "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["curves"] == {"dense": [[[10, 6.0], [20, 5.0], [30, 4.0]], [[10, 6.0], [20, 4.0], [30, 3.0]]]}


def test_what_the_guides_say_of_experts_is_in_the_results() -> None:
    docs = Path(ablations.__file__).parents[1] / "docs"
    curves = json.loads((RESULTS / "experts_curve_2cores_202611.json").read_text())["curves"]
    rows = {name: [[{"step": at, "heldout/loss": loss} for at, loss in one] for one in curves[name]] for name in curves}
    ends = [one[-1]["heldout/loss"] for one in rows["dense"]]
    reached = [steps_to_reach(one, end) or 0.0 for one, end in zip(rows["experts"], ends, strict=True)]
    means = {name: [statistics.mean(point[1] for point in column) for column in zip(*curves[name], strict=True)]
             for name in curves}  # fmt: skip
    ahead = [ours < theirs for ours, theirs in zip(means["experts"], means["dense"], strict=True)]
    first = curves["dense"][0][ahead.index(True)][0]
    assert ahead == sorted(ahead)
    for guide in ("en", "zh"):
        text = (docs / guide / "sizes.md").read_text()
        for number in (*(f"{step:.0f}" for step in reached), str(first), f"{statistics.mean(ends):.3f}"):
            assert number in text, number
