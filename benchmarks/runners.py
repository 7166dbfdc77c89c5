"""Runners: programs that are warm and do their work once whenever they are asked, for runs in pairs.

In: a command that speaks as `peers/serve.py` does. Out: seconds of user CPU and of the clock, of the work alone. Each
program is a process of its own with one thread; while one works, the others wait for their next line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from m6.config import UserError
from m6.run import ends_with_parent

ROOT = Path(__file__).parent.parent
PEERS = "M6_PEERS"
DEFAULT_PEERS = "runs/peers"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
DOES_NOT_RUN = "does not run:"
"""In the line about a peer that is installed and fails."""
NO_NETWORK = {"HF_HUB_OFFLINE": "1"}
DISTRIBUTIONS = {"data-juicer": "py-data-juicer", "hf-datasets": "datasets"}
"""Packages of another name than their peer."""


class Run(NamedTuple):
    """One run."""

    user: float  # seconds of user CPU
    wall: float  # seconds
    kept: int  # what the work returned


class Runner:
    """A program under measurement; a context that ends it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start it and wait until it has done its work once. UserError if it ends before that."""
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed when the program is
        self._name = " ".join(command[:3])
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD, **NO_NETWORK, **(environment or {})},
            preexec_fn=ends_with_parent(),
        )
        self.kept: int = self._answer()["kept"]

    def run(self) -> Run:
        """Its work, once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Run(**self._answer())

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # its input ends, and so does it
        self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise UserError(f"benchmarks: {self._name} ended: {' '.join(last) or self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def or_left_out(who: str, words: Sequence[str]) -> Iterator[None]:
    """For what a program does: a peer that fails is told in a line, and the others go on without it. Ours has to
    work."""
    try:
        yield
    except UserError as error:
        if who.startswith("ours"):
            raise
        place = Path(words[0]).parents[1]
        told = place.name if place.parent == Path(os.environ.get(PEERS, DEFAULT_PEERS)).absolute() else who
        say(f"{told} {DOES_NOT_RUN} {re.split(' (?:ended|failed|does not serve): ', str(error), maxsplit=1)[-1]}")


def started(
    stack: contextlib.ExitStack, commands: Mapping[str, Sequence[str]], environment: dict[str, str] | None = None
) -> dict[str, Runner]:
    """These programs, warm, until the stack is closed; of the peers those that run. UserError if ours does not."""
    running = {}
    for who, words in commands.items():
        with or_left_out(who, words):
            running[who] = stack.enter_context(Runner(words, environment))
    return running


def paired(runners: dict[str, Runner], runs: int) -> dict[str, list[Run]]:
    """The runs of each, by turns, every second time in the opposite order."""
    found: dict[str, list[Run]] = {name: [] for name in runners}
    for number in range(runs):
        for name in list(runners)[:: -1 if number % 2 else 1]:
            found[name].append(runners[name].run())
    return found


def peer_python(name: str) -> Path | None:
    """The interpreter of a peer's environment in the folder `M6_PEERS`; None, and a line that says so, if it has
    none."""
    folder = Path(os.environ.get(PEERS, DEFAULT_PEERS))
    python = folder.absolute() / name / "bin" / "python"
    if python.exists():
        return python
    say(f"{name} is missing: no {folder / name}; make it with: python -m benchmarks.peers.setup --only {name}")
    return None


def named(peer: str, *, here: bool = False) -> str:
    """A peer with its version, "transformers 5.23.0", in its environment or, `here`, in ours; where it is not
    installed, its name alone."""
    package = DISTRIBUTIONS.get(peer, peer)
    folder = Path(os.environ.get(PEERS, DEFAULT_PEERS)) / peer
    path = sys.path if here else [str(place) for place in folder.glob("lib/python*/site-packages")]
    found = next(iter(distributions(name=package, path=path)), None)
    return f"{peer} {found.version}" if found else peer


def say(line: str) -> None:
    """A line on stderr."""
    print(f"benchmarks: {line}", file=sys.stderr, flush=True)
