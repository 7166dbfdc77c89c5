"""Each objective on real Documents, against its row of the Sample table."""

from itertools import pairwise
from typing import cast

import numpy as np
import pytest

from m6.corpus.document import Document, Question, make_document
from m6.data.config import DataConfig
from m6.data.objectives import (
    PAINTING,
    SEEING,
    STANDALONE,
    YES,
    mask_spans,
    product_prompt,
    question_prompt,
    visual_question_prompt,
)
from m6.data.sample import HIDDEN, Codes, Text
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.vocabulary import MASK, MATCH
from tests.unit.small_corpus import documents, tokenizer


class Surroundings:
    """The least an objective needs."""

    config = DataConfig(empty_prompt=0.0)

    def __init__(self, text: TextTokenizer) -> None:
        self.text = text

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.text.encode(text))

    def codes(self, document: Document) -> Codes:
        return Codes(np.zeros((8, 8), int))

    def coarse_codes(self, document: Document) -> Codes:
        return Codes(np.ones((2, 2), int))

    def unfitting_text(self, document: Document, rng: np.random.Generator) -> str:
        return "左边是猫"


ROWS = documents()
AROUND = Surroundings(tokenizer(ROWS))
PICTURE = next(row for row in ROWS if row["source"] == "emoji")
POEM = next(row for row in ROWS if row["source"] == "poems")


@pytest.mark.parametrize(
    ("name", "prefix", "target"),
    [
        ("language_modelling", "", PICTURE["text"]),
        ("captioning", "", PICTURE["text"]),
        ("poem", f"{POEM['attributes']['form']}《{POEM['title']}》", POEM["text"]),
    ],
)
def test_texts_stand_where_the_table_puts_them(name: str, prefix: str, target: str) -> None:
    document = POEM if name == "poem" else PICTURE
    (branch,) = (SEEING | STANDALONE)[name](document, AROUND, np.random.default_rng(0))
    assert branch.objective == name
    assert isinstance(branch.target, Text)
    assert "".join(AROUND.text.decode(list(part.ids)) for part in branch.prefix if isinstance(part, Text)) == prefix
    assert AROUND.text.decode(list(branch.target.ids)) == target


@pytest.mark.parametrize("name", ["text_denoising", "image_denoising"])
def test_denoising_asks_for_the_whole_text(name: str) -> None:
    (branch,) = (SEEING | STANDALONE)[name](POEM, AROUND, np.random.default_rng(0))
    assert isinstance(branch.target, Text)
    assert AROUND.text.decode(list(branch.target.ids)) == POEM["text"]
    assert isinstance(branch.prefix[0], Text)
    assert MASK in branch.prefix[0].ids


def test_matching_says_yes_of_its_own_text_and_no_of_another() -> None:
    answers = set()
    for seed in range(20):
        (branch,) = SEEING["matching"](PICTURE, AROUND, np.random.default_rng(seed))
        assert isinstance(branch.target, Text)
        assert isinstance(branch.prefix[0], Text)
        assert branch.prefix[0].ids[-1] == MATCH
        shown = AROUND.text.decode(list(branch.prefix[0].ids))
        answer = AROUND.text.decode(list(branch.target.ids))
        assert (answer == YES) == (shown == PICTURE["text"])
        answers.add(answer)
    assert len(answers) == 2


def test_questions_are_those_of_the_document() -> None:
    known = {(question["question"], question["answer"]) for question in PICTURE["questions"]}
    asked = set()
    for seed in range(20):
        branches = SEEING["visual_question_answering"](PICTURE, AROUND, np.random.default_rng(seed))
        assert len(branches) == min(len(known), AROUND.config.max_questions)
        for branch in branches:
            assert isinstance(branch.target, Text)
            assert isinstance(branch.prefix[0], Text)
            asked.add((AROUND.text.decode(list(branch.prefix[0].ids)), AROUND.text.decode(list(branch.target.ids))))
    assert asked == known
    assert SEEING["visual_question_answering"](POEM, AROUND, np.random.default_rng(0)) == ()


