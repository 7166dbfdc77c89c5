"""All benchmarks, ours and the peers, on this machine in one run: python -m benchmarks (`make bench`)

    python -m benchmarks [--only NAME ...] [--again] [--smoke] [--into FOLDER] [--pages]

Makes what is missing of the peers' environments (runs/peers, or M6_PEERS) and of the runs that are measured, and writes
benchmarks/results/<what>_<hardware>_<yyyymm>.json with a page (.md) beside each, a page of all (README.md) and plots.
What was measured this month on this machine stays, unless `--again`, so that a series that was killed goes on where it
was. A benchmark that fails is shown with its last line, and the others go on; the exit code is then 1. `--smoke` runs
all of them in small, into a folder that is thrown away unless `--into` names one: figures mean nothing, and no peers'
environments are made. `--pages` measures nothing and writes the pages anew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.command import chosen
from benchmarks.layout import RESULTS, path_of, read, results
from benchmarks.page import write_pages
from benchmarks.peers.setup import make_all
from benchmarks.rows import Row, hardware, machine, today, write_json
from benchmarks.runners import DEFAULT_PEERS, DOES_NOT_RUN, PEERS, say
from benchmarks.series import SERIES, Benchmark, smoke
from m6.config import UserError
from m6.run import ends_with_parent, write_atomic

_BROKEN = re.compile(rf"benchmarks: (\S+) {DOES_NOT_RUN} .*")


def run(names: Sequence[str], folder: Path, *, again: bool = False, small: bool = False) -> list[str]:
    """Measure these, write their files and the pages. Returns those that failed."""
    failed = []
    for name in names:
        path = path_of(folder, name)
        there = read(path) if path.exists() else None
        kept = there is not None and not there.failed
        other = elsewhere(there.rows) if there else ""
        if kept and not other and not again:
            say(f"{name} is measured: {path}")
        else:
            anew = f"{name}: the results there are of another machine ({other}); measuring anew"
            say(anew if other else f"measuring {name}")
            benchmark = smoke(name, folder) if small else SERIES[name]
            try:
                rows = measured(name, benchmark, folder)
                write_json(path, rows if small else [*rows, *others(there.rows if there else (), rows)])
            except UserError as error:
                failed.append(name)
                say(f"{name} failed: {error}")
                if not kept:  # what was measured before is worth more than a failure
                    _write_failure(path, name, str(error))
        write_pages(folder)
    return failed


def elsewhere(rows: Sequence[Row]) -> str:
    """The machine that some of these rows were measured on, if it is another one."""
    here = machine(hardware())
    return next((found for row in rows if (found := machine(row["hardware"])) != here), "")


def others(before: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Of the rows of before, those of this machine that are not made anew: a key may take a run of its own."""
    made, here = {row["key"] for row in rows}, machine(hardware())
    return [row for row in before if row["key"] not in made and machine(row["hardware"]) == here]


def lacking(rows: Sequence[Row]) -> str:
    """How many rows have no figure of their peer, and the names of the peers; nothing if all have theirs."""
    peers = [row["peer_name"].split(",")[0] for row in rows if row["peer_name"] and row["peer"] is None]
    count = "1 row" if len(peers) == 1 else f"{len(peers)} rows"
    return f"{count} without their peer: {', '.join(dict.fromkeys(peers))}" if peers else ""


def measured(name: str, benchmark: Benchmark, folder: Path) -> list[Row]:
    """The rows of a benchmark, in a process of its own. UserError, its last line, if it fails."""
    broken = make_all(benchmark.peers, Path(os.environ.get(PEERS, DEFAULT_PEERS)))
    for command, done in benchmark.before:
        if not done.exists():
            _call(command)
    rows: list[Row] = []
    for number, flags in enumerate(benchmark.calls):
        out = folder.absolute() / f".{name}.{number}.tmp"
        broken |= _call([sys.executable, "-m", f"benchmarks.{name}", *flags, "--json", str(out)])
        rows += json.loads(out.read_text(encoding="utf-8"))
        out.unlink()
    return [explained(one, broken) for one in rows]


def explained(row: Row, broken: Mapping[str, str]) -> Row:
    """A row that says why its peer has no figure."""
    why = next((line for peer, line in broken.items() if (row["peer_name"] or "").startswith(peer)), "")
    return Row(**{**row, "note": f"{row['note']}; {why}"}) if why and row["peer"] is None else row


def _call(words: Sequence[str]) -> dict[str, str]:
    """Run a command, whose output is seen; why peers did not run. UserError with its last line if it fails."""
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, errors="replace", preexec_fn=ends_with_parent()
    )
    assert process.stderr is not None
    last, broken = "", {}
    for line in process.stderr:
        sys.stderr.write(line)
        last = line.strip() or last
        if told := _BROKEN.match(line):
            broken[told[1]] = told[0].strip().removeprefix("benchmarks: ")
    if process.wait():
        raise UserError(f"{shlex.join(words[1:])} ended with {process.returncode}: {last}")
    return broken


def _write_failure(path: Path, name: str, line: str) -> None:
    told = {"failed": line, "command": f"python -m benchmarks.{name}", "hardware": hardware(), "date": today()}
    write_atomic(path, json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write; see the top of this file. 1 if a benchmark failed, 2 for what is wrong with the call."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help=", ".join(SERIES))
    parser.add_argument(
        "--again", action="store_true", help="measure also what was measured this month on this machine"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="does it work? figures mean nothing, and no environments of peers are made"
    )
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="where files are written (benchmarks/results)")
    parser.add_argument("--pages", action="store_true", help="measure nothing, write the pages of what is there")
    given = parser.parse_args(words)
    try:
        names = chosen(given.only, SERIES)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as thrown_away:
        folder = given.into or (Path(thrown_away) if given.smoke else RESULTS)
        if given.pages:
            if not results(folder):
                print(f"--into {folder}: no results are there; measure some first", file=sys.stderr)
                return 2
            write_pages(folder)
            return 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"--into {folder}: no folder can be made there: {error.strerror}", file=sys.stderr)
            return 2
        failed = run(names, folder, again=given.again, small=given.smoke)
        where = f": {folder / 'README.md'}" if folder != Path(thrown_away) else ""
        paths = [path for name in names if (path := path_of(folder, name)).exists()]
        if told := lacking([row for path in paths for row in read(path).rows]):
            print(told)
        print(f"failed: {', '.join(failed) or 'none'}; benchmarks: {len(names)}{where}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
