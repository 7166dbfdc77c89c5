"""`m6 reproduce`: makes a table or a picture of the docs again, by its card, and says whether the same comes out.

In: the name of a card (docs/reproduce), a folder. Out: the commands' files in the folder, and a table of what was
expected and what was found. Commands that have ended are noted in the folder's reproduce.json, by their words, so that
what was stopped goes on, and cards that begin alike share their beginning.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from m6 import cards, flags
from m6.cards import Card, Expect, Finding
from m6.config import UserError, nearest
from m6.run import EndedError, ends_with_parent, write_atomic
from m6.show import columns

ROOT = cards.CARDS.parents[1]
FOLDER, SMOKE_FOLDER = Path("runs/reproduce"), Path("runs/reproduce-smoke")
_FLAGS = ("--out", "--smoke", "--check")
HELP = f"""\
m6 reproduce [CARD] [--smoke] [--check] [--out DIR]: a table or a picture of the docs, made again and compared.

Alone, the cards that there are. With one, its commands run one after the other, then each expected figure stands beside
the one that was found. What was stopped goes on when the command is given again.
  --out DIR  where everything stands ({FOLDER}, or {SMOKE_FOLDER}); cards share what they have in common
  --smoke    the same in seconds to some minutes, at a size at which figures mean little: does it work?
  --check    compare what is there, run nothing

Exit codes: 0 all figures are within their tolerances, 1 some are not or a command failed, 2 no such card, or a machine
that cannot run it. docs/en/reproduce.md says how cards are written and how their tolerances were chosen."""


class Request(NamedTuple):
    """What the words of a command line ask for."""

    card: str | None
    smoke: bool
    check: bool
    out: Path


def parse(words: Sequence[str]) -> Request:
    """UserError for what is wrong with them."""
    for name in (word.partition("=")[0] for word in words if word.startswith("--")):
        if name not in _FLAGS:
            raise UserError(f"{name}: no such flag{nearest(name, _FLAGS)}")
    switches = {word for word in words if word in ("--smoke", "--check")}
    alone, given = flags.split([word for word in words if word not in switches])
    smoke = "--smoke" in switches
    out = Path(given.pop("out", SMOKE_FOLDER if smoke else FOLDER))
    if len(alone) > 1:
        raise UserError(f"m6 reproduce takes one card, got {' '.join(alone)}")
    if switches and not alone:
        raise UserError(f"m6 reproduce {' '.join(sorted(switches))} takes a card: {', '.join(cards.names())}")
    return Request(alone[0] if alone else None, smoke, "--check" in switches, out)


def reproduce(words: Sequence[str]) -> int:
    """What the words of a command line ask for, and the exit code. UserError for what is wrong with them or the
    machine, EndedError if a command fails."""
    request = parse(words)
    if request.card is None:
        print(overview(), flush=True)
        return 0
    card = cards.read(request.card)
    told = card.smoke if request.smoke else card
    print(f"{request.card}: {card.title.en} ({card.shows.en})", flush=True)
    if not request.check:
        if not request.smoke:
            check_machine(card, request.out)
            note = f" {' '.join(card.note.en.split())}" if card.note else ""
            print(f"{card.minutes:g} minutes on {card.hardware}.{note}", flush=True)
        run(told.commands, request.out)
    elif not any(any(request.out.glob(name)) for expect in told.expect for name in expect.files):
        raise UserError(f"{request.out}: nothing of it is there; run `m6 reproduce {_again(request)}` first")
    findings = cards.compare(told.expect, request.out)
    print(f"{table(findings)}\n{closing(findings, request.smoke)}", flush=True)
    return 0 if all(finding.ok for finding in findings) else 1


def _again(request: Request) -> str:
    """The words that run what was to be checked."""
    folder = SMOKE_FOLDER if request.smoke else FOLDER
    more = ["--smoke"] * request.smoke + ["--out", str(request.out)] * (request.out != folder)
    return shlex.join([str(request.card), *more])


def overview() -> str:
    """All cards in a table."""
    rows = [("card", "time", "what it makes again")]
    for name in cards.names():
        card = cards.read(name)
        rows.append((name, f"{card.minutes:g} min", card.title.en))
    return "\n".join(columns(rows, words=True))


def check_machine(card: Card, folder: Path) -> None:
    """UserError, before anything runs, that names all that is missing."""
    lacks = [f"the program {name}" for name in card.programs if shutil.which(name) is None]
    lacks += [f"the module {name}" for name in card.modules if importlib.util.find_spec(name) is None]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if memory < card.memory_gib:
        lacks.append(f"{card.memory_gib:g} GiB of memory ({memory:.1f} are there)")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    if free < card.disk_gib:
        lacks.append(f"{card.disk_gib:g} GiB of free space in {there} ({free:.1f} are there)")
    if lacks:
        raise UserError(f"this machine lacks {', '.join(lacks)}")


def run(commands: Sequence[str], folder: Path) -> None:
    """Runs those that have not ended yet. EndedError with the first that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: no folder can be made there: {error.strerror}") from None
    for number, command in enumerate(commands, start=1):
        place = f"[{number}/{len(commands)}] {command.replace('{out}', str(folder))}"
        if command in finished(folder):
            print(f"{place}: done before", flush=True)
            continue
        print(place, flush=True)
        began = time.monotonic()
        if code := _ran(command, folder.absolute()):
            raise EndedError(f"`{command}` ended with {code}; the same m6 reproduce begins with it again", 1)
        note(folder, command, time.monotonic() - began)


