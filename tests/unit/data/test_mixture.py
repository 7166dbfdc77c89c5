"""The mixture is a function of the seed and the step, walks through everything, and refuses what it does not know."""

import zlib
from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pytest

from m6.config import UserError
from m6.corpus.document import SCHEMA, Document, Image, make_document
from m6.data import mixture as mixture_module
from m6.data.config import DataConfig, Entry
from m6.data.images import decode_image, jittered
from m6.data.loader import Steps, batches
from m6.data.mixture import Mixture, shuffled
from m6.data.objectives import SEEING
from m6.data.sample import Picture, Sample
from m6.shards import Shards, write_shards
from m6.tokenizer.vocabulary import Vocabulary
from tests.unit.corpus.small_packages import png
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


def broken(corpus: tuple[Path, list[Document]], share: float, monkeypatch: pytest.MonkeyPatch) -> Mixture:
    """A mixture of which some pictures do not decode, always the same."""
    sound = decode_image

    def decode(encoded: bytes) -> np.ndarray:
        if zlib.crc32(encoded) % 100 < 100 * share:
            raise OSError("broken data stream")
        return sound(encoded)

    monkeypatch.setattr(mixture_module, "decode_image", decode)
    return Mixture(corpus[0], None, tokenizer(corpus[1]), DATA, seed=0)


