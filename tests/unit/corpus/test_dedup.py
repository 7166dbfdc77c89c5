"""Duplicates: against brute force on real poems and pictures with planted edits."""

from __future__ import annotations

import io
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from m6.corpus.config import DuplicatesConfig
from m6.corpus.dedup import KEYS, Duplicate, blocks, find_duplicates, jaccard, ngrams
from m6.corpus.images import difference_hash
from m6.corpus.starter import emoji_pictures, poem_rows
from m6.corpus.text import letters

CONFIG = DuplicatesConfig()
SCHEMA = pa.schema([("id", pa.string()), *KEYS])


def write(folder: Path, rows: list[dict[str, Any]], files: int) -> list[Path]:
    """The rows spread over some files."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.parquet" for number in range(files)]
    for number, path in enumerate(paths):
        pq.write_table(pa.Table.from_pylist(rows[number::files], SCHEMA), path)
    return paths


def smallest_of_components(ids: list[str], same: set[tuple[str, str]]) -> dict[str, str]:
    """Slow and plain: spread the smallest id along the pairs until nothing changes."""
    label = {identity: identity for identity in ids}
    changed = True
    while changed:
        changed = False
        for one, other in same:
            smallest = min(label[one], label[other])
            changed |= label[one] != smallest or label[other] != smallest
            label[one] = label[other] = smallest
    return {identity: kept for identity, kept in label.items() if kept != identity}


def edited(text: str, changes: int, rng: random.Random) -> str:
    characters = list(text)
    for place in rng.sample(range(len(characters)), changes):
        characters[place] = rng.choice("春江花月夜山水云")
    return "".join(characters)


@pytest.fixture(scope="module")
def poems() -> list[dict[str, Any]]:
    """Real poems, some of them again with one to three characters changed, and chains of such changes."""
    rng = random.Random(1)
    texts = [letters("".join(row["couplets"])) for row in poem_rows() if row["form"] in ("七言律诗", "五言古诗")][:250]
    for text in rng.sample(texts, 60):
        texts.append(edited(text, rng.randrange(1, 4), rng))
    for text in rng.sample(texts[:250], 10):
        for _ in range(4):  # each nearly equals the one before, the last no longer the first
            text = edited(text, 1, rng)
            texts.append(text)
    rng.shuffle(texts)
    ids = [f"{rng.getrandbits(64):016x}" for _ in texts]
    return [{"id": identity, "content": identity, "letters": text} for identity, text in zip(ids, texts, strict=True)]


def test_near_texts_are_those_of_brute_force(poems: list[dict[str, Any]], tmp_path: Path) -> None:
    grams = {row["id"]: ngrams(row["letters"], CONFIG.ngram) for row in poems}
    same = {
        pair
        for pair in combinations(grams, 2)
        if len(grams[pair[0]] & grams[pair[1]]) and jaccard(*map(grams.get, pair)) >= 0.8  # type: ignore[arg-type]
    }
    expected = smallest_of_components(list(grams), same)
    assert len(expected) > 40
    found = find_duplicates(write(tmp_path, poems, 1), CONFIG)
    assert {identity: duplicate.kept for identity, duplicate in found.items()} == expected
    assert {duplicate.reason for duplicate in found.values()} == {"near-duplicate text"}


def test_the_result_does_not_depend_on_files_and_order(poems: list[dict[str, Any]], tmp_path: Path) -> None:
    first = find_duplicates(write(tmp_path / "one", poems, 1), CONFIG)
    assert find_duplicates(write(tmp_path / "seven", poems[::-1], 7), CONFIG) == first


def test_exact_duplicates_come_first_and_keep_the_smallest_id(tmp_path: Path) -> None:
    text = letters("".join(poem_rows()[0]["couplets"]))
    rows = [{"id": identity, "content": "same", "letters": text} for identity in ("c", "a", "b")]
    rows.append({"id": "0", "content": "other", "letters": text[:-1] + "也"})
    assert find_duplicates(write(tmp_path, rows, 2), CONFIG) == {
        "b": Duplicate("exact duplicate", "a"),
        "c": Duplicate("exact duplicate", "a"),
        "a": Duplicate("near-duplicate text", "0"),
    }


def test_short_texts_and_none_at_all(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "content": "x", "letters": "短"},
        {"id": "b", "content": "y", "letters": None},
    ]
    assert find_duplicates(write(tmp_path, rows, 1), CONFIG) == {}
    assert find_duplicates(write(tmp_path, [], 1), CONFIG) == {}


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


def test_near_pictures_are_those_of_brute_force(tmp_path: Path) -> None:
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in list(emoji_pictures().values())[:400:4]]
    pictures += [ImageEnhance.Brightness(picture.resize((90, 90))).enhance(0.9) for picture in pictures[:20]]
    hashes = [difference_hash(picture) for picture in pictures]
    rows: list[dict[str, Any]] = [
        {
            "id": f"{number:04d}",
            "content": str(number),
            "picture": value,
            "blocks": blocks(value, CONFIG.image_distance),
        }
        for number, value in enumerate(hashes)
    ]
    same = {
        (one["id"], other["id"])
        for one, other in combinations(rows, 2)
        if (one["picture"] ^ other["picture"]).bit_count() <= CONFIG.image_distance
    }
    expected = smallest_of_components([row["id"] for row in rows], same)
    found = find_duplicates(write(tmp_path, rows, 3), CONFIG)
    assert {identity: duplicate.kept for identity, duplicate in found.items()} == expected
    assert len(expected) >= 18
