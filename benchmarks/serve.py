"""The server: many at once beside one after the other and beside transformers, and what it bears.

    python -m benchmarks.serve [--smoke] [--json FILE] [--only KEY ...] [--runs N] [--run RUN] [--soak N]

Servers are processes of their own on this machine, and so is the client. Rates are tokens by seconds of the clock, of
requests as `serve_requests.plain` has them, 16 of them one after the other or at once; beside it the note tells what
it is by seconds of the server's CPU. The peer is `generate` of transformers behind FastAPI, with the same weights: see
`peers/transformers_serve.py`. `ttft_p95_loaded` is the 95th percentile of the time until the first token comes, while
16 others are streamed to, by the same when there are none. `--smoke` serves a small run with weights drawn by chance;
its figures mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.command import ONLY, RUNS, Flags, chosen, command
from benchmarks.rows import Row, row
from benchmarks.runners import named, or_left_out, say
from benchmarks.serve_client import Server
from benchmarks.serve_load import overload, soak
from benchmarks.serve_requests import plain, question
from benchmarks.serve_run import write_run
from m6.config import UserError
from m6.run import ends_with_parent

KEYS = (
    "concurrent16_vs_serial", "concurrent16_vs_hf", "ttft_p95_loaded", "decode_vs_hf", "ready_seconds",
    "soak_memory_growth", "overload",
)  # fmt: skip
PEER = "transformers"
DEFAULT_RUN = Path("runs/quickstart")
AT_ONCE = 16
PROBES = 60  # requests of which the time to the first token is taken
STREAMED = 128  # tokens that others are streamed
LIMIT = 30.0  # seconds a request may take, in the overload
FLAGS: Flags = {
    "--run": {"type": Path, "metavar": "RUN", "help": f"a run ({DEFAULT_RUN})"},
    "--soak": {"type": int, "default": 10_000, "metavar": "N", "help": "requests of the long run (10,000)"},
}


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of these keys, or of all. UserError for an unknown key, and where there is no run."""
    keys, runs = chosen(given.only, KEYS), 1 if given.smoke else given.runs
    with tempfile.TemporaryDirectory() as name:
        run = given.run or DEFAULT_RUN
        if given.smoke and given.run is None:
            run = Path(name) / "run"
            write_run(run, small=True)
        if not (run / "config.json").exists():
            raise UserError(f"benchmarks: {run} is no run; make it with: m6 quickstart")
        rows = []
        hf = {"concurrent16_vs_hf", "decode_vs_hf"}
        if beside := [key for key in keys if key in hf]:
            rows += _beside_peer(beside, run, Path(name) / "hf", runs)
        for key in keys:
            if key not in hf:
                rows.append(_ALONE[key](run, runs, given))
    for one in rows:
        one["command"] += f" --run {given.run}" if given.run else ""
        one["command"] += f" --soak {given.soak}" if one["key"] == "soak_memory_growth" else ""
    return sorted(rows, key=lambda one: KEYS.index(one["key"]))


def _serve(run: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "m6.cli", "serve", str(run), "--port", "{port}", *words]


async def _rate(server: Server, numbers: Sequence[int], at_once: bool) -> tuple[float, float, list[str]]:
    """Tokens by seconds of the clock and of the server's CPU, and what was said."""
    asked = [plain(number) for number in numbers]
    began, used = time.perf_counter(), server.cpu
    if at_once:
        answers = await asyncio.gather(*(server.post(*each) for each in asked))
    else:
        answers = [await server.post(*each) for each in asked]
    wall, used = time.perf_counter() - began, server.cpu - used
    if wrong := next((each for each in answers if each.status != 200), None):
        raise UserError(f"benchmarks: a good request was answered with {wrong.status}: {wrong.body}")
    written = sum(each.tokens for each in answers)
    return written / wall, written / max(used, 0.01), [each.text for each in answers]


def _turns(
    runs: int, works: Mapping[str, Callable[[], tuple[float, float, list[str]]]]
) -> dict[str, list[tuple[float, float, list[str]]]]:
    """Figures of each, warm, every second time in the opposite order."""
    found: dict[str, list[tuple[float, float, list[str]]]] = {name: [] for name in works}
    for number in range(-1, runs):
        for name in list(works)[:: -1 if number % 2 else 1]:
            made = works[name]()
            found[name] += [made] * (number >= 0)
    return found


def _row(key: str, found: dict[str, list[tuple[float, float, list[str]]]], note: str) -> Row:
    """Of `_turns` of ours and another; the note tells also the ratio by the CPU of the servers."""
    (_, ours), *others = found.items()
    name, other = others[0] if others else (PEER, [])
    if other:
        note += (
            f"; by CPU of the servers {statistics.median(a[1] / b[1] for a, b in zip(ours, other, strict=True)):.3g}"
        )
        same = sum(a == b for a, b in zip(ours[-1][2], other[-1][2], strict=True))
        note += f"; {same} of {len(ours[-1][2])} answers the same"
    rates = [[one[0] for one in each] for each in (ours, other)]
    return row(key, rates[0], "tokens/s", peer=rates[1], peer_name=named(name, here=True), note=note, module="serve")


def _concurrent(run: Path, runs: int, given: argparse.Namespace) -> Row:
    with Server(_serve(run)) as server:
        works = {
            "at once": lambda: asyncio.run(_rate(server, range(AT_ONCE), True)),
            "one after the other": lambda: asyncio.run(_rate(server, range(AT_ONCE), False)),
        }
        return _row("concurrent16_vs_serial", _turns(runs, works), f"bar 4; {AT_ONCE} captions and answers")


