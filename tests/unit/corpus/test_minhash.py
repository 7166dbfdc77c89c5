"""MinHash against sets of n-grams in plain Python, on real poems."""

from __future__ import annotations

import random

import numpy as np

from m6.corpus.dedup.minhash import band_hashes, blocks, hash_ngrams, letter_codes, text_hashes
from m6.corpus.starter import poem_rows
from m6.corpus.text.normalise import letters

TEXTS = ["".join(row["couplets"]) for row in poem_rows()[:400]]
ODD = ["", "，。！", "短", "Aa 1２ İ", "𠀀𠀁，髮發国國", "\ud800x", "五個字の詩"]


def split(values: np.ndarray, counts: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(values, np.cumsum(counts)[:-1])]


def grams(text: str, ngram: int) -> list[str]:
    return [text[start : start + ngram] for start in range(len(text) - ngram + 1)]


def test_letters_are_those_of_each_character() -> None:
    texts = TEXTS[:50] + ODD
    codes, counts = letter_codes(texts)
    expected = ["".join(letters(character) for character in text) for text in texts]
    assert ["".join(map(chr, one)) for one in split(codes, counts)] == expected
    assert expected[:50] == [letters(text) for text in texts[:50]]


def test_equal_ngrams_and_no_others_have_equal_hashes() -> None:
    texts = TEXTS[:50] + ODD
    codes, counts = letter_codes(texts)
    plain = ["".join(map(chr, one)) for one in split(codes, counts)]
    for ngram in (1, 2, 5, 13):
        hashes, num_grams = hash_ngrams(codes, counts, ngram)
        expected = [grams(text, ngram) for text in plain]
        assert num_grams.tolist() == [len(one) for one in expected]
        pairs = set(zip((gram for one in expected for gram in one), hashes.tolist(), strict=True))
        assert len(pairs) == len({gram for gram, _ in pairs}) == len({value for _, value in pairs})


def test_a_text_has_the_same_hashes_alone_and_among_others() -> None:
    def keys(texts: list[str]) -> list[list[int]]:
        hashes, counts = hash_ngrams(*letter_codes(texts), 5)
        bands = band_hashes(hashes, counts, 4, 2)
        return np.concatenate([bands, text_hashes(hashes, counts)[:, None]], axis=1).tolist()

    together = keys(TEXTS[:20])
    assert together == [keys([text])[0] for text in TEXTS[:20]]
    assert len({one[-1] for one in together}) == 20
    assert keys([TEXTS[0]])[0][-1] != keys([TEXTS[0][::-1]])[0][-1]


def test_bands_agree_as_often_as_texts_are_similar() -> None:
    rng = random.Random(3)
    bands = 512
    for changes in (1, 2, 4, 8):
        text = letters("".join(TEXTS[changes * 4 : changes * 4 + 4]))
        changed = list(text)
        for place in rng.sample(range(len(text)), changes):
            changed[place] = "零"
        one, other = set(grams(text, 5)), set(grams("".join(changed), 5))
        similarity = len(one & other) / len(one | other)
        hashes, counts = hash_ngrams(*letter_codes([text, "".join(changed)]), 5)
        for rows in (1, 3):
            first, second = band_hashes(hashes, counts, bands, rows)
            expected = similarity**rows
            error = 4 * (expected * (1 - expected) / bands) ** 0.5  # four standard deviations
            assert abs((first == second).mean() - expected) < error, (changes, rows)


def test_blocks_are_the_texts_in_order() -> None:
    texts = ["长" * 70_000, *TEXTS, "长" * 70_000, "末"]
    assert [text for block in blocks(texts) for text in block] == texts
    assert max(sum(map(len, block)) for block in blocks(texts) if len(block) > 1) <= 1 << 16
    assert list(blocks([])) == []
    assert list(blocks([""])) == [[""]]
