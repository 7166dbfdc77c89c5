"""What a server bears: many mixed requests, some of them wrong or given up, and more than it can do.

Each returns what happened; nothing is asserted here, for a figure that misses its bar is told.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serve_client import Answer, Server
from benchmarks.serve_requests import CHAT, PAINT, SHORT, Request, good, malformed, question

AT_ONCE = 24
"""Callers of the long run: more than there were slots for, once."""
KINDS = 120  # good requests that differ
OTHER = 10  # every so many is malformed or given up
TIMES = 10  # what it can bear, sent in the overload


@dataclass
class Soaked:
    """What a long run has come to."""

    begun: int = 0
    """KiB after the first requests."""
    ended: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def told(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))


def said(answer: Answer) -> Any:
    """What of an answer has to be the same each time: all but its name and its time."""
    body = answer.body
    return {name: body[name] for name in ("choices", "data", "scores", "usage") if name in body}


async def soak(server: Server, count: int, first: int) -> Soaked:
    """`count` requests, `AT_ONCE` at a time; memory is compared with that after the `first`."""
    alone = [said(await server.post(*good(kind))) for kind in range(KINDS)]
    found, numbers = Soaked(), iter(range(count))

    async def caller() -> None:
        for number in numbers:
            found.counts[await _one(server, number, alone)] += 1
            if sum(found.counts.values()) == first:
                found.begun = server.resident

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    found.ended = server.resident
    return found


async def _one(server: Server, number: int, alone: list[Any]) -> str:
    """What came of request `number`."""
    turn, other = divmod(number, OTHER)
    if other == OTHER - 1:
        return await (_refused(server, turn) if turn % 2 else _given_up(server, turn))
    kind = number % KINDS
    answer = await server.post(*good(kind))
    if answer.status != 200:
        return f"good ones answered with {answer.status}"
    return "good ones as alone" if said(answer) == alone[kind] else "good ones answered otherwise"


async def _refused(server: Server, number: int) -> str:
    answer = await server.post(*malformed(number))
    return "malformed ones refused" if answer.status == 400 else f"malformed ones answered with {answer.status}"


async def _given_up(server: Server, number: int) -> str:
    """A stream that is left after its first event."""
    asked = Request(PAINT, {"prompt": "猫", "size": "64x64"}) if number % 4 else question(number, 4 * SHORT)
    async with aclosing(server.stream(*asked)) as events:
        async for _ in events:
            break
    return "given up"


@dataclass
class Overloaded:
    """What came of more than a server can bear."""

    rate: float
    """Requests a second that it can do."""
    answered: list[float]
    """Seconds of each answer."""
    refused: list[float]
    wrong: int
    """Neither answered in time nor refused with 429."""


async def overload(server: Server, seconds: float, limit: float) -> Overloaded:
    """`TIMES` the requests that it can do in `seconds`, sent evenly; `limit` is the server's."""
    began = time.perf_counter()
    asked = [question(number, SHORT) for number in range(2 * AT_ONCE)]
    await asyncio.gather(*(server.post(*each) for each in asked))
    rate = len(asked) / (time.perf_counter() - began)
    count = max(int(TIMES * rate * seconds), 4 * AT_ONCE)
    sent = [asyncio.create_task(_patient(server, number / (TIMES * rate), number)) for number in range(count)]
    answers = await asyncio.gather(*sent)
    answered = [each.seconds for each in answers if each.status == 200]
    refused = [each.seconds for each in answers if each.status == 429]
    in_time = sum(each <= limit for each in answered)
    return Overloaded(rate, answered, refused, count - in_time - len(refused))


async def _patient(server: Server, delay: float, number: int) -> Answer:
    await asyncio.sleep(delay)
    try:
        return await server.post(CHAT, question(number, SHORT).body)
    except OSError:
        return Answer(0, None, 0.0)
