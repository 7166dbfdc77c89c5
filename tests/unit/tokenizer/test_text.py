"""The text vocabulary: every text survives, ids keep to their ranges, and no text is taken for a special."""

from pathlib import Path

import numpy as np
import pytest

from m6.config import UserError
from m6.corpus.starter import poem_rows
from m6.tokenizer.config import TokenizerConfig
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.train import BYTES, train_tokenizer
from m6.tokenizer.vocabulary import SPECIALS, Vocabulary

POEMS = ["\n".join(row["couplets"]) for row in poem_rows()[:300]]


@pytest.fixture(scope="module", params=[1, 4])
def tokenizer(request: pytest.FixtureRequest) -> TextTokenizer:
    return TextTokenizer(train_tokenizer(POEMS, TokenizerConfig(vocab_size=1500, max_piece=request.param)))


@pytest.mark.parametrize(
    "text",
    [
        *POEMS[:5],
        "龘靐齉齾爩鱻麤龗灪吁龖厵",  # rarer than any vocabulary
        "Open M6：2021 年，价格 ¥9.99！",
        "👩🏽‍🌾 emoji, zero-width joiners\u200d and\ttabs\r\n",
        "<mask><0xE8> <text>",
        "",
        " ",
    ],
)
def test_every_text_survives(tokenizer: TextTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(len(SPECIALS) <= token < tokenizer.size for token in ids)


def test_the_vocabulary_is_as_large_as_asked(tokenizer: TextTokenizer) -> None:
    assert tokenizer.size == 1500


def test_pieces_are_their_characters(tokenizer: TextTokenizer) -> None:
    for text in POEMS[:20]:
        ids = tokenizer.encode(text)
        pieces = "".join(tokenizer.piece(token) for token in ids)
        known = len(SPECIALS) + len(BYTES)
        assert pieces == tokenizer.decode([token for token in ids if token >= known])
    assert tokenizer.piece(0) == tokenizer.piece(len(SPECIALS)) == ""


def test_training_is_the_same_every_time() -> None:
    one, two = (train_tokenizer(POEMS, TokenizerConfig(vocab_size=1200)).to_str() for _ in range(2))
    assert one == two


def test_a_damaged_or_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer here; train one with `m6 tokenizer`"):
        TextTokenizer.load(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "trunc')
    with pytest.raises(UserError, match="not a tokenizer file"):
        TextTokenizer.load(tmp_path / "tokenizer.json")


def test_codes_lie_behind_the_text() -> None:
    vocabulary = Vocabulary(text_size=10, num_codes=4)
    assert vocabulary.size == 14
    assert vocabulary.code_ids(np.array([3])).tolist() == [13]
