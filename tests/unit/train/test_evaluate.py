"""Evaluation: the scores of a model that knows everything and of one that lies; parts are done only once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m6.corpus.document import Document, make_document
from m6.data.config import DataConfig
from m6.data.poem_forms import has_form
from m6.data.sample import Picture, Sample, Text
from m6.model.transformer import Transformer
from m6.recipes import quickstart
from m6.recipes.recipe import Recipe
from m6.run import Run, write_atomic
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import Vocabulary
from m6.train import evaluate
from m6.train.config import EvaluateStage
from m6.train.evaluate import captions, matches, paintings, questions, verses
from m6.train.evaluate.material import Evaluation, nearest_other, pixels_of
from m6.train.results import write_results
from m6.vqgan.model import VQGAN
from tests.unit.checkpoints import save_weights
from tests.unit.small_corpus import documents, tokenizer, write_corpus


@cache
def rows() -> list[Document]:
    return documents()


def small_recipe() -> Recipe:
    """The quickstart's, with a model that is no model to speak of."""
    return quickstart.recipe().override(
        {
            "vqgan.model.channels": (8, 16, 24),
            "model.hidden_size": 32,
            "model.num_heads": 2,
            "model.num_layers": 1,
            "model.ffn_size": 32,
            "model.stem": "linear",
            "evaluate.num_samples": 4,
            "evaluate.num_poems": 6,
            "evaluate.judge_scenes": 12,
            "evaluate.judge_steps": 2,
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder up to the end of pretraining, its weights as they were drawn."""
    torch.manual_seed(0)
    recipe = small_recipe()
    run = Run.open(tmp_path_factory.mktemp("evaluated"), recipe)
    text = tokenizer(write_corpus(run.folder / "corpus"))
    write_atomic(run.stage("tokenizer") / "tokenizer.json", text._tokenizer.to_str())
    codes = recipe.vqgan.model
    model = Transformer(recipe.model, Vocabulary(text.size, codes.num_codes).size)
    for name, module in (("vqgan", VQGAN(codes)), ("pretrain", model)):
        save_weights(run.stage(name), module)
    return run


class Oracle:
    """Stands for the engine; it recognises every picture and knows what the corpus says of it."""

    def __init__(self, shown: Sequence[Document], *, lies: bool) -> None:
        self.tokenizer: TextTokenizer = tokenizer(list(shown))
        self.data: DataConfig = quickstart.recipe().pretrain.data
        self.lies = lies
        self.known = {pixels.tobytes(): d for d, pixels in zip(shown, pixels_of(shown), strict=True)}

    def text(self, text: str) -> Text:
        return Text(tuple(self.tokenizer.encode(text)))

    def picture(self, pixels: np.ndarray) -> Picture:
        return Picture(pixels)

    def write_texts(self, prefixes: Sequence[Any], max_tokens: int) -> list[str]:
        return ["又" if self.lies else self._answer(*prefix) for prefix in prefixes]

    def _answer(self, picture: Picture, asked: Text | None = None) -> str:
        document = self.known[picture.pixels.tobytes()]
        if asked is None:
            return document["text"]
        words = self.tokenizer.decode(list(asked.ids))
        answers = {q["question"]: q["answer"] for q in document["questions"]}
        return answers.get(words) or ("是" if words == document["text"] else "否")

    def losses(self, samples: Sequence[Sample]) -> np.ndarray:
        """A text costs its length; less after its own picture, more after another (or the reverse)."""
        found = []
        for sample in samples:
            target = sample.branches[0].target
            assert isinstance(target, Text)
            gain = 0.0
            if sample.prefix:
                assert isinstance(sample.prefix[0], Picture)
                own = self.known[sample.prefix[0].pixels.tobytes()]["text"]
                gain = 1.0 if (self.tokenizer.decode(list(target.ids)) == own) is not self.lies else -1.0
            found.append(len(target.ids) - gain)
        return np.array(found)


def questioned(run: Run, *, lies: bool) -> Evaluation:
    about = Evaluation(run.folder, EvaluateStage(num_samples=20), 0)
    (run.stage("evaluate") / "pictures").mkdir(exist_ok=True)
    about.__dict__["engine"] = Oracle([d for d in rows() if d["images"]], lies=lies)
    return about


@pytest.mark.parametrize("lies", [False, True])
def test_who_knows_everything_scores_one_and_who_lies_scores_nothing(run: Run, lies: bool) -> None:
    about = questioned(run, lies=lies)
    for part in (captions.captions, questions.questions, matches.match):
        scores, examples = part(about)
        wrong = {
            key: value
            for key, value in scores.items()
            if not key.endswith((".baseline", ".low", ".high")) and "yes_no" not in key and value != float(not lies)
        }
        # A liar has no keywords and no names, but the keywords of the corpus are more than the text tells.
        assert not {key for key in wrong if "keyword" not in key or lies}, part.__name__
        assert scores
        for row in examples.get("captions", []) + examples.get("questions", []):
            assert row["right"] is (not lies)
        for row in (row for rows in examples.values() for row in rows):
            assert bool(row["unseen"]) is (row["source"] == "scenes" and row["split"] == "heldout")


def test_own_sources_are_scored_like_the_bundled_ones(run: Run) -> None:
    about = questioned(run, lies=False)
    about.__dict__["documents"] = [{**row, "source": "folder"} for row in rows() if row["source"] == "emoji"]
    scores, examples = captions.captions(about)
    for split in ("seen", "heldout"):
        for kind in ("exact", "overlap"):
            assert scores[f"folder.caption_{kind}_{split}"] == 1.0
            assert scores[f"folder.caption_{kind}_{split}.baseline"] < 1.0
    assert {row["source"] for row in examples["captions"]} == {"folder"}
    assert matches.match(about)[0]["folder.matching_heldout"] == 1.0


def test_the_nearest_is_another_document_and_truly_the_nearest() -> None:
    known = [d for d in rows() if d["source"] == "emoji"][:20]
    pixels = pixels_of(known)
    found = nearest_other(known[:6], pixels[:6], known, pixels)
    for index, near in enumerate(found):
        errors = [((pixels[index].astype(float) - other) ** 2).sum() for other in pixels]
        errors[index] = np.inf
        assert near == int(np.argmin(errors))
    moved = np.roll(pixels[:1], 1, axis=1)  # a picture of a document that is not among the known ones
    assert nearest_other([make_document("emoji", "别")], moved, known, pixels) == [0]


def test_a_text_that_does_not_fit_is_the_known_one_or_of_the_same_category() -> None:
    def thing(title: str, category: str) -> Document:
        return make_document("emoji", f"{title}。", title=title, attributes={"category": category})

    things = [thing("猫", "动物"), thing("狗", "动物"), thing("梨", "水果"), thing("桃", "水果"), thing("鼓", "乐器")]
    rng = np.random.default_rng(0)
    assert {matches.unfitting(things[0], things, rng) for _ in range(20)} == {"狗。"}
    assert {matches.unfitting(things[4], things, rng) for _ in range(60)} == {"猫。", "狗。", "梨。", "桃。"}
    scene = make_document("scenes", "一个梨", attributes={"unfitting": "两个梨\n一个桃"})
    assert {matches.unfitting(scene, [scene], rng) for _ in range(20)} == {"两个梨", "一个桃"}


def test_pictures_without_titles_are_told_apart_by_their_texts() -> None:
    photos = [make_document("folder", text) for text in ("橘猫", "橘猫", "银杏")]
    rng = np.random.default_rng(0)
    assert [matches.unfitting(photo, photos, rng) for photo in photos] == ["银杏", "银杏", "橘猫"]


def test_poems_of_several_forms_are_written_each_in_its_own(run: Run) -> None:
    about = Evaluation(run.folder, EvaluateStage(num_poems=4), 0)
    poems = [d for d in rows() if d["source"] == "poems"]
    fitting = [d for d in poems if has_form(d["text"], d["attributes"]["form"])]
    by_form = {d["attributes"]["form"]: d for d in fitting}
    assert len(by_form) > 1
    heldout = [{**d, "split": "heldout"} for d in by_form.values()][:4]
    about.__dict__["documents"] = [*heldout, *(d for d in poems if d not in by_form.values())]
    scores, examples = verses.verse(about)
    assert scores["poem.form_rate"] == 1.0
    assert [row["title"] for row in examples["poems"]] == [d["title"] for d in heldout]
    assert all(has_form(row["written"], row["form"]) for row in examples["poems"])
    vocabulary = about.engine.vocabulary.size  # a model that knows nothing is about as surprised as by any token
    assert scores["poem.bits_per_char_heldout"] == pytest.approx(np.log2(vocabulary), rel=0.2)


class Painter:
    """Stands for an engine that paints everything grey, and for a judge that keeps what it is shown."""

    codes_side = 8

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], np.ndarray]] = []
        self.shown: list[np.ndarray] = []

    def encode_pictures(self, pixels: np.ndarray) -> np.ndarray:
        return np.zeros((len(pixels), 8, 8), int)

    def decode_codes(self, codes: np.ndarray) -> np.ndarray:
        return np.full((len(codes), 64, 64, 3), 128, np.uint8)

    def paint(self, engine: Any, prompts: list[str], grid: Any, guidance: float, edit: Any) -> np.ndarray:
        self.asked.append((prompts, edit.region))
        assert edit.codes.shape == (len(prompts), 8, 8)
        codes: np.ndarray = edit.codes
        return codes

    def right(self, pictures: np.ndarray, wanted: Sequence[Any]) -> list[bool]:
        self.shown.append(pictures)
        return [True] * len(pictures)


def test_the_half_with_the_last_thing_is_painted_anew_and_the_rest_stays(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [d for d in rows() if d["source"] == "scenes" and "\n" in d["attributes"]["things"]]
    scenes = [d for d in scenes if d["attributes"]["kind"] == "pair"][:8]
    upright = [d["attributes"]["place"] == "above" for d in scenes]
    assert len(set(upright)) == 2
    about = Evaluation(run.folder, EvaluateStage(), 0)
    (run.stage("evaluate") / "pictures").mkdir(exist_ok=True)
    painter = Painter()
    about.__dict__["engine"] = painter
    monkeypatch.setattr(paintings, "paint_codes", painter.paint)
    black = np.zeros((len(scenes), 64, 64, 3), np.uint8)
    scores, shown = paintings.filled_scenes(about, scenes, black, painter)  # type: ignore[arg-type]
    assert scores["scene.filled_right_heldout"] == 1.0
    assert [each["prompt"] for each in shown] == [d["text"] for d in scenes]
    for found, value in zip(painter.shown, (128, 0), strict=True):
        for picture, true, below in zip(found, pixels_of(scenes), upright, strict=True):
            turned, own = (each.swapaxes(0, 1) if below else each for each in (picture, true))
            assert np.array_equal(turned[:, :32], own[:, :32])
            assert (turned[:, 32:] == value).all()
    for prompts, region in painter.asked:
        assert region.sum() == 32
        assert {d["attributes"]["place"] == "above" for d in scenes if d["text"] in prompts} == {not region[0, 7]}


def test_every_score_has_its_baseline_and_every_example_its_picture(run: Run) -> None:
    evaluate.run(run, small_recipe().evaluate, 0)
    folder = run.folder / "evaluate"
    scores = json.loads((folder / "scores.json").read_text())
    plain = {key for key in scores if not key.endswith((".baseline", ".low", ".high"))} - {"scene.judge_accuracy"}
    assert {"caption.exact_seen", "vqa.accuracy_seen", "matching.accuracy_seen", "scene.paint_right_heldout"} <= plain
    assert {"matching.yes_no_seen", "matching.yes_no_heldout", "scene.matching_yes_no_heldout"} <= plain
    assert not {key for key in plain if f"{key}.baseline" not in scores}
    assert all(scores[f"{key}.low"] <= scores[key] <= scores[f"{key}.high"] for key in plain if f"{key}.low" in scores)
    examples = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    assert {"captions", "questions", "paintings", "reconstructions", "matching"} <= set(examples)
    for kind, shown in examples.items():
        for row in shown:
            named = [row[name] for name in ("picture", "restored", "reference") if row.get(name)]
            assert named or kind == "poems"
            assert not [name for name in named if not (folder / name).is_file()]
    results = write_results(run)
    assert results == json.loads((run.folder / "results.json").read_text())
    assert scores.items() <= results.items()


def test_a_part_that_is_done_is_not_done_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def part(name: str, broken: bool = False) -> Any:
        def work(about: Evaluation) -> tuple[dict[str, float], dict[str, list[dict[str, Any]]]]:
            calls.append(name)
            if broken:
                raise KeyboardInterrupt
            return {name: 1.0}, {"poems": [{"title": name}]}

        return work

    monkeypatch.setattr(evaluate, "PARTS", {"one": part("one"), "two": part("two", broken=True)})
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(run, EvaluateStage(), 0)
    monkeypatch.setattr(evaluate, "PARTS", {"one": part("one"), "two": part("two")})
    evaluate.run(run, EvaluateStage(), 0)
    assert calls == ["one", "two", "two"]
    folder: Path = run.folder / "evaluate"
    assert json.loads((folder / "scores.json").read_text()) == {"one": 1.0, "two": 1.0}
    assert [row["title"] for row in json.loads((folder / "examples.json").read_text())["poems"]] == ["one", "two"]
