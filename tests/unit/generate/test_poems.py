"""The form of poems: the rule on known poems, and chance writing under the masks that always keeps it."""

import numpy as np
import pytest

from m6.config import UserError
from m6.corpus.starter import poem_rows
from m6.data.poem_forms import has_form
from m6.generate.poems import PoemGrammar
from m6.tokenizer.config import TokenizerConfig
from m6.tokenizer.text import TextTokenizer
from m6.tokenizer.train import train_tokenizer
from m6.tokenizer.vocabulary import END

SPRING = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。"


@pytest.mark.parametrize(
    ("poem", "form", "expected"),
    [
        (SPRING, "五言绝句", True),
        (SPRING, "", True),
        (SPRING, "七言绝句", False),
        (SPRING, "五言律诗", False),
        (SPRING.replace("知", ""), "五言绝句", False),  # a line of four
        (SPRING.replace("。\n夜", "，\n夜"), "五言绝句", False),  # a pair that is not closed
        ("春眠不觉晓，处处闻啼鸟。", "", False),  # two lines
        (SPRING + "\n" + SPRING + "\n" + "春眠不觉晓，处处闻啼鸟。", "五言古诗", True),
        ("\n".join([SPRING] * 5), "五言古诗", False),  # twenty lines
        ("", "", False),
    ],
)
def test_the_rule_by_hand(poem: str, form: str, expected: bool) -> None:
    assert has_form(poem, form) is expected


@pytest.mark.parametrize("form", ["五言绝句", "七言绝句", "五言律诗", "七言律诗", "五言古诗", ""])
@pytest.mark.parametrize("max_piece", [1, 4])
def test_whatever_is_drawn_keeps_the_form(form: str, max_piece: int) -> None:
    texts = ["\n".join(row["couplets"]) for row in poem_rows()[:200]]
    tokenizer = TextTokenizer(train_tokenizer(texts, TokenizerConfig(vocab_size=1500, max_piece=max_piece)))
    grammar = PoemGrammar(tokenizer, tokenizer.size + 10, form)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        written: list[int] = []
        while not written or written[-1] != END:
            allowed = grammar(written).nonzero()[:, 0].numpy()
            assert len(allowed), tokenizer.decode(written)
            written.append(int(rng.choice(allowed)))
        assert has_form(tokenizer.decode(written), form)


def test_a_true_poem_is_allowed_at_every_step() -> None:
    texts = ["\n".join(row["couplets"]) for row in poem_rows()[:200]]
    tokenizer = TextTokenizer(train_tokenizer(texts, TokenizerConfig(vocab_size=2500, max_piece=1)))
    poem = next(t for t in texts if has_form(t, "五言绝句"))
    ids = [*tokenizer.encode(poem), END]
    grammar = PoemGrammar(tokenizer, tokenizer.size, "五言绝句")
    assert all(bool(grammar(ids[:at])[token]) for at, token in enumerate(ids))


def test_a_vocabulary_without_poems_is_refused() -> None:
    tokenizer = TextTokenizer(train_tokenizer(["苹果", "梨"], TokenizerConfig(vocab_size=400, max_piece=1)))
    with pytest.raises(UserError, match="cannot write poems"):
        PoemGrammar(tokenizer, tokenizer.size)
