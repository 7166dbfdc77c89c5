"""Decoding: beam search against a plain one without caches, whatever shares the batch; what may not be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch

from m6.config import UserError
from m6.data.packing import pack
from m6.data.poem_forms import has_form
from m6.data.sample import Branch, Picture, Sample, Text
from m6.generate import rank
from m6.generate.choices import Choices
from m6.generate.decoding import Decoding, repeating, restrict
from m6.generate.engine import Engine
from m6.generate.grammar import Grammar
from m6.generate.poems import PoemGrammar
from m6.generate.prefill import Prefix
from m6.generate.rank import fits, log_likelihoods
from m6.model.masks import boolean_mask
from m6.tokenizer.vocabulary import END
from tests.unit.data.examples import picture
from tests.unit.generate import test_engine
from tests.unit.generate.small_engine import as_trained

MOST = 9
engine, prefixes = test_engine.engine, test_engine.prefixes


def next_log_probabilities(engine: Engine, prefix: Prefix, ids: Sequence[int]) -> torch.Tensor:
    """Of the text token behind a prefix and what is written, by one forward pass over the packed sample."""
    batch = pack([as_trained(prefix, Text(tuple(ids)))], engine.vocabulary, 8, 0)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal)
    with torch.inference_mode():
        hidden = engine.model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at)
        return engine.model.logits(hidden)[-1, : engine.vocabulary.text_size].log_softmax(-1)


def repeats(ids: Sequence[int], token: int, size: int) -> bool:
    """Whether the token ends a run of `size` that is there already."""
    together = [*ids, token]
    runs = [tuple(together[at : at + size]) for at in range(len(together) - size + 1)]
    return bool(size) and runs[-1:] != [] and runs[-1] in runs[:-1]


def plain_beam_search(engine: Engine, prefix: Prefix, decoding: Decoding, grammar: Grammar | None = None) -> list[int]:
    """Beam search as it is told in a textbook: one request, no cache, lists."""
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, MOST + 1):
        candidates = []
        for score, ids in beams:
            found = next_log_probabilities(engine, prefix, ids)
            for token in range(len(found)):
                if grammar is not None and not grammar(ids)[token]:
                    continue
                if repeats(ids, token, decoding.no_repeat_ngram):
                    continue
                if token == END and length <= decoding.min_tokens:
                    continue
                candidates.append((score + float(found[token]), ids, token))
        candidates = sorted(candidates, key=lambda each: -each[0])[: 2 * decoding.beams]
        beams = []
        for place, (score, ids, token) in enumerate(candidates):
            if place < decoding.beams and (token == END or length == MOST):
                ended = ids if token == END else [*ids, token]
                finished.append((score / length**decoding.length_penalty, ended))
            if token != END:
                beams.append((score, [*ids, token]))
        beams = beams[: decoding.beams]
        finished = sorted(finished, key=lambda each: -each[0])[: decoding.beams]
        if not beams:
            break
        if len(finished) == decoding.beams and finished[-1][0] >= beams[0][0] / length**decoding.length_penalty:
            break
    return finished[0][1]


@pytest.fixture
def ending(engine: Engine, prefixes: list[Prefix]) -> Iterator[Engine]:
    """The engine, so that it ends where it would else have written one of a few tokens."""
    written = engine.write(prefixes, MOST)
    weight = engine.model.embedding.weight
    before = weight[END].clone()
    with torch.no_grad():
        weight[END] = 1.02 * weight[[written[0][2], written[1][6]]].mean(0) + 0.5 * weight[written[0][2]]
    yield engine
    with torch.no_grad():
        weight[END] = before


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(beams=2),
        Decoding(beams=4, length_penalty=0.0),
        Decoding(beams=3, length_penalty=2.0, min_tokens=2),
        Decoding(beams=3, no_repeat_ngram=1),
        Decoding(beams=5, no_repeat_ngram=2, length_penalty=-0.5),
    ],
    ids=str,
)
def test_beam_search_is_the_plain_one_whatever_shares_the_batch(
    ending: Engine,
    prefixes: list[Prefix],
    decoding: Decoding,
) -> None:
    together = ending.write(prefixes, MOST, decoding)
    assert together == [plain_beam_search(ending, prefix, decoding) for prefix in prefixes]
    assert together == [ending.write([prefix], MOST, decoding)[0] for prefix in prefixes]
    assert len({len(ids) for ids in together}) > 1, f"answers of one length show little: {together}"


def test_one_beam_is_greedy(ending: Engine, prefixes: list[Prefix]) -> None:
    for prefix, ids in zip(prefixes, ending.write(prefixes, MOST), strict=True):
        assert ids == plain_beam_search(ending, prefix, Decoding())


def test_greedy_answers_leave_the_batch_one_by_one(ending: Engine, prefixes: list[Prefix]) -> None:
    together = ending.write(prefixes * 3, MOST, Decoding(no_repeat_ngram=2))
    assert together[:4] == together[4:8] == [ending.write([p], MOST, Decoding(no_repeat_ngram=2))[0] for p in prefixes]


def test_runs_of_tokens_that_were_written_are_found() -> None:
    written = torch.tensor([[1, 2, 3, 1, 2], [1, 2, 1, 3, 1], [1, 2, 3, 4, 5]])
    assert torch.stack(repeating(written, 3)).tolist() == [[0], [3]]
    assert torch.stack(repeating(written, 2)).tolist() == [[0, 1, 1], [3, 2, 3]]
    assert torch.stack(repeating(written[:1, :2], 1)).tolist() == [[0, 0], [1, 2]]


def test_what_may_not_follow_by_hand() -> None:
    scores = torch.tensor([[2.0, -1.0, 0.5, 3.0, 1.0, 4.0]]).repeat(2, 1)
    written = torch.tensor([[0, 1], [5, 5]])
    found = restrict(scores, written, Decoding(repetition_penalty=2.0, min_tokens=3))
    assert found.tolist() == [[1.0, -2.0, 0.5, -torch.inf, 1.0, 4.0], [2.0, -1.0, 0.5, -torch.inf, 1.0, 2.0]]
    allowed = torch.tensor([[True] * 3 + [False] * 9] * 2)
    assert restrict(scores, written, Decoding(), allowed).isinf().sum(1).tolist() == [3, 3]
    assert restrict(scores, written, Decoding()) is scores
    assert scores[0, 3] == 3.0, "what is given stays as it is"


def test_a_grammar_holds_where_nothing_else_would_be_left() -> None:
    """Row 0 may only repeat itself, row 1 only end too early, row 2 has a choice of which one repeats."""
    scores = torch.arange(3.0 * 8).view(3, 8)
    written = torch.tensor([[5, 5], [6, 7], [6, 6]])
    allowed = torch.zeros(3, 8, dtype=torch.bool)
    allowed[0, 5] = allowed[1, END] = allowed[2, 6] = allowed[2, 7] = True
    found = restrict(scores, written, Decoding(no_repeat_ngram=1, min_tokens=4), allowed)
    assert [row.isfinite().nonzero().flatten().tolist() for row in found] == [[5], [END], [7]]
    assert torch.equal(found[found.isfinite()], scores[[0, 1, 2], [5, END, 7]])


def plain_contrastive_search(engine: Engine, prefix: Prefix, contrast: float, count: int) -> list[int]:
    """As the paper has it: the states of all tokens by one forward pass for each candidate."""
    ids: list[int] = []
    while len(ids) < MOST:
        chances = next_log_probabilities(engine, prefix, ids).exp()
        scores = {}
        for token in chances.topk(count).indices.tolist():
            batch = pack([as_trained(prefix, Text((*ids, token)))], engine.vocabulary, 8, 0)
            mask = boolean_mask(batch.sample, batch.branch, batch.causal)
            with torch.inference_mode():
                states = engine.model(
                    batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at
                )
            alike = torch.cosine_similarity(states[-1:], states[:-1]).max()
            scores[token] = float((1 - contrast) * chances[token] - contrast * alike)
        best = max(scores, key=lambda token: scores[token])
        if best == END:
            break
        ids.append(best)
    return ids


def test_contrastive_search_is_the_plain_one_whatever_shares_the_batch(ending: Engine, prefixes: list[Prefix]) -> None:
    decoding = Decoding(contrast=0.3, top_k=3)
    together = ending.write(prefixes, MOST, decoding)
    assert together == [plain_contrastive_search(ending, prefix, 0.3, 3) for prefix in prefixes]
    assert together == [ending.write([prefix], MOST, decoding)[0] for prefix in prefixes]
    assert together != ending.write(prefixes, MOST), "contrast has to change something"


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(beams=4), Decoding(contrast=0.5, top_k=3)], ids=str)
def test_pictures_and_texts_in_a_row_are_read_as_a_prompt(engine: Engine, decoding: Decoding) -> None:
    """Two examples with their answers before the question: what is written is what a plain forward finds likeliest, and
    the examples count."""
    shots: Prefix = (Picture(picture(3)), engine.text("红苹果"), Picture(picture(5)), engine.text("猫"))
    asked: list[Prefix] = [(Picture(picture(index)),) for index in (0, 7)]
    found = engine.write([(*shots, *each) for each in asked] + asked, MOST, decoding)
    alone = [engine.write([(*shots, *each)], MOST, decoding)[0] for each in asked]
    assert found[:2] == alone
    assert found[:2] != found[2:]
    if decoding == Decoding():
        assert found[0] == plain_beam_search(engine, (*shots, *asked[0]), decoding)


@pytest.mark.parametrize(
    "decoding", [Decoding(), Decoding(beams=3), Decoding(temperature=1.0), Decoding(contrast=0.6)], ids=str
)
def test_answers_are_of_the_closed_set(
    engine: Engine,
    prefixes: list[Prefix],
    decoding: Decoding,
) -> None:
    """One of them begins another."""
    answers = [engine.text(text).ids for text in ("红", "红色", "蓝色", "不是红色")]
    written = engine.write(prefixes, MOST, decoding, Choices(answers, engine.vocabulary.size))
    assert all(tuple(ids) in answers for ids in written)


def test_every_answer_of_a_closed_set_can_be_written(engine: Engine) -> None:
    answers = [(5, 6), (5,), (7, 8, 9)]
    choices = Choices(answers, 20)
    for answer in answers:
        for place, token in enumerate((*answer, END)):
            assert choices(answer[:place])[token]
    assert choices(()).nonzero().flatten().tolist() == [5, 7]
    assert choices((5,)).nonzero().flatten().tolist() == sorted([6, END])
    with pytest.raises(UserError, match="nothing to choose"):
        Choices([], 20)


def test_beams_keep_the_form_of_a_poem(engine: Engine) -> None:
    grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, "五言绝句")
    prefix = (engine.text("五言绝句《春晓》"),)
    written = engine.write([prefix], 60, Decoding(beams=3), grammar)[0]
    assert has_form(engine.tokenizer.decode(written), "五言绝句")


def test_texts_are_ranked_as_they_are_one_by_one(engine: Engine) -> None:
    pictures: list[Prefix] = [(Picture(picture(index)),) for index in range(3)]
    texts = [engine.text(text) for text in ("红苹果", "猫。动物、宠物", "左边是猫", "")]
    found = log_likelihoods(engine, pictures, texts)
    alone = [
        [-engine.losses([Sample("", prefix, (Branch("text", (), text),))])[0] for text in texts] for prefix in pictures
    ]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(alone, dtype=torch.float64), atol=1e-4, rtol=1e-5)
    by_themselves = [-engine.losses([Sample("", (), (Branch("text", (), text),))])[0] for text in texts]
    better = found - torch.tensor(by_themselves).numpy()
    assert fits(engine, pictures, texts) == pytest.approx(better, abs=1e-4)
    assert fits(engine, pictures, texts, prior=False) == pytest.approx(found)
    lengths = [len(text.ids) + 1 for text in texts]
    assert fits(engine, pictures, texts, per_token=True) == pytest.approx(better / lengths, abs=1e-4)


@pytest.mark.parametrize("row", [1, 20, 1000])
def test_ranks_depend_neither_on_the_rows_nor_on_what_shares_the_batch(
    engine: Engine, prefixes: list[Prefix], row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefixes of unlike lengths, one of them empty; rows of one text, of some, of all; texts that begin alike, one
    that another begins with, and one twice."""
    written = ("红苹果", "猫。动物、宠物", "左边是猫", "", "红苹", "春眠不觉晓", "红色", "左边是苹果", "红苹果")
    texts = [engine.text(text) for text in written]
    monkeypatch.setattr(rank, "ROW", row)
    monkeypatch.setattr(rank, "ROWS", 3)
    found = log_likelihoods(engine, prefixes, texts)
    samples = [as_trained(prefix, text) for prefix in prefixes for text in texts]
    alone = [-engine.losses([sample])[0] for sample in samples]
    assert found.flatten() == pytest.approx(alone, abs=1e-4)
    assert log_likelihoods(engine, prefixes, []).shape == (4, 0)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"beams": 0}, "from 1"),
        ({"beams": 2, "temperature": 0.5}, "take one of them"),
        ({"length_penalty": float("nan")}, "length_penalty nan"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram -1"),
        ({"repetition_penalty": 0.0}, "above 0"),
        ({"contrast": 1.5}, "from 0"),
        ({"contrast": 0.6, "beams": 2}, "neither beams nor a temperature"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(values: dict[str, float], line: str) -> None:
    with pytest.raises(UserError, match=line):
        Decoding(**values)  # type: ignore[arg-type]