def test_pictures_are_painted_from_their_text_or_from_nothing() -> None:
    (branch,) = STANDALONE["text_to_image"](PICTURE, AROUND, np.random.default_rng(0))
    assert isinstance(branch.target, Codes)
    assert branch.prefix
    AROUND.config = DataConfig(empty_prompt=1.0)
    (branch,) = STANDALONE["text_to_image"](PICTURE, AROUND, np.random.default_rng(0))
    AROUND.config = DataConfig(empty_prompt=0.0)
    assert branch.prefix == ()


@pytest.mark.parametrize("length", [1, 2, 7, 40, 200])
def test_spans_hide_the_share_and_leave_one_mask_each(length: int) -> None:
    ids = list(range(100, 100 + length))
    for seed in range(20):
        masked = mask_spans(ids, np.random.default_rng(seed), share=0.15, mean_span=3.0)
        kept = [token for token in masked if token != MASK]
        assert kept == sorted(kept)
        assert length - len(kept) == max(1, round(0.15 * length)) or length < 8
        assert 1 <= masked.count(MASK) <= length - len(kept)
        assert not any(a == b == MASK for a, b in pairwise(masked))


def written(document: Document, name: str, seed: int = 0) -> list[tuple[str, str]]:
    """Prefix and target of each branch, as texts."""
    made = STANDALONE[name](document, AROUND, np.random.default_rng(seed))
    assert {branch.objective for branch in made} <= {name}
    texts = []
    for branch in made:
        (prefix,) = branch.prefix
        assert isinstance(prefix, Text)
        assert isinstance(branch.target, Text)
        texts.append((AROUND.text.decode(list(prefix.ids)), AROUND.text.decode(list(branch.target.ids))))
    return texts


def test_a_question_is_asked_without_a_picture_and_with_a_cue() -> None:
    """Every question comes up; a document with none gives nothing, and one with a picture is asked blind."""
    asked = make_document(
        "idioms",
        "",
        title="画蛇添足",
        questions=[
            Question(kind="meaning", question="画蛇添足是什么意思？", answer="多此一举"),
            Question(kind="next", question="画蛇的下一句", answer="添足"),
        ],
    )
    found = {pair for seed in range(20) for pair in written(asked, "question_answering", seed)}
    assert found == {("画蛇添足是什么意思？答：", "多此一举"), ("画蛇的下一句？答：", "添足")}
    assert written(POEM, "question_answering") == []
    assert len(written(PICTURE, "question_answering")) == 1


@pytest.mark.parametrize("question", ["什么", "什么？", "什么?", "什么： ", "什么??"])
def test_a_question_gets_one_mark(question: str) -> None:
    assert question_prompt(question) == "什么？答："


@pytest.mark.parametrize(
    ("question", "prompt"),
    [("这是什么?", "这是什么？"), ("这是什么？", "这是什么？"), ("几个? ", "几个？"), ("颜色", "颜色")],
)
def test_a_question_about_a_picture_has_the_mark_of_training(question: str, prompt: str) -> None:
    assert visual_question_prompt(question) == prompt
    about = {**PICTURE, "questions": [Question(kind="what", question=question, answer="猫")]}
    (branch,) = SEEING["visual_question_answering"](cast(Document, about), AROUND, np.random.default_rng(0))
    assert isinstance(branch.prefix[0], Text)
    assert branch.prefix[0].ids == AROUND.encode(prompt)


def test_a_product_is_described_from_its_title() -> None:
    product = make_document("packages", "轻便的伞，防晒防雨。", title="晴雨伞")
    assert written(product, "product_description") == [("晴雨伞。描述：", "轻便的伞，防晒防雨。")]
    assert written(make_document("packages", "晴雨伞", title="晴雨伞"), "product_description") == []
    assert written(make_document("packages", "轻便的伞"), "product_description") == []


def test_attributes_of_a_product_follow_its_title() -> None:
    assert product_prompt("晴雨伞", {"颜色": "红", "材质": "棉"}) == "晴雨伞；颜色：红；材质：棉。描述："
    assert product_prompt("", {"颜色": "红"}) == "颜色：红。描述："
    assert product_prompt("", {}) == ""


class Grids(Surroundings):
    """With codes that all differ."""

    def codes(self, document: Document) -> Codes:
        return Codes(np.arange(48).reshape(6, 8))