def finished(folder: Path) -> dict[str, Any]:
    """The commands that have ended in a folder, with what is known of them."""
    path = folder / "reproduce.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["commands"]) if path.exists() else {}


def note(folder: Path, command: str, seconds: float) -> None:
    """A command has ended."""
    ended = {**finished(folder), command: {"seconds": round(seconds, 1), "ended": time.strftime("%Y-%m-%d %H:%M:%S")}}
    write_atomic(folder / "reproduce.json", json.dumps({"commands": ended}, ensure_ascii=False, indent=2) + "\n")


def _ran(command: str, folder: Path) -> int:
    """The exit code of a command, which runs in the checkout with this Python."""
    words = [word.replace("{out}", str(folder)) for word in shlex.split(command)]
    target = Path(words[-1]) if words[-2:-1] == [">"] else None
    first = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "m6.cli"]
    with _output(target) as file:
        command_line = [*first, *words[1 : -2 if target else None]]
        ran = subprocess.run(command_line, cwd=ROOT, stdout=file, check=False, preexec_fn=ends_with_parent())
    if target and not ran.returncode:
        os.replace(_partial(target), target)
    return ran.returncode


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


@contextlib.contextmanager
def _output(target: Path | None) -> Iterator[IO[bytes] | None]:
    if target is None:
        yield None
        return
    with open(_partial(target), "wb") as file:
        yield file


def table(findings: Sequence[Finding]) -> str:
    """Rows by file: key, expected, tolerance, found, and whether it is near enough."""
    rows = [("", "expected", "tolerance", "found", "")]
    last = ""
    for expect, found, ok in findings:
        if (file := ", ".join(expect.files)) != last:
            rows.append((file, "", "", "", ""))
        last = file
        rows.append((f"  {expect.name}", *_wanted(expect), _shown(found), "ok" if ok else "differs"))
    return "\n".join(columns(rows, words=True))


def closing(findings: Sequence[Finding], smoke: bool) -> str:
    """The last line: how many are as expected; at smoke size, where most are only there, how many those are."""
    within = sum(finding.ok for finding in findings)
    kinds = [_kind(finding.expect) for finding in findings]
    if not smoke or within < len(findings) or set(kinds) <= {"value"}:
        return f"{within} of {len(findings)} as expected"
    there = " and ".join(
        f"{count} {kind}{'s' * (count != 1)}" for kind in ("file", "number") if (count := kinds.count(kind))
    )
    exact = f"; {kinds.count('value')} of fixed value as expected" if "value" in kinds else ""
    return f"ran; figures at this size are not compared: {there} there{exact}"


def _kind(expect: Expect) -> str:
    """What has to come out: a file, any number within bounds, or one value."""
    if not expect.key:
        return "file"
    return "number" if expect.value is None and not expect.says else "value"


def _wanted(expect: Expect) -> tuple[str, str]:
    """The expected value, and what may differ from it."""
    low, high = expect.at_least, expect.at_most
    bounds = [f"{low:g} to {high:g}"] if low is not None and high is not None else []
    bounds = bounds or [
        f"{said} {bound:g}" for said, bound in (("at least", low), ("at most", high)) if bound is not None
    ]
    if not expect.key:
        return "a file", ""
    if expect.says:
        return f"… {expect.says} …", ""
    if expect.value is None:
        return "a number", ", ".join(bounds)
    return _shown(expect.value), ", ".join([*([f"± {expect.tolerance:.3g}"] if expect.tolerance else []), *bounds])


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
