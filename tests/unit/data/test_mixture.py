"""The mixture is a function of the seed and the step, walks through everything, and refuses what it does not know."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from m6.config import UserError
from m6.corpus.document import Document
from m6.data.config import DataConfig, Entry
from m6.data.loader import Steps, batches
from m6.data.mixture import Mixture, shuffled
from m6.data.objectives import SEEING
from m6.data.sample import Picture, Sample
from m6.tokenizer.vocabulary import Vocabulary
from tests.unit.small_corpus import tokenizer, write_corpus

DATA = DataConfig(
    mixture=(
        Entry(source="emoji", samples=2, objectives=dict.fromkeys(SEEING, 1.0)),
        Entry(source="scenes", samples=1.5, objectives={"captioning": 1.0, "language_modelling": 0.5}),
        Entry(source="poems", samples=0.25, objectives={"poem": 1.0}),
    ),
    image_input="pixels",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Document]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder)


@pytest.fixture(scope="module")
def mixture(corpus: tuple[Path, list[Document]]) -> Mixture:
    return Mixture(corpus[0], None, tokenizer(corpus[1]), DATA, seed=0)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 1000])
def test_shuffled_is_a_permutation(size: int) -> None:
    for seed in range(3):
        assert sorted(shuffled(index, size, seed) for index in range(size)) == list(range(size))


def test_shuffled_differs_by_seed_and_is_no_rotation() -> None:
    first, second = ([shuffled(index, 1000, seed) for index in range(1000)] for seed in (1, 2))
    assert first != second
    assert abs(np.corrcoef(first, range(1000))[0, 1]) < 0.15


def same(one: list[Sample], other: list[Sample]) -> bool:
    def plain(sample: Sample) -> object:
        prefix = [segment.pixels.tobytes() if isinstance(segment, Picture) else segment for segment in sample.prefix]
        return sample.key, prefix, sample.branches

    return [plain(sample) for sample in one] == [plain(sample) for sample in other]


def test_a_step_is_the_same_whenever_it_is_made(mixture: Mixture, corpus: tuple[Path, list[Document]]) -> None:
    again = Mixture(corpus[0], None, tokenizer(corpus[1]), DATA, seed=0)
    again.samples(3)
    assert same(mixture.samples(7), again.samples(7))
    assert not same(mixture.samples(7), mixture.samples(8))
    assert not same(mixture.samples(7), Mixture(corpus[0], None, tokenizer(corpus[1]), DATA, seed=1).samples(7))


def test_an_epoch_shows_every_training_document_once(mixture: Mixture, corpus: tuple[Path, list[Document]]) -> None:
    train = {f"emoji/{row['id']}" for row in corpus[1] if row["source"] == "emoji" and row["split"] == "train"}
    seen = Counter(
        sample.key
        for step in range(len(train) // 2)
        for sample in mixture.samples(step)
        if sample.key.startswith("emoji")
    )
    assert set(seen) <= train
    assert set(seen.values()) == {1}
    assert len(seen) == len(train) // 2 * 2


def test_what_is_held_out_is_a_split_of_its_own(corpus: tuple[Path, list[Document]]) -> None:
    mixture = Mixture(corpus[0], None, tokenizer(corpus[1]), DATA, seed=0, split="heldout")
    held_out = {f"{row['source']}/{row['id']}" for row in corpus[1] if row["split"] == "heldout"}
    seen = {sample.key for step in range(40) for sample in mixture.samples(step)}
    assert seen <= held_out
    assert {key for key in held_out if key.startswith("scenes/")} <= seen


def test_a_line_of_which_nothing_is_held_out_gives_nothing(corpus: tuple[Path, list[Document]]) -> None:
    known = DATA.model_copy(update={"mixture": (*DATA.mixture, Entry(source="x", samples=1, objectives={"poem": 1}))})
    with pytest.raises(UserError, match="no training documents of source 'x'"):
        Mixture(corpus[0], None, tokenizer(corpus[1]), known, seed=0)
    mixture = Mixture(corpus[0], None, tokenizer(corpus[1]), known, seed=0, split="heldout")
    assert {sample.key.split("/")[0] for sample in mixture.samples(1)} == {"emoji", "scenes"}


def test_shares_are_kept_over_many_steps(mixture: Mixture) -> None:
    counts = Counter(sample.key.split("/")[0] for step in range(40) for sample in mixture.samples(step))
    assert counts == {"emoji": 80, "scenes": 2 * 60, "poems": 10}  # a scene makes two samples: one sees it, one not


def test_a_line_may_start_later_and_then_takes_its_share(corpus: tuple[Path, list[Document]]) -> None:
    late = DATA.override({"mixture": [*DATA.mixture[:2], {**DATA.mixture[2].model_dump(), "first_step": 20}]})
    mixture = Mixture(corpus[0], None, tokenizer(corpus[1]), late, seed=0)
    counts = [Counter(sample.key.split("/")[0] for sample in mixture.samples(step)) for step in range(40)]
    assert not any(count["poems"] for count in counts[:20])
    assert sum(count["poems"] for count in counts[20:]) == 5
    assert sum(count["emoji"] for count in counts) == 80


def test_heldout_documents_are_never_drawn(mixture: Mixture, corpus: tuple[Path, list[Document]]) -> None:
    heldout = {f"{row['source']}/{row['id']}" for row in corpus[1] if row["split"] == "heldout"}
    drawn = {sample.key for step in range(200) for sample in mixture.samples(step)}
    assert heldout
    assert not drawn & heldout


def test_pictures_are_shared_by_the_objectives_that_see_them(mixture: Mixture) -> None:
    sample = mixture.samples(0)[0]
    assert isinstance(sample.prefix[0], Picture)
    assert list(dict.fromkeys(branch.objective for branch in sample.branches)) == list(SEEING)


def test_unfitting_texts_do_not_fit(mixture: Mixture, corpus: tuple[Path, list[Document]]) -> None:
    rng = np.random.default_rng(0)
    for row in corpus[1]:
        if row["images"] and row["split"] == "train":
            text = mixture.unfitting_text(row, rng)
            assert text != row["text"]
            if row["source"] == "emoji":  # of the same category: hard
                others = {
                    r["text"] for r in corpus[1] if r["attributes"].get("category") == row["attributes"]["category"]
                }
                assert text in others


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_where_one_starts(mixture: Mixture, workers: int) -> None:
    steps = Steps(mixture, Vocabulary(2000, 100), 8)
    for number, batch in zip(range(3, 7), batches(steps, 3, 7, workers), strict=True):
        expected = steps[number]
        assert batch.ids.equal(expected.ids)
        assert batch.labels.equal(expected.labels)
        assert all(ours.equal(theirs) for ours, theirs in zip(batch.pictures, expected.pictures, strict=True))


def test_ranks_share_a_step(mixture: Mixture) -> None:
    vocabulary = Vocabulary(2000, 100)
    keys = [key for rank in range(3) for key in Steps(mixture, vocabulary, 8, rank, 3)[5].keys]
    assert sorted(keys) == sorted(Steps(mixture, vocabulary, 8)[5].keys)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry(source="emojis", samples=1, objectives={"captioning": 1.0}), "no training documents of source 'emojis'"),
        (Entry(source="emoji", samples=1, objectives={"caption": 1.0}), "unknown objective 'caption'"),
        (Entry(source="poems", samples=1, objectives={"captioning": 1.0}), "captioning needs pictures"),
        (Entry(source="poems", samples=1, objectives={"text_to_image": 1.0}), "text_to_image needs pictures"),
    ],
)
def test_a_mixture_of_what_is_not_there_is_refused(
    corpus: tuple[Path, list[Document]], entry: Entry, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Mixture(corpus[0], None, tokenizer(corpus[1]), DataConfig(mixture=(entry,)), seed=0)
