"""Jobs that join and leave at every step: each gives what it would give alone, whatever happens to others."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from m6.config import UserError
from m6.data.sample import Picture
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine, key_of
from m6.generate.poems import PoemGrammar
from m6.generate.prefill import Prefix
from m6.generate.sampling import Sampling, generators_of
from m6.generate.text_to_image import Grid, prefixes
from m6.model.config import CodeAttentionConfig
from m6.model.sparse import FULL
from m6.serve.jobs import Event, Job, PaintJob, TextJob, TimedOutError
from m6.serve.scheduler import BusyError, Scheduler
from m6.serve.slots import Read, Slots
from tests.unit.data.examples import picture
from tests.unit.generate.small_engine import WINDOW, small_engine

MOST = 12


@pytest.fixture(scope="module")
def engine() -> Engine:
    return small_engine()


@pytest.fixture
def scheduler(engine: Engine) -> Iterator[Scheduler]:
    made = Scheduler(engine, Slots(engine, 4, 128, kept=2), text_slots=1, max_queue=64)
    yield made
    made.close()


def asked(engine: Engine) -> list[Prefix]:
    """Of unlike lengths: pictures alone, questions about them, some about one picture, texts, nothing."""
    texts = ["这是什么？", "左边是什么颜色的东西？", "春", "五言绝句《春晓》"]
    seen = [(Picture(picture(seed)),) for seed in range(3)]
    both = [(*seen[index % 2], engine.text(text)) for index, text in enumerate(texts)]
    return [*seen, *both, *((engine.text(text),) for text in texts), ()]


class Answers:
    """What jobs have told, until all have ended."""

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[int, Event]] = queue.Queue()
        self.ended: list[int] = []
        self.values: dict[int, Any] = {}

    def tell(self, index: int) -> Callable[[Event], None]:
        return lambda event: self.events.put((index, event))

    def wait(self, count: int) -> dict[int, Any]:
        while len(self.ended) < count:
            index, event = self.events.get(timeout=60)
            if event.kind in ("done", "failed"):
                self.ended.append(index)
                self.values[index] = event.value
        return self.values


def written(scheduler: Scheduler, requests: Sequence[Prefix], decoding: Decoding, at_once: bool) -> list[list[int]]:
    answers = Answers()
    for index, prefix in enumerate(requests):
        draw = generators_of(decoding.seed, [key_of(prefix)])[0] if decoding.temperature else None
        scheduler.submit(TextJob(answers.tell(index), prefix=prefix, most=MOST, decoding=decoding, draw=draw))
        if not at_once:
            answers.wait(index + 1)
    found = answers.wait(len(requests))
    return [found[index] for index in range(len(requests))]


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(temperature=0.9, top_p=0.95, seed=5)])
def test_a_text_is_the_same_alone_in_a_crowd_and_from_the_engine(
    engine: Engine, scheduler: Scheduler, decoding: Decoding
) -> None:
    requests = asked(engine)
    together = written(scheduler, requests, decoding, True)
    assert together == written(scheduler, requests, decoding, False)
    assert together[::-1] == written(scheduler, requests[::-1], decoding, True)
    assert together == engine.write(requests, MOST, decoding)


def test_a_poem_keeps_its_form_beside_other_texts(engine: Engine, scheduler: Scheduler) -> None:
    grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, "五言绝句")
    answers, prefix = Answers(), (engine.text("五言绝句《春晓》"),)
    scheduler.submit(TextJob(answers.tell(0), prefix=prefix, most=40, grammar=grammar))
    scheduler.submit(TextJob(answers.tell(1), prefix=prefix, most=40))
    found = answers.wait(2)
    assert [found[0], found[1]] == [engine.write([prefix], 40, grammar=grammar)[0], engine.write([prefix], 40)[0]]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("codes", [FULL, WINDOW, CodeAttentionConfig(pattern="row_column")], ids=lambda c: c.pattern)
def test_paintings_beside_texts_are_those_of_the_engine(codes: CodeAttentionConfig, guidance: float) -> None:
    engine = small_engine(codes)
    scheduler = Scheduler(engine, Slots(engine, 8, 128), text_slots=2, max_queue=64)
    grid, sampling, prompts = Grid(5, 4), Sampling(temperature=1.0, seed=3), ["左边是梨", "猫"]
    given, blank = prefixes(engine, prompts, grid)
    answers = Answers()
    paint = PaintJob(
        answers.tell(0), asked=given, blank=blank if guidance != 1.0 else (), grid=grid, sampling=sampling,
        guidance=guidance, first_code=engine.vocabulary.text_size, tell_every=5,
    )  # fmt: skip
    scheduler.submit(paint)
    text = (engine.text("这是什么？"),)
    scheduler.submit(TextJob(answers.tell(1), prefix=text, most=MOST))
    found = answers.wait(2)
    scheduler.close()
    assert np.array_equal(found[0], engine.paint(given, 5, 4, sampling, guidance, blank=blank))
    assert found[1] == engine.write([text], MOST)[0]


def test_pictures_come_bit_by_bit(engine: Engine, scheduler: Scheduler) -> None:
    grid = Grid(4, 4)
    given, _ = prefixes(engine, ["梨"], grid)
    answers = Answers()
    scheduler.submit(
        PaintJob(answers.tell(0), asked=given, grid=grid, first_code=engine.vocabulary.text_size, tell_every=4)
    )
    events = [answers.events.get(timeout=60)[1] for _ in range(4)]
    assert [event.kind for event in events] == ["codes"] * 3 + ["done"]
    assert [int((event.value >= 0).sum()) for event in events] == [4, 8, 12, 16]
    whole = events[-1].value
    assert all(np.array_equal(event.value[event.value >= 0], whole[event.value >= 0]) for event in events)


def test_a_short_answer_does_not_wait_for_long_paintings(engine: Engine, scheduler: Scheduler) -> None:
    """Three paintings have all slots that they may have, others wait; the text comes in at once."""
    grid = Grid(8, 8)
    given, _ = prefixes(engine, ["梨"], grid)
    answers = Answers()
    for index in range(6):
        scheduler.submit(PaintJob(answers.tell(index), asked=given, grid=grid))
    scheduler.submit(TextJob(answers.tell(6), prefix=(engine.text("春"),), most=3))
    answers.wait(7)
    assert answers.ended[0] == 6
    with pytest.raises(UserError, match="this server takes 3"):
        scheduler.submit(PaintJob(answers.tell(7), asked=given * 4, grid=grid))


@pytest.mark.parametrize("pictures", [1, 3])
def test_a_painting_gets_its_turn_while_texts_keep_coming(engine: Engine, scheduler: Scheduler, pictures: int) -> None:
    given, _ = prefixes(engine, ["梨"] * pictures, Grid(2, 2))
    answers, text = Answers(), (engine.text("春"),)
    for index in range(12):
        scheduler.submit(TextJob(answers.tell(index), prefix=text, most=20, decoding=Decoding(min_tokens=20)))
    scheduler.submit(PaintJob(answers.tell(12), asked=given, grid=Grid(2, 2)))
    for index in range(13, 25):
        scheduler.submit(TextJob(answers.tell(index), prefix=text, most=20, decoding=Decoding(min_tokens=20)))
    answers.wait(25)
    assert answers.ended.index(12) <= 8


def test_texts_do_not_wait_for_paintings_that_wait_for_paintings(engine: Engine, scheduler: Scheduler) -> None:
    """One of one slot works, one of three waits for its end: the slots between are the texts' until then."""
    one, _ = prefixes(engine, ["梨"], Grid(8, 8))
    answers, text = Answers(), (engine.text("春"),)
    scheduler.submit(PaintJob(answers.tell(0), asked=one, grid=Grid(8, 8)))
    while not scheduler.working:
        time.sleep(0.01)
    scheduler.submit(PaintJob(answers.tell(1), asked=one * 3, grid=Grid(2, 2)))
    for index in range(2, 8):
        scheduler.submit(TextJob(answers.tell(index), prefix=text, most=5, decoding=Decoding(min_tokens=5)))
    answers.wait(8)
    assert answers.ended.index(0) == 6