def test_inpainting_asks_for_a_rectangle_from_all_about_it() -> None:
    """Each cell is either read or written; over many draws every cell, and every height and width, has its turn."""
    around = Grids(AROUND.text)
    sizes, painted = set(), np.zeros(48, int)
    for seed in range(300):
        (branch,) = STANDALONE["inpainting"](PICTURE, around, np.random.default_rng(seed))
        text, about = branch.prefix
        assert isinstance(text, Text)
        assert isinstance(about, Codes)
        assert isinstance(branch.target, Codes)
        inside = branch.target.grid != HIDDEN
        assert ((about.grid == HIDDEN) == inside).all()
        assert (np.where(inside, branch.target.grid, about.grid) == np.arange(48).reshape(6, 8)).all()
        rows, columns = inside.any(1).sum(), inside.any(0).sum()
        assert inside.sum() == rows * columns
        sizes.add((int(rows), int(columns)))
        painted += inside.flatten()
    assert {rows for rows, _ in sizes} == set(range(1, 7))
    assert {columns for _, columns in sizes} == set(range(1, 9))
    assert (painted > 0).all()


def test_fine_codes_are_painted_over_coarse_ones() -> None:
    (branch,) = STANDALONE["coarse_to_fine"](PICTURE, AROUND, np.random.default_rng(0))
    (text,) = branch.prefix
    assert isinstance(text, Text)
    assert isinstance(branch.target, Codes)
    assert branch.target.coarse is not None
    assert AROUND.text.decode(list(text.ids)) == PICTURE["text"]
    assert (branch.target.grid.shape, branch.target.coarse.shape) == ((8, 8), (8, 8))
    (small,) = STANDALONE["text_to_coarse"](PICTURE, AROUND, np.random.default_rng(0))
    assert isinstance(small.target, Codes)
    assert small.prefix == (text,)
    assert (np.kron(small.target.grid, np.ones((4, 4), int)) == branch.target.coarse).all()
    assert small.target.coarse is None


def test_a_share_of_pictures_is_painted_from_the_title() -> None:
    around = Surroundings(AROUND.text)
    around.config = DataConfig(empty_prompt=0.2, title_prompt=0.5)
    found, rng = [], np.random.default_rng(0)
    for _ in range(1_000):
        (branch,) = STANDALONE["text_to_image"](PICTURE, around, rng)
        found += [around.text.decode(list(part.ids)) for part in branch.prefix if isinstance(part, Text)] or [""]
    shares = {prompt: found.count(prompt) / 1_000 for prompt in ("", PICTURE["title"], PICTURE["text"])}
    assert shares == pytest.approx({"": 0.2, PICTURE["title"]: 0.4, PICTURE["text"]: 0.4}, abs=0.05)
    assert PICTURE["title"] != PICTURE["text"]
    (branch,) = STANDALONE["text_to_image"]({**PICTURE, "title": ""}, around, np.random.default_rng(1))
    assert len(branch.prefix) == 1


def test_up_to_a_share_of_a_fine_picture_is_blank() -> None:
    around = Surroundings(AROUND.text)
    around.config = DataConfig(blank_codes=0.5)
    shares = []
    for seed in range(200):
        (branch,) = STANDALONE["coarse_to_fine"](PICTURE, around, np.random.default_rng(seed))
        assert isinstance(branch.target, Codes)
        assert branch.target.blanks is not None
        shares.append(branch.target.blanks.mean())
    assert abs(np.mean(shares) - 0.25) < 0.03
    assert min(shares) < 0.03
    assert 0.45 < max(shares) < 0.7


@pytest.mark.parametrize("name", PAINTING)
def test_a_size_is_told_also_without_a_prompt(name: str) -> None:
    around = Grids(AROUND.text)
    around.config = DataConfig(empty_prompt=1.0, tell_size=True)
    (branch,) = STANDALONE[name](PICTURE, around, np.random.default_rng(0))
    texts = [around.text.decode(list(part.ids)) for part in branch.prefix if isinstance(part, Text)]
    assert texts == ["2x2" if name == "text_to_coarse" else "8x6"]