def _beside_peer(keys: Sequence[str], run: Path, folder: Path, runs: int) -> list[Row]:
    with contextlib.ExitStack() as stack:
        servers = {"ours": stack.enter_context(Server(_serve(run)))}
        if find_spec("transformers"):
            done = subprocess.run(
                [sys.executable, "-m", "m6.cli", "export", str(run), "--out", str(folder)],
                capture_output=True,
                text=True,
                preexec_fn=ends_with_parent(),
            )
            if done.returncode:
                raise UserError(f"benchmarks: {' '.join(done.stderr.strip().splitlines()[-1:])}")
            peer = [sys.executable, "-m", "benchmarks.peers.transformers_serve", str(folder), "{port}"]
            with or_left_out(PEER, peer):
                servers[PEER] = stack.enter_context(Server(peer))
        else:
            say("transformers is missing: pip install 'open-m6[huggingface]'")

        def rates(numbers: Sequence[int], at_once: bool) -> dict[str, list[tuple[float, float, list[str]]]]:
            works = {
                name: partial(lambda server: asyncio.run(_rate(server, numbers, at_once)), server)
                for name, server in servers.items()
            }
            return _turns(runs, works)

        rows = []
        if "concurrent16_vs_hf" in keys:
            note = f"bar 3; {AT_ONCE} captions and answers at once"
            rows.append(_row("concurrent16_vs_hf", rates(range(AT_ONCE), True), note))
        if "decode_vs_hf" in keys:
            rows.append(_row("decode_vs_hf", rates(range(4), False), "bar 2; one request at a time"))
        return rows


def _first_tokens(run: Path, runs: int, given: argparse.Namespace) -> Row:
    with Server(_serve(run)) as server:
        found: dict[bool, list[float]] = {True: [], False: []}
        middle: dict[bool, list[float]] = {True: [], False: []}
        for number in range(runs):
            for loaded in (True, False) if number % 2 else (False, True):
                times = asyncio.run(_probe(server, loaded, 10 if given.smoke else PROBES))
                found[loaded].append(times[int(0.95 * len(times))])
                middle[loaded].append(statistics.median(times))
    medians = [statistics.median(middle[loaded]) * 1e3 for loaded in (True, False)]
    ratios = [one / other for one, other in zip(found[True], found[False], strict=True)]
    return row(
        "ttft_p95_loaded", [1e3 * one for one in found[True]], "ms", peer=[1e3 * one for one in found[False]],
        peer_name="unloaded", ratios=ratios, module="serve",
        note=f"a cost, bar at most 3; medians {medians[0]:.1f} and {medians[1]:.1f} ms",
    )  # fmt: skip


async def _probe(server: Server, loaded: bool, probes: int) -> list[float]:
    """Seconds until the first token of each, sorted, while others are streamed to or not."""
    numbers = itertools.count(1_000)

    async def other() -> None:
        while True:
            async with aclosing(server.stream(*question(next(numbers), STREAMED))) as events:
                async for _ in events:
                    pass

    others = [asyncio.create_task(other()) for _ in range(AT_ONCE * loaded)]
    await asyncio.sleep(1.0 * loaded)
    times = []
    for number in range(-2, probes):
        began = time.perf_counter()
        async with aclosing(server.stream(*plain(number % probes))) as events:
            async for _ in events:
                break
        times += [time.perf_counter() - began] * (number >= 0)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return sorted(times)


def _ready(run: Path, runs: int, given: argparse.Namespace) -> Row:
    found, used = [], []
    for _ in range(runs):
        with Server(_serve(run)) as server:
            found.append(server.ready)
            used.append(server.cpu)
    note = f"a cost, bar at most 5; from the start of the process until /readyz; CPU {statistics.median(used):.1f} s"
    return row("ready_seconds", found, "s", note=note, module="serve")


def _soak(run: Path, runs: int, given: argparse.Namespace) -> Row:
    count = 100 if given.smoke else given.soak
    with Server(_serve(run)) as server:
        found = asyncio.run(soak(server, count, max(1, count // 20)))
        alive = server.alive
    note = f"a cost, bar at most 1.05; {count:,} requests: {found.told}; the server {_state(alive)}"
    return row(
        "soak_memory_growth", [found.ended / 2**10], "MiB", peer=[found.begun / 2**10],
        peer_name="after the first twentieth", ratios=[found.ended / found.begun], note=note, module="serve",
    )  # fmt: skip


def _overload(run: Path, runs: int, given: argparse.Namespace) -> Row:
    with Server(_serve(run, "--max_seconds", str(LIMIT))) as server:
        found = asyncio.run(overload(server, 1.0 if given.smoke else 10.0, LIMIT))
        alive = server.alive
    slowest = [max(each, default=0.0) for each in (found.answered, found.refused)]
    note = (
        f"a cost, bar 0: neither answered within {LIMIT:.0f} s nor refused with 429, of those sent at ten times"
        f" {found.rate:.0f} a second; {len(found.answered):,} answered, the slowest after {slowest[0]:.1f} s;"
        f" {len(found.refused):,} refused, the slowest after {slowest[1]:.1f} s; the server {_state(alive)}"
    )
    return row("overload", [float(found.wrong)], "requests", note=note, module="serve")


def _state(alive: bool) -> str:
    return "lives" if alive else "has died"


_ALONE = {
    "concurrent16_vs_serial": _concurrent, "ttft_p95_loaded": _first_tokens, "ready_seconds": _ready,
    "soak_memory_growth": _soak, "overload": _overload,
}  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("serve", __doc__, measure, {**ONLY, **RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