def test_an_unusable_document_leaves_its_place_to_the_next_of_its_line(
    mixture: Mixture, corpus: tuple[Path, list[Document]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = [mixture.samples(step) for step in range(30)]
    bad = broken(corpus, 0.2, monkeypatch)
    found = [bad.part(step) for step in range(30)]
    assert any(skipped for _, skipped in found)
    for (samples, skipped), expected in zip(found, sound, strict=True):
        keys = [sample.key for sample in samples]
        assert len(keys) == len(expected)  # nobody is left with less
        assert not set(keys) & {each.key for each in skipped if each.key.startswith("emoji")}
        for sample, other in zip(samples, expected, strict=True):  # and the others are as they were
            assert same([sample], [other]) or other.key in {each.key for each in skipped}
        assert all(each.reason == "OSError: broken data stream" for each in skipped)


def test_parts_of_a_step_are_the_step_also_where_documents_are_unusable(
    corpus: tuple[Path, list[Document]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = broken(corpus, 0.2, monkeypatch)
    for step in range(8):
        whole, skipped = bad.part(step)
        for parts in (2, 3):
            dealt = [bad.part(step, part, parts) for part in range(parts)]
            assert sorted(sample.key for samples, _ in dealt for sample in samples) == sorted(s.key for s in whole)
            assert sorted(each.key for _, found in dealt for each in found) == sorted(each.key for each in skipped)


def test_a_part_decodes_its_own_pictures_alone(mixture: Mixture, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    sound = decode_image

    def noted(encoded: bytes) -> np.ndarray:
        decoded.append(encoded)
        return sound(encoded)

    monkeypatch.setattr(mixture_module, "decode_image", noted)
    mixture.part(1)
    whole = len(decoded)
    decoded.clear()
    for part in range(2):
        mixture.part(1, part, 2)
    assert len(decoded) == whole == 4  # two emoji, two scenes


def test_a_row_that_cannot_be_read_is_skipped_and_a_mistake_of_the_mixture_is_not(
    corpus: tuple[Path, list[Document]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = Mixture(corpus[0], None, tokenizer(corpus[1]), DATA, seed=0)
    read = Shards.__getitem__

    def unreachable(shards: Shards, row: int) -> dict[str, object]:
        if row % 3 == 0:
            raise OSError("Input/output error")
        return read(shards, row)

    monkeypatch.setattr(Shards, "__getitem__", unreachable)
    monkeypatch.setattr(Shards, "rows", lambda shards, rows: [unreachable(shards, row) for row in rows])
    found = [each for step in range(20) for each in mixture.part(step)[1]]
    assert found
    assert {each.reason for each in found} == {"OSError: Input/output error"}
    assert all(int(each.key.split()[1]) % 3 == 0 for each in found)
    monkeypatch.setattr(Shards, "__getitem__", read)
    monkeypatch.setattr(Mixture, "encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mixture.part(0)


def test_documents_are_counted_without_making_them(corpus: tuple[Path, list[Document]]) -> None:
    late = DATA.override({"mixture": [*DATA.mixture[:2], {**DATA.mixture[2].model_dump(), "first_step": 6}]})
    mixture = Mixture(corpus[0], None, tokenizer(corpus[1]), late, seed=0)
    for step in (0, 1, 5, 9, 30):
        assert mixture.num_drawn(step) == sum(len(mixture.drawn(each)) for each in range(step))
    assert mixture.num_drawn(10) == 20 + 15 + 1  # a poem at step 7, by quarters from step 6 on


def test_a_category_of_equal_texts_takes_its_negatives_from_all(tmp_path: Path) -> None:
    """Two pictures of one thing are all there is of a category, as of several designers' drawings of it."""
    picture = Image(bytes=png(), width=60, height=40, offset=0)
    rows = [
        make_document("pictures", text, images=[picture], attributes={"category": text[2:]})
        for text in ("云。天气", "云。天气", "猫。动物", "狗。动物")
    ]
    rows[1]["id"] = "another"
    table = pa.Table.from_pylist([{**row, "attributes": list(row["attributes"].items())} for row in rows], SCHEMA)
    write_shards(tmp_path, [table], SCHEMA, rows_per_shard=50)
    entry = Entry(source="pictures", samples=1, objectives={"matching": 1.0})
    mixture = Mixture(tmp_path, None, tokenizer(rows), DataConfig(mixture=(entry,), image_input="pixels"), seed=0)
    rng = np.random.default_rng(0)
    assert {mixture.unfitting_text(rows[0], rng) for _ in range(20)} == {"猫。动物", "狗。动物"}


class Fixed:
    """Chance that draws what it is told."""

    def __init__(self, *values: float) -> None:
        self._values = values

    def uniform(self, low: float, high: float, count: int = 0) -> object:
        assert (low, high) == (-1, 1)
        return np.array(self._values[1:]) if count else self._values[0]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ((0.0, 0.0, 0.0), (slice(4, 8), slice(8, 12))),  # as it is
        ((0.0, 1.0, 0.0), (slice(4, 8), slice(4, 8))),  # a quarter to the left
        ((0.0, 0.0, -1.0), (slice(8, 12), slice(8, 12))),  # a quarter down
    ],
)
def test_a_picture_is_shifted_by_a_share_of_its_side(drawn: tuple[float, ...], expected: tuple[slice, slice]) -> None:
    pixels = np.full((16, 16, 3), 255, np.uint8)
    pixels[4:8, 8:12] = 0
    wanted = np.full((16, 16, 3), 255, np.uint8)
    wanted[expected] = 0
    assert np.array_equal(jittered(pixels, 0.25, cast(np.random.Generator, Fixed(*drawn))), wanted)


def test_a_picture_is_enlarged_about_its_middle() -> None:
    pixels = np.full((32, 32, 3), 255, np.uint8)
    pixels[8:24, 8:24] = 0
    smaller = jittered(pixels, 0.5, cast(np.random.Generator, Fixed(1.0, 0.0, 0.0)))
    assert (smaller < 128).sum() // 3 == pytest.approx((16 / 1.5) ** 2, rel=0.15)
    rows, columns, _ = np.nonzero(smaller < 128)
    assert (rows.mean(), columns.mean()) == (pytest.approx(15.5, abs=0.6), pytest.approx(15.5, abs=0.6))


def test_training_pictures_are_moved_the_same_whenever_they_are_made(
    corpus: tuple[Path, list[Document]], mixture: Mixture
) -> None:
    config = DATA.override({"mixture": [{**entry.model_dump(), "jitter": 0.1} for entry in DATA.mixture]})
    moved, again = (Mixture(corpus[0], None, tokenizer(corpus[1]), config, seed=0) for _ in range(2))
    assert same(moved.samples(3), again.samples(3))
    assert not same(moved.samples(3), mixture.samples(3))
    texts = [[branch.target for branch in sample.branches] for sample in moved.samples(3)]
    assert texts == [[branch.target for branch in sample.branches] for sample in mixture.samples(3)]
    held, plain = (
        Mixture(corpus[0], None, tokenizer(corpus[1]), each, seed=0, split="heldout") for each in (config, DATA)
    )
    assert same(held.samples(3), plain.samples(3))