def test_each_kind_has_a_queue_of_its_own(engine: Engine) -> None:
    scheduler = Scheduler(engine, Slots(engine, 2, 128), text_slots=1, max_queue=1)
    given, _ = prefixes(engine, ["梨"], Grid(8, 8))
    answers, hold = Answers(), threading.Event()

    def held(event: Event) -> None:
        hold.wait()

    scheduler.submit(TextJob(held, prefix=(), most=1))
    while scheduler.waiting:
        time.sleep(0.01)
    scheduler.submit(PaintJob(answers.tell(0), asked=given, grid=Grid(8, 8)))
    with pytest.raises(BusyError):
        scheduler.submit(PaintJob(answers.tell(1), asked=given, grid=Grid(8, 8)))
    scheduler.submit(TextJob(answers.tell(2), prefix=(), most=2))
    with pytest.raises(BusyError):
        scheduler.submit(TextJob(answers.tell(3), prefix=(), most=2))
    hold.set()
    answers.wait(2)
    scheduler.close()


class Broken(TextJob):
    """Fails in its third step."""

    def put(self, token: int) -> None:
        super().put(token)
        if len(self.written) == 3:
            raise RuntimeError("broken")


def test_one_that_fails_is_late_or_is_given_up_takes_no_other_with_it(engine: Engine, scheduler: Scheduler) -> None:
    answers, text = Answers(), (engine.text("这是什么？"),)
    endless: dict[str, Any] = {"prefix": text, "most": 100, "decoding": Decoding(min_tokens=100)}
    given_up = TextJob(answers.tell(0), **endless)
    jobs: list[Job] = [
        given_up, Broken(answers.tell(1), **endless), TextJob(answers.tell(2), time.monotonic() - 1, **endless),
        TextJob(answers.tell(3), prefix=text, most=1000), TextJob(answers.tell(4), prefix=text, most=MOST),
    ]  # fmt: skip
    for job in jobs:
        scheduler.submit(job)
    given_up.cancelled.set()
    found = answers.wait(4)
    assert str(found[1]) == "broken"
    assert isinstance(found[2], TimedOutError)
    assert "room for 128" in str(found[3])
    assert found[4] == engine.write([text], MOST)[0]
    assert 0 not in found
    while scheduler.working:
        time.sleep(0.01)
    assert (scheduler.counts.finished, scheduler.counts.failed, scheduler.counts.cancelled) == (1, 3, 1)
    assert not any(scheduler.slots.used)


