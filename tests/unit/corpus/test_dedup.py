"""Duplicates: against brute force on real poems and pictures with planted edits, however the work is cut."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import opencc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from m6.corpus.config import CorpusConfig, DuplicatesConfig, FolderConfig, PairRules, PoemsConfig
from m6.corpus.dedup import (
    blocks,
    cluster_sizes,
    find_duplicates,
    find_paragraphs,
    grouping,
    largest_clusters,
    read_paragraphs,
    similar_texts,
)
from m6.corpus.dedup.ngram_sets import NgramSets
from m6.corpus.document import Image as DocumentImage
from m6.corpus.document import make_document
from m6.corpus.images.prepare import difference_hash
from m6.corpus.starter import emoji_pictures, poem_rows
from m6.corpus.text.normalise import letters
from m6.shards import write_table
from tests.unit.corpus.parts import Row, documents, write

CONFIG = CorpusConfig()


def numbers(found: pa.Table, paths: list[Path]) -> dict[int, tuple[str, int | None]]:
    """What was found, by the number of the row among all rows of all parts."""
    starts = np.cumsum([0] + [pq.read_metadata(path).num_rows for path in paths]).tolist()

    def number(position: int | None) -> int | None:
        return None if position is None else starts[position >> 32] + (position & 0xFFFFFFFF)

    assert found["position"].to_pylist() == sorted(found["position"].to_pylist())
    return {number(row["position"]): (row["reason"], number(row["kept"])) for row in found.to_pylist()}  # type: ignore[misc]


def dropped_by_brute_force(count: int, same: Callable[[int, int], bool], reason: str) -> dict[int, tuple[str, int]]:
    """Slow and plain: spread the smallest number along the pairs until nothing changes."""
    label = list(range(count))
    pairs = [pair for pair in combinations(range(count), 2) if same(*pair)]
    changed = True
    while changed:
        changed = False
        for one, other in pairs:
            smallest = min(label[one], label[other])
            changed |= label[one] != smallest or label[other] != smallest
            label[one] = label[other] = smallest
    return {number: (reason, kept) for number, kept in enumerate(label) if kept != number}


def jaccard_at_least(texts: list[str], similarity: float) -> Callable[[int, int], bool]:
    grams = [{text[i : i + 5] for i in range(len(text) - 4)} for text in map(letters, texts)]

    def same(one: int, other: int) -> bool:
        common = len(grams[one] & grams[other])
        return common > 0 and common / len(grams[one] | grams[other]) >= similarity

    return same


def edited(text: str, changes: int, rng: random.Random) -> str:
    characters = list(text)
    for place in rng.sample([i for i, c in enumerate(text) if c.isalnum()], changes):
        characters[place] = rng.choice("春江花月夜山水云")
    return "".join(characters)


def pairs_given_to(function: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs a function of `similar_texts` is asked about from now on, in each round."""
    counts: list[int] = []
    ask = getattr(similar_texts, function)

    def count(*given: Any) -> np.ndarray:
        counts.append(len(given[-2]))
        return ask(*given)

    monkeypatch.setattr(similar_texts, function, count)
    return counts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real poems, some of them again in traditional script, with other marks, or with one to three characters changed,
    and chains of such changes."""
    rng = random.Random(1)
    poems = ["".join(row["couplets"]) for row in poem_rows() if row["form"] in ("七言律诗", "五言古诗")][:200]
    texts = list(poems)
    texts += [edited(text, rng.randrange(1, 4), rng) for text in rng.sample(poems, 40)]
    texts += [opencc.OpenCC("s2t").convert(text) for text in rng.sample(poems, 10)]
    texts += [text.replace("，", " , ") for text in rng.sample(poems, 10)]
    for text in rng.sample(poems, 10):
        for _ in range(4):  # each nearly equals the one before, the last no longer the first
            text = edited(text, 1, rng)
            texts.append(text)
    rng.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def expected(texts: list[str]) -> dict[int, tuple[str, int]]:
    found = dropped_by_brute_force(len(texts), jaccard_at_least(texts, 0.8), "near-duplicate text")
    assert len(found) > 60
    return found


@pytest.mark.parametrize("parts", [1, 3, 17])
def test_near_texts_are_those_of_brute_force_on_any_number_of_parts(
    texts: list[str], expected: dict[int, tuple[str, int]], parts: int, tmp_path: Path
) -> None:
    paths = write(tmp_path, documents(texts), parts)
    assert numbers(find_duplicates(paths, CONFIG), paths) == expected
    assert not (tmp_path / grouping.FOLDER).exists()


def test_work_cut_in_many_tasks_finds_the_same(
    texts: list[str], expected: dict[int, tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(function: Callable[[int], None], todo: list[int], engine: object) -> list[int]:
        assert len(todo) > 1
        done.append(len(todo))
        return [function(number) or number for number in todo]  # type: ignore[func-returns-value]

    done: list[int] = []
    monkeypatch.setattr(grouping, "each", here)
    monkeypatch.setattr(grouping, "ENTRIES", 300)
    monkeypatch.setattr(similar_texts, "NGRAMS", 2_000)
    paths = write(tmp_path, documents(texts), 3, batch=7)
    assert numbers(find_duplicates(paths, CONFIG), paths) == expected
    assert max(done) > 10


def test_large_buckets_are_divided_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "本店位于市中心交通便利环境优雅服务周到欢迎各界朋友光临惠顾电话预约享受优惠另有停车场与儿童乐园供您使用"
    rng = random.Random(4)
    names = ["".join(rng.choices("赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨", k=rng.choice((1, 14)))) for _ in range(240)]
    rows = documents([name + template for name in names])
    texts = [document["text"] for document, _ in rows]
    expected = dropped_by_brute_force(len(texts), jaccard_at_least(texts, 0.8), "near-duplicate text")
    assert 20 < len(expected) < 160
    considered = pairs_given_to("_may_be_similar", monkeypatch)
    loose = CorpusConfig(duplicates=DuplicatesConfig(bands=40, rows=1))  # nearly all share a band
    paths = write(tmp_path, rows, config=loose)
    assert numbers(find_duplicates(paths, loose), paths) == expected
    divided = sum(considered)
    monkeypatch.setattr(similar_texts, "LARGE", 1_000)
    assert numbers(find_duplicates(paths, loose), paths) == expected
    assert divided < 0.2 * (sum(considered) - divided)


def test_a_cluster_of_k_costs_about_k_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    text = "".join("".join(row["couplets"]) for row in poem_rows()[:6])
    rows = documents([text, *(edited(text, 1, rng) for _ in range(299))])
    compared = pairs_given_to("are_similar", monkeypatch)
    paths = write(tmp_path, rows)
    found = numbers(find_duplicates(paths, CONFIG), paths)
    assert set(found.values()) == {("near-duplicate text", 0)}
    assert len(found) == 299
    assert sum(compared) < 4 * 300


def test_exact_duplicates_come_first_and_the_first_document_stays(tmp_path: Path) -> None:
    text = "".join(poem_rows()[0]["couplets"])
    given = [text[:-2] + "也。", text, text, "别的文字在这里呢", text]
    rows: list[Row] = [(make_document(source, one), None) for source, one in zip("abcde", given, strict=True)]
    paths = write(tmp_path, rows, 2)
    assert numbers(find_duplicates(paths, CONFIG), paths) == {
        1: ("near-duplicate text", 0),
        2: ("exact duplicate", 0),  # of one that is dropped itself: the one that stays is named
        4: ("exact duplicate", 0),
    }


def test_short_texts_and_none_at_all(tmp_path: Path) -> None:
    rows: list[Row] = [(make_document("a", "短", title="一"), None), (make_document("a", "短", title="二"), None)]
    assert find_duplicates(write(tmp_path / "short", rows), CONFIG).num_rows == 0
    assert find_duplicates(write(tmp_path / "none", [], 2), CONFIG).num_rows == 0
    assert find_duplicates([], CONFIG).num_rows == 0
    off = documents(["".join(poem_rows()[0]["couplets"])] * 2)
    assert find_duplicates(write(tmp_path / "off", off, rules=PoemsConfig(near_texts=False)), CONFIG).num_rows == 0


def test_what_was_done_is_not_done_again(tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, documents(texts[:60]))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(similar_texts, "similar_pairs", killed)
        with pytest.raises(KeyboardInterrupt):
            find_duplicates(paths, CONFIG)
    left = {path: path.stat().st_mtime_ns for path in (tmp_path / grouping.FOLDER).rglob("*-*.npy")}
    assert len(left) == 7  # sorted and found, of content, letters and bands; sets of n-grams
    with monkeypatch.context() as kept:
        kept.setattr("shutil.rmtree", lambda _: None)
        found = find_duplicates(paths, CONFIG)
    assert {path: path.stat().st_mtime_ns for path in left} == left
    assert found == find_duplicates(write(tmp_path / "other", documents(texts[:60])), CONFIG)


def test_blocks_miss_no_pair_within_the_distance() -> None:
    rng = random.Random(0)
    for distance in (1, 4, 7, 16):
        for _ in range(200):
            first = rng.getrandbits(64)
            second = first
            for bit in rng.sample(range(64), distance):
                second ^= 1 << bit
            shared = set(blocks(first, distance)) & set(blocks(second, distance))
            assert shared, (distance, first, second)
        assert len(set(blocks(0, distance))) == distance + 1  # equal bits at another place are another block


def picture_rows(hashes: list[int], text: Callable[[int], str]) -> list[Row]:
    rows: list[Row] = []
    for number, value in enumerate(hashes):
        image = DocumentImage(bytes=str(number).encode(), width=1, height=1, offset=0)
        rows.append((make_document("shop", text(number), images=[image]), value))
    return rows


@pytest.mark.parametrize("parts", [1, 3])
def test_near_pictures_are_those_of_brute_force(parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in list(emoji_pictures().values())[:400:4]]
    pictures += [ImageEnhance.Brightness(picture.resize((90, 90))).enhance(0.9) for picture in pictures[:20]]
    hashes = [difference_hash(picture) for picture in pictures]
    expected = dropped_by_brute_force(
        len(hashes), lambda one, other: (hashes[one] ^ hashes[other]).bit_count() <= 4, "near-duplicate picture"
    )
    assert len(expected) >= 18
    monkeypatch.setattr("m6.corpus.dedup.exact._PAIRS_AT_ONCE", 1)  # row by row
    paths = write(tmp_path, picture_rows(hashes, lambda number: f"第{number}张图片"), parts, FolderConfig())
    assert numbers(find_duplicates(paths, CONFIG), paths) == expected


def test_a_text_under_too_many_pictures_is_dropped_from_all(tmp_path: Path) -> None:
    def text(number: int) -> str:
        return "点击查看大图" if number % 2 else "三只猫" if number % 4 else f"第{number}张"

    rng = random.Random(2)
    rows = picture_rows([rng.getrandbits(64) for _ in range(12)], text)
    rules = FolderConfig(pairs=PairRules(most_pictures_of_a_text=3))
    paths = write(tmp_path, rows, 2, rules)
    reason = ("same text on many pictures", None)
    assert numbers(find_duplicates(paths, CONFIG), paths) == dict.fromkeys(range(1, 12, 2), reason)
    assert find_duplicates(write(tmp_path / "off", rows, 2, FolderConfig()), CONFIG).num_rows == 0


def test_largest_clusters(tmp_path: Path) -> None:
    one, other = ("".join(row["couplets"]) for row in poem_rows()[:2])
    paths = write(tmp_path, [(make_document("a", text), None) for text in (other, one, one, other, one, one)], 3)
    clusters = largest_clusters(find_duplicates(paths, CONFIG), paths)
    assert clusters == [
        ("exact duplicate", 4, [one[:80]] * 3),
        ("exact duplicate", 2, [other[:80]] * 2),
    ]


def test_a_cluster_is_named_by_the_loosest_likeness_in_it(tmp_path: Path) -> None:
    poem = "".join("".join(row["couplets"]) for row in poem_rows()[:4])
    longer = f"{poem}又是一年春草绿"  # the first in order stays, the exact copies of the second follow it
    paths = write(tmp_path, [(make_document("a", text), None) for text in (longer, poem, poem, poem)], 2)
    duplicates = find_duplicates(paths, CONFIG)
    [cluster] = largest_clusters(duplicates, paths)
    assert (cluster.reason, cluster.size, cluster.samples[0]) == ("near-duplicate text", 4, longer[:80])
    assert cluster_sizes(duplicates)["near-duplicate text"] == [4]
    assert cluster_sizes(duplicates)["exact duplicate"] == []


@pytest.mark.parametrize("parts", [1, 5])
def test_repeated_paragraphs_stay_in_the_first_document(parts: int, tmp_path: Path) -> None:
    config = CorpusConfig(duplicates=DuplicatesConfig(paragraph_documents=2, paragraph_length=10))
    notice, rare, short = "本文仅代表作者个人观点，与本站无关。", "请先登录再发表您的评论意见。", "版权所有"
    poems = ["".join(row["couplets"]) for row in poem_rows()[:6]]
    texts = [poem + f"\n{notice}\n{notice}\n{short}" for poem in poems]
    texts = [f"{notice}\n{poems[0]}", f"{notice}\n{poems[0]}", *texts[1:], f"{poems[0]}\n{rare}", f"{poems[1]}\n{rare}"]
    rows: list[Row] = [(make_document("a", text), None) for text in ["开头没有公告的一篇文字", *texts]]
    paths = write(tmp_path, rows, parts, config=config)
    duplicates = find_duplicates(paths, config)
    found = find_paragraphs(paths, config, duplicates)
    assert found.num_rows == 1
    write_table(tmp_path / "paragraphs.parquet", found)
    paragraphs = read_paragraphs(tmp_path / "paragraphs.parquet")
    keeper = found["position"][0].as_py()
    assert numbers(pa.table({"position": [keeper], "reason": [""], "kept": [keeper]}), paths) == {1: ("", 1)}
    assert paragraphs.kept_elsewhere(notice, keeper + 1)
    assert not paragraphs.kept_elsewhere(notice, keeper)
    assert not paragraphs.kept_elsewhere(rare, 0)
    assert not paragraphs.kept_elsewhere(short, 0)


@pytest.mark.parametrize("large", [1, 1_000])
def test_similar_pairs_span_all_that_brute_force_joins(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_texts, "LARGE", large)
    rng = random.Random(6)
    for similarity in (0.3, 0.5, 0.75, 0.8, 1.0) * 8:
        universe = [rng.getrandbits(64) for _ in range(20)]
        sets = [set(rng.sample(universe, rng.randrange(1, 13))) for _ in range(20)]
        sets += [one ^ set(rng.sample(universe, rng.randrange(3))) or one for one in sets]
        buckets = [rng.sample(range(len(sets)), rng.randrange(2, 20)) for _ in range(6)]
        same = {
            frozenset(pair)
            for bucket in buckets
            for pair in combinations(bucket, 2)
            if len(sets[pair[0]] & sets[pair[1]]) / len(sets[pair[0]] | sets[pair[1]]) >= similarity
        }
        expected = dropped_by_brute_force(len(sets), lambda *pair, same=same: frozenset(pair) in same, "")
        given = NgramSets(
            np.array([gram for one in sets for gram in sorted(one)], np.uint64), np.array([len(one) for one in sets])
        )
        starts = np.cumsum([0, *map(len, buckets)])
        pairs = similar_texts.similar_pairs(given, starts, np.concatenate(buckets), similarity)
        assert {other: ("", one) for one, other in pairs.T.tolist()} == expected
