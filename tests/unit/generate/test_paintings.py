"""`m6 generate paint` from its arguments to its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from m6.config import UserError, load_recipe
from m6.data.sample import Branch, Sample
from m6.generate import paintings
from m6.generate.engine import Engine
from m6.recipes.recipe import Recipe
from m6.run import Run
from tests.unit.generate.small_engine import small_engine

PROMPT = "一只戴眼镜的猫"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with the recipe of the smoke test, and a small engine in the place of its weights."""
    monkeypatch.setattr(Engine, "load", lambda folder, int8=False: small_engine())
    return Run.open(tmp_path / "run", load_recipe("smoke")).folder


def told(path: Path) -> dict[str, Any]:
    """The texts of a PNG."""
    with Image.open(path) as opened:
        opened.load()
        return dict(opened.text)  # type: ignore[attr-defined]


def test_the_best_of_some_candidates(run: Path, tmp_path: Path) -> None:
    """By the scores that whole forward passes give: log p(prompt | picture) - log p(prompt), a token."""
    out = tmp_path / "out"
    given = {"n": 5, "best": 2, "size": "32x16", "guidance": 3.0, "seed": 7}
    lines = paintings.paint(run, out, PROMPT, **given)
    assert sorted(path.name for path in out.iterdir()) == ["01.png", "02.png", "sheet.png"]
    assert len(lines) == 3
    engine, found = small_engine(), {}
    text = engine.text(PROMPT)
    for seed in range(7, 12):
        paintings.paint(run, tmp_path / f"{seed}.png", PROMPT, size="32x16", guidance=3.0, seed=seed, temperature=1.0)
        picture = Image.open(tmp_path / f"{seed}.png").resize((16, 16), Image.Resampling.BOX)
        seeing, blind = engine.losses([
            Sample("", prefix, (Branch("x", (), text),)) for prefix in ((engine.picture(np.asarray(picture)),), ())
        ])  # fmt: skip
        found[seed] = (blind - seeing) / (len(text.ids) + 1)
    ordered = sorted(found, key=lambda seed: -found[seed])
    for number, seed in enumerate(ordered[:2], start=1):
        about = told(out / f"{number:02}.png")
        assert about == {
            "prompt": PROMPT, "guidance": "3", "temperature": "1", "seed": str(seed), "size": "32x16",
            "score": about["score"],
        }  # fmt: skip
        assert float(about["score"]) == pytest.approx(found[seed], abs=2e-4)
        pixels, alone = (np.asarray(Image.open(path)) for path in (out / f"{number:02}.png", tmp_path / f"{seed}.png"))
        assert (pixels == alone).all()
    assert told(out / "sheet.png")["seed"].split() == [str(seed) for seed in ordered]
    assert Image.open(out / "sheet.png").size == (3 * 32 + 2 * 4, 2 * 16 + 4)


def test_of_each_prompt_the_candidate_that_fits_best() -> None:
    engine, prompts = small_engine(), ["猫", PROMPT]
    rounds = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 16, 3), dtype=np.uint8)
    best = paintings.best_of(engine, prompts, rounds)
    for place, prompt in enumerate(prompts):
        found = [paintings.scores(engine, rounds[number, place][None], prompt)[0] for number in range(3)]
        assert (best[place] == rounds[int(np.argmax(found)), place]).all()
    assert (paintings.best_of(engine, prompts, rounds[:1]) == rounds[0]).all()


