"""How fast pages and texts are cleaned, beside data-juicer and datatrove with the nearest lists of rules.

    clean_vs_PEER        HTML to kept text: main content, normal form, rules, personal data; MB of HTML a second
    clean_text_vs_PEER   the same without HTML: plain texts in; MB of text a second

In: the same texts for all, in memory. Every program is a process with one thread that has done the whole work once
before the clock counts; seconds are those of user CPU, which other programs on the machine change least. Perplexity is
left out, and so are titles, which the peers do not know. The lists of rules stand side by side in the guide.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import texts
from benchmarks.peers.serve import read_texts, serve
from benchmarks.rows import Row, row
from benchmarks.runners import Run, named, paired, peer_python, started
from m6.corpus.config import TextRules
from m6.corpus.document import make_document
from m6.corpus.extract.webpage import main_text
from m6.corpus.text.lists import bundled
from m6.corpus.text.rules import clean

PEERS = {"data_juicer": "data-juicer", "datatrove": "datatrove"}


def measure(runs: int = 5, smoke: bool = False) -> list[Row]:
    """The rows of all keys; without a peer's environment its rows have no ratio."""
    sensitive = {"SENSITIVE": json.dumps(sorted(bundled("sensitive")), ensure_ascii=False)}
    rows = []
    for kind, form in (("clean", "html"), ("clean_text", "plain")):
        some = texts.pages(smoke) if form == "html" else texts.plain(smoke)
        size = sum(len(text.encode()) for text in some) / 1e6
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = folder / "texts.jsonl"
            lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in some)
            path.write_text("".join(lines), encoding="utf-8")
            commands = {"ours": [sys.executable, "-m", "benchmarks.clean"]}
            for peer, name in PEERS.items():
                if python := peer_python(name):
                    commands[peer] = [str(python), str(Path(__file__).parent / "peers" / f"{peer}_clean.py")]
            given = {peer: [*words, str(path), form] for peer, words in commands.items()}
            found = paired(started(stack, given, sensitive), runs)
        rows += [_row(f"{kind}_vs_{peer}", found["ours"], found.get(peer), name, size) for peer, name in PEERS.items()]
        print(_walls(kind, found, size), file=sys.stderr)
    return rows


def count_kept(some: list[str], html: bool) -> int:
    """How many of these pages or texts stay under the default rules."""
    rules = TextRules()
    bodies = (main_text(page)[1] for page in some) if html else some
    return sum(not isinstance(clean(make_document("web", body), rules), str) for body in bodies)


def _row(key: str, ours: list[Run], theirs: list[Run] | None, name: str, size: float) -> Row:
    note = f"{size:.1f} MB, user CPU; kept: ours {ours[0].kept}"
    return row(
        key,
        [size / run.user for run in ours],
        "MB/s per core",
        peer=[size / run.user for run in theirs or ()],
        peer_name=named(name),
        note=f"{note}, {name} {theirs[0].kept}" if theirs else note,
    )


def _walls(kind: str, found: dict[str, list[Run]], size: float) -> str:
    """What the clock says, which the ratios do not use."""
    rates = (f"{name} {size / statistics.median(run.wall for run in runs):.2f}" for name, runs in found.items())
    return f"benchmarks: {kind}: MB/s by the clock: {', '.join(rates)}"


if __name__ == "__main__":
    own = read_texts(sys.argv[1])
    serve(lambda: count_kept(own, sys.argv[2] == "html"))
