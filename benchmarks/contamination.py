"""The benchmark of what training rows share with held-out ones: nothing, or the scores say less than they seem to.

    python -m benchmarks.contamination [--smoke] [--json FILE] [--run RUN] [--heldout RUN]

Of the corpus of a run (--run) the rows that are trained on, of that of another (--heldout, by default the same) those
that are held out; counted without the corpus's own rules, so that it would show if they failed. Costs, bar 0:
`shared_concepts`, names of held-out emoji that a training picture has; `shared_scenes`, held-out scenes of which every
combination (two things in any order, a thing and its number, a thing and its hue) stands in training; `shared_poets`,
poets of held-out poems that a training poem is by; `shared_questions`, questions without a picture that both ask. Costs
without a bar: `near_pictures`, held-out emoji that a training picture differs from by less than two hundredths, on the
mean of 16 x 16 cells; `shared_passages`, held-out poems that have thirteen characters in a row of a training poem.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.command import Flags, command
from benchmarks.rows import Row, row
from m6.config import UserError
from m6.run import read_done
from m6.shards import Shards

Rows = list[dict[str, Any]]
NEAR, SIDE, NGRAM = 0.02, 16, 13
COLUMNS = ["split", "source", "group", "title", "text", "attributes"]
FLAGS: Flags = {
    "--run": {
        "type": Path, "default": Path("runs/mini"), "metavar": "RUN", "help": "what is trained on (runs/mini)"
    },
    "--heldout": {"type": Path, "metavar": "RUN", "help": "whose held-out rows are looked for (those of the same run)"},
}  # fmt: skip


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of all keys. UserError for a run without a corpus."""
    other = given.heldout or given.run
    train, held = _of(given.run, "train"), _of(other, "heldout")
    if given.smoke:
        train, held = train[:: max(1, len(train) // 500)], held[:: max(1, len(held) // 100)]
    command_line = f"python -m benchmarks.contamination --run {given.run}"
    command_line += f" --heldout {given.heldout}" if given.heldout else ""
    rows = []
    for key, (shared, of, what) in _counts(train, held, given.run, other).items():
        bar = "" if key in ("near_pictures", "shared_passages") else ", bar 0"
        note = f"a cost{bar}: of {of:,} {what}; {len(train):,} rows are trained on"
        made = row(key, [shared], "rows", note=note, module="contamination")
        made["command"] = command_line
        rows.append(made)
    return rows


def _of(run: Path, split: str) -> Rows:
    if read_done(run, "corpus") is None:
        raise UserError(f"benchmarks: {run} has no corpus; make one with: m6 corpus RECIPE --out {run}")
    table = Shards(run / "corpus").columns(COLUMNS).to_pylist()
    return [{**one, "row": number} for number, one in enumerate(table) if one["split"] == split]


def _counts(train: Rows, held: Rows, run: Path, other: Path) -> dict[str, tuple[int, int, str]]:
    """By key: how many held-out rows share something with training, of how many, and what they are."""
    emoji = [one for one in held if one["source"] == "emoji"]
    pictures = [one for one in train if one["source"] not in ("scenes", "poems", "poems_more") and one["title"]]
    scenes, composed = ([one for one in rows if one["source"] == "scenes"] for rows in (held, train))
    combinations = {part for one in composed for part in one["group"].split("|")}
    poems, verses = ([one for one in rows if one["source"].startswith("poems")] for rows in (held, train))
    asked, trained_on = ([*_questions(rows)] for rows in (held, train))
    cells = np.array([*_cells(run, [one["row"] for one in pictures])]).reshape(-1, SIDE, SIDE, 3)
    near = sum(
        bool((np.abs(cells - each).mean((1, 2, 3)) < NEAR).any())
        for each in _cells(other, [one["row"] for one in emoji])
    )
    passages = {passage for verse in verses for passage in _passages(verse["text"])}
    return {
        "shared_concepts": (_in(_names(emoji), set(_names(pictures))), len(emoji), "held-out emoji"),
        "shared_scenes": (
            sum(combinations.issuperset(one["group"].split("|")) for one in scenes), len(scenes), "held-out scenes"
        ),
        "shared_poets": (_in(_poets(poems), set(_poets(verses))), len([*_poets(poems)]), "held-out poems by a poet"),
        "shared_questions": (_in(asked, set(trained_on)), len(asked), "held-out questions without a picture"),
        "near_pictures": (near, len(emoji), f"held-out emoji, beside {len(cells):,} training pictures"),
        "shared_passages": (
            sum(not passages.isdisjoint(_passages(one["text"])) for one in poems), len(poems), "held-out poems"
        ),
    }  # fmt: skip


def _in(found: Iterable[str], known: set[str]) -> int:
    return sum(each in known for each in found)


def _names(rows: Rows) -> Iterator[str]:
    return (one["title"] for one in rows)


def _poets(rows: Rows) -> Iterator[str]:
    """Poets that are known by name."""
    return (name for one in rows if (name := dict(one["attributes"] or []).get("author", "")) and name != "佚名")


def _questions(rows: Rows) -> Iterator[str]:
    """Those of rows without a picture, whose title is the question."""
    return (one["title"] for one in rows if one["source"].startswith("qa_"))


def _passages(text: str) -> Iterator[str]:
    letters = "".join(re.findall(r"\w+", text))
    return (letters[at : at + NGRAM] for at in range(len(letters) - NGRAM + 1))


def _cells(run: Path, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Pictures as SIDE x SIDE colours, from 0 to 1."""
    shards = Shards(run / "corpus")
    for number in numbers:
        for image in shards[number]["images"][:1]:
            small = Image.open(io.BytesIO(image["bytes"])).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
            yield np.asarray(small, np.float32) / 255


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("contamination", __doc__, measure, FLAGS, words)


if __name__ == "__main__":
    sys.exit(main())
