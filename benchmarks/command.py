"""The command line that benchmarks share: python -m benchmarks.NAME [--smoke] [--json FILE], and flags of their own.

In: a function that measures. Out: a table on stdout, rows as JSON where a file is named, and the exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, hardware, table, write_json
from m6.config import UserError, nearest

Flags = Mapping[str, Mapping[str, Any]]
LEAST = {"runs": 1, "seeds": 1, "steps": 20}
"""Of numbers that are given by flags; a training tells of itself every ten steps."""
ONLY: Flags = {"--only": {"nargs": "+", "default": (), "metavar": "KEY", "help": "measure these keys alone"}}
RUNS: Flags = {
    "--runs": {"type": int, "default": 5, "metavar": "N", "help": "paired runs, of which medians are taken (5)"}
}


def command(
    name: str,
    about: str | None,
    measure: Callable[[argparse.Namespace], list[Row]],
    flags: Flags,
    words: Sequence[str] | None = None,
) -> int:
    """Measure what `words` (those of the process) ask for, print, write. `flags`: what `add_argument` takes, by flag.
    2, and one line on stderr, for what is wrong with the call."""
    parser = argparse.ArgumentParser(
        f"python -m benchmarks.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--smoke", action="store_true", help="does it work? a little of everything, figures mean nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    for flag, settings in flags.items():
        parser.add_argument(flag, **settings)
    given = parser.parse_args(words)
    try:
        check(given)
        rows = measure(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{rows[0]['hardware'] if rows else hardware()}\n{table(rows)}")
    if given.json:
        write_json(given.json, rows)
    return 0


def check(given: argparse.Namespace) -> None:
    """UserError, before anything is measured, for a number that is too small and a file that cannot be written."""
    for flag, least in LEAST.items():
        if getattr(given, flag, least) < least:
            raise UserError(f"benchmarks: --{flag} {getattr(given, flag)} is too small, it takes {least} at least")
    for flag in ("json", "curve"):
        path = getattr(given, flag, None)
        if path and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
            raise UserError(f"benchmarks: --{flag} {path} cannot be written; name a file in a folder that is there")


def chosen(only: Sequence[str], known: Iterable[str]) -> list[str]:
    """The keys that are asked for, or all, in their own order. UserError for an unknown one."""
    known = list(known)
    for key in only:
        if key not in known:
            raise UserError(f"benchmarks: no key {key!r}{nearest(key, known)}")
    return [key for key in known if not only or key in only]
