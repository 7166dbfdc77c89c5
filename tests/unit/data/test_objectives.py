"""Each objective on real Documents, against its row of the Sample table."""

from itertools import pairwise

import numpy as np
import pytest

from m6.corpus.document import Document
from m6.data.config import DataConfig
from m6.data.objectives import SEEING, STANDALONE, YES, mask_spans
from m6.data.sample import Codes, Text
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