def test_a_fault_of_the_step_ends_those_who_share_it_and_no_more(
    engine: Engine, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [(engine.text("春"),), (engine.text("夏"),)]
    expected = written(scheduler, requests, Decoding(), at_once=False)

    def failing(*given: object) -> Tensor:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(scheduler.slots, "step", failing)
        answers = Answers()
        for index, prefix in enumerate(requests):
            scheduler.submit(TextJob(answers.tell(index), prefix=prefix, most=MOST))
        assert [str(error) for error in answers.wait(2).values()] == ["no memory"] * 2
    assert written(scheduler, requests, Decoding(), at_once=True) == expected


def test_what_is_too_much_is_refused_at_once_and_a_closed_one_ends_what_it_has(engine: Engine) -> None:
    scheduler = Scheduler(engine, Slots(engine, 2, 128), text_slots=1, max_queue=3)
    answers, hold = Answers(), threading.Event()

    def held(event: Event) -> None:
        hold.wait()

    scheduler.submit(TextJob(held, prefix=(), most=2))
    while scheduler.waiting:
        time.sleep(0.01)
    for index in range(3):
        scheduler.submit(TextJob(answers.tell(index), prefix=(), most=2))
    with pytest.raises(BusyError):
        scheduler.submit(TextJob(answers.tell(3), prefix=(), most=2))
    hold.set()
    scheduler.close()
    assert len(answers.wait(3)) == 3
    with pytest.raises(BusyError):
        scheduler.submit(TextJob(answers.tell(4), prefix=(), most=2))
    assert (scheduler.counts.accepted, scheduler.counts.finished, scheduler.counts.refused) == (4, 4, 2)


def test_a_picture_is_read_once_for_all_questions_about_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the keys and values are those that it has with the question behind it."""
    slots = Slots(engine, 2, 128, kept=1)
    shown = Picture(picture(0))
    calls: list[int] = []
    forward = engine.model.forward

    def counted(ids: Tensor, *rest: Any, **named: Any) -> Tensor:
        calls.append(ids.shape[1])
        return forward(ids, *rest, **named)

    monkeypatch.setattr(engine.model, "forward", counted)
    texts = [engine.text(text) for text in ("这是什么？", "红吗")]
    for text in texts:
        assert slots.read((shown, text)).length == 4 + len(text.ids)
    assert calls == [4, *(len(text.ids) for text in texts)]
    slots.read((Picture(picture(1)),))
    slots.read((shown,))
    assert calls[-2:] == [4, 4], "one picture is kept at the most"
    assert torch.equal(slots.read((shown,)).layers[0][0], slots.read((shown,)).layers[0][0])


def stepped(slots: Slots, reads: dict[int, Read], tokens: int = 3) -> dict[int, Tensor]:
    """Hidden states [tokens, D] of these slots, filled with these prefixes, which are written to together."""
    for slot, read in reads.items():
        slots.fill(slot, read)
    found: list[Tensor] = []
    for number in range(tokens):
        given = torch.zeros(slots.rows, 4, dtype=torch.long)
        for slot, read in reads.items():
            given[slot] = torch.tensor([7 + number, read.order + number, 0, 0])
        found.append(slots.step(given[:, 0], given[:, 1:]))
    return {slot: torch.stack([hidden[slot] for hidden in found]) for slot in reads}


def test_a_row_is_the_same_to_the_bit_however_many_share_a_step(engine: Engine) -> None:
    """In the first slot alone, among thirteen of all lengths, and in the last slot."""
    alone = Slots(engine, 13, 128)
    reads = [alone.read(prefix) for prefix in (*asked(engine)[::-1], (engine.text("春" * 70),))]
    many = stepped(Slots(engine, 13, 128), dict(enumerate(reads)))
    for place, read in enumerate(reads):
        assert torch.equal(stepped(alone, {0: read})[0], many[place]), place
    last = stepped(Slots(engine, 13, 128), {12: reads[0]})[12]
    assert torch.equal(last, many[0])


def test_what_is_moved_goes_on_as_it_was(engine: Engine) -> None:
    slots, still = Slots(engine, 8, 128), Slots(engine, 8, 128)
    read = slots.read((engine.text("这是什么？"),))
    expected = stepped(still, {5: read}, 6)[5]
    begun = stepped(slots, {5: read})[5]
    assert slots.rows == 8
    slots.move(5, 2)
    assert slots.rows == 4
    assert not slots.used[5]
    for number in range(3, 6):
        given = torch.zeros(slots.rows, 4, dtype=torch.long)
        given[2] = torch.tensor([7 + number, read.order + number, 0, 0])
        begun = torch.cat([begun, slots.step(given[:, 0], given[:, 1:])[2:3]])
    assert torch.equal(begun, expected)


def test_no_more_rows_are_computed_than_there_are_jobs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six jobs the first five end soon; the one that is left, far behind, is moved to the front."""
    slots = Slots(engine, 8, 128)
    scheduler = Scheduler(engine, slots, text_slots=1, max_queue=64)
    rows: list[int] = []
    step = slots.step

    def counted(tokens: Tensor, position: Tensor) -> Tensor:
        rows.append(len(tokens))
        return step(tokens, position)

    monkeypatch.setattr(slots, "step", counted)
    answers, text = Answers(), (engine.text("这是什么？"),)
    for index in range(6):
        decoding = Decoding(min_tokens=10 if index < 5 else 60)
        scheduler.submit(TextJob(answers.tell(index), prefix=text, most=decoding.min_tokens, decoding=decoding))
    found = answers.wait(6)
    scheduler.close()
    assert max(rows) == 8
    assert rows[-40:] == [4] * 40
    assert found[5] == engine.write([text], 60, Decoding(min_tokens=60))[0]