def test_the_same_seed_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        paintings.paint(run, tmp_path / name, PROMPT, n=3, seed=2)
    for file in ("01.png", "02.png", "03.png", "sheet.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    paintings.paint(run, tmp_path / "c", PROMPT, n=3, seed=2, ahead=3)
    assert (tmp_path / "a" / "sheet.png").read_bytes() == (tmp_path / "c" / "sheet.png").read_bytes()
    assert (tmp_path / "a" / "01.png").read_bytes() != (tmp_path / "a" / "02.png").read_bytes()


def test_it_can_be_watched(run: Path, tmp_path: Path) -> None:
    paintings.paint(run, tmp_path / "out", PROMPT, n=2, size="32", show_every=3)
    with Image.open(tmp_path / "out" / "progress.png") as opened:
        pixels = np.asarray(opened)
    assert (pixels[24:, :32] == 128).all()  # after three of the four rows
    assert not (pixels[:24, :32] == 128).all()


def learnt(folder: Path, *objectives: str) -> None:
    """Makes the run one that has learnt these on scenes."""
    entry = {"source": "scenes", "samples": 1, "objectives": dict.fromkeys(objectives, 1.0)}
    config = Recipe.read(folder / "config.json").override({"pretrain.data.mixture": [entry]})
    config.write(folder / "config.json")


@pytest.mark.parametrize("by", ["region", "mask"])
def test_a_region_is_painted_and_the_rest_kept(run: Path, tmp_path: Path, by: str) -> None:
    learnt(run, "inpainting")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "given.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 36:60] = 255  # twice as fine as the painting: its pixels 10 to 15 down and 18 to 30 across
    Image.fromarray(mask).save(tmp_path / "mask.png")
    where: dict[str, Any] = {"mask": tmp_path / "mask.png"} if by == "mask" else {"region": (18, 10, 12, 5)}
    paintings.paint(run, tmp_path / "a.png", PROMPT, size="32", image=tmp_path / "given.png", **where)
    painted = np.asarray(Image.open(tmp_path / "a.png"))
    touched = np.zeros((32, 32), bool)
    touched[8:16, 16:32] = True  # cells are 8 pixels wide
    assert (painted[~touched] == pixels[~touched]).all()
    assert not (painted[touched] == pixels[touched]).all()
    text = Image.open(tmp_path / "a.png").text  # type: ignore[attr-defined]
    assert text["image"] == "given.png"
    assert text[by] == ("mask.png" if by == "mask" else "18,10,12,5")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 0}, "n 0: it has to be from 1 to 256"),
        ({"n": 257}, "n 257: it has to be from 1 to 256"),
        ({"n": 4, "best": 5}, "best 5: it has to be from 1 to n, here 4"),
        ({"guidance": -0.5}, "guidance -0.5: it has to be 0 or above"),
        ({"guidance": float("nan")}, "guidance nan"),
        ({"guidance": float("inf")}, "guidance inf"),
        ({"size": "60"}, "60 is no multiple of 8"),
        ({"coarse": "60"}, "this run has not learnt coarse_to_fine; it has learnt captioning"),
        ({"ahead": 0}, "ahead 0: it has to be 1"),
        ({"show_every": -1}, "show_every -1"),
        ({"n": 4, "temperature": 0.0}, "all candidates would be the same"),
        ({"seed": -1}, "seed -1"),
        ({"region": (0, 0, 8, 8)}, "to edit a picture give --image, and --region or --mask"),
        ({"image": Path("x.png")}, "to edit a picture give --image, and --region or --mask"),
        ({"prompt": " "}, "prompt: the text is empty"),
        ({"prompt": "梨" * 200}, "has 200 tokens, this model reads at most 128; shorten it"),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        paintings.paint(run, tmp_path / "out", **{"prompt": PROMPT, **given})
    assert not list(tmp_path.glob("out/*.png"))


def test_mistakes_in_a_region(run: Path, tmp_path: Path) -> None:
    learnt(run, "inpainting")
    Image.new("RGB", (40, 24)).save(tmp_path / "given.png")
    Image.new("L", (16, 16)).save(tmp_path / "black.png")
    for given, said in (
        ({"region": (0, 0, 20, 4)}, "it has to lie within the painting, 16x16 pixels"),
        ({"region": (0, 0, 0, 4)}, "and not be empty"),
        ({"mask": tmp_path / "black.png"}, "nothing in it is white"),
        ({"region": (0, 0, 8, 8), "size": "16x32"}, "needs a picture of its size"),
        ({"region": (0, 0, 8, 8), "coarse": "16"}, "is painted at once"),
    ):
        with pytest.raises(UserError, match=said):
            paintings.paint(run, tmp_path / "a.png", PROMPT, image=tmp_path / "given.png", **given)


def test_what_a_run_has_not_learnt_is_refused(run: Path, tmp_path: Path) -> None:
    learnt(run, "captioning", "matching")
    with pytest.raises(UserError, match="has not learnt text_to_image and never saw image codes; it has learnt capt"):
        paintings.paint(run, tmp_path / "a.png", PROMPT)
    learnt(run, "text_to_image")
    with pytest.raises(UserError, match="--best needs a run that has learnt captioning"):
        paintings.paint(run, tmp_path / "out", PROMPT, n=4, best=2)


def test_where_it_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for output, given, said in (
        (tmp_path / "none" / "a.png", {}, "no folder"),
        (tmp_path / "a.png", {"n": 3}, "one file, and 3 pictures to write; name a folder"),
        (tmp_path / "a.png", {"show_every": 2}, "written into a folder"),
        (tmp_path / "file", {"n": 3}, "it is a file; name another"),
        (tmp_path / "folder.png", {}, "it is a folder; name another"),
        (tmp_path / "a.jpg", {}, "a.jpg: pictures are written as PNG; give --output a name that ends in .png"),
        (Path("/proc/a.png"), {}, "/proc: nothing can be written there .*; name another place with --output"),
        (Path("/proc/folder"), {"n": 3}, "/proc: nothing can be written there"),
    ):
        with pytest.raises(UserError, match=said):
            paintings.paint(run, output, PROMPT, **given)


def test_a_size_that_was_never_seen_is_warned_of(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "m6: --size 32: this run has seen pictures of 16x16 pixels alone; another size may come out as nothing\n"
    for size, said in (("32", line), ("16", ""), ("", "")):
        paintings.paint(run, tmp_path / "a.png", PROMPT, size=size)
        assert capsys.readouterr().err == said
    engine = small_engine()
    engine.data = engine.data.override({"tell_size": True})
    monkeypatch.setattr(Engine, "load", lambda folder, int8=False: engine)
    paintings.paint(run, tmp_path / "a.png", PROMPT, size="32")
    assert capsys.readouterr().err == ""
