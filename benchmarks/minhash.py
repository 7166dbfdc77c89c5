"""How fast near-duplicate texts are found, beside data-juicer and datatrove, and how many of them.

Speed: each run gives the same file of real texts with planted edits to this project, to data-juicer and to datatrove,
each in a process of its own on one core, from reading the texts to writing the kept ones; seconds are those of the
processor. Quality: found texts against those of brute force, which compares every two texts that share an n-gram.

In: the bundled poems, and from the packages of the starter corpus idioms, biographies and three lines each of a novel.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row, row
from benchmarks.runners import NO_NETWORK, ONE_THREAD, ROOT, named, or_left_out, peer_python
from benchmarks.texts import documents
from m6.config import UserError
from m6.corpus.config import CorpusConfig, EngineConfig, PoemsConfig
from m6.corpus.dedup import KEYS, find_duplicates, keys_of
from m6.corpus.dedup.connected import components
from m6.corpus.dedup.grouping import keys_file
from m6.corpus.document import SCHEMA, Document
from m6.corpus.starter import poem_rows
from m6.corpus.text.normalise import letters
from m6.run import ends_with_parent
from m6.shards import open_table

TEXT = pa.schema([SCHEMA.field("text")])
SIMILARITY = 0.8
NGRAM = 5
BATCH = 256
PEERS = {"data_juicer": "data-juicer", "datatrove": "datatrove"}
UNIT = "MB/s per core"
QUALITY_TEXTS = 20_000
SMOKE = 1_000  # texts


def measure(runs: int = 5, smoke: bool = False) -> list[Row]:
    """The rows of all keys; without a peer's environment its row has no ratio."""
    texts = planted(real_texts(smoke), random.Random(0))
    few = planted(real_texts(smoke)[: round(QUALITY_TEXTS / 1.1)], random.Random(1))
    return speed(texts, runs) + quality(few, dropped(few))


def real_texts(smoke: bool) -> list[str]:
    """Chinese texts of 20 letters and more, each once, in a fixed random order, so that the first n are a sample."""
    found = ["".join(row["couplets"]) for row in poem_rows()]
    if not smoke:
        lines = [line.strip() for chapter in documents("sanguo") for line in chapter.split("\n")]
        found += ["\n".join(lines[start : start + 3]) for start in range(0, len(lines), 3)]
        found += [text for name in ("idioms", "poets") for text in documents(name)]
    chosen = [text for text in dict.fromkeys(found) if len(letters(text)) >= 20]
    random.Random(0).shuffle(chosen)
    return chosen[: SMOKE if smoke else None]


def planted(texts: Sequence[str], rng: random.Random) -> list[str]:
    """The texts, and one in ten again: as it is, with other marks, or with up to a fifth of its characters changed,
    added or left out; in any order."""
    again = []
    for text in rng.sample(list(texts), len(texts) // 10):
        characters = list(text if rng.random() < 0.8 else text.replace("，", " ").replace("。", "\n"))
        for _ in range(rng.randrange(max(1, len(characters) // 5))):
            if rng.random() < 0.3:  # few edits are more frequent than many
                break
            place = rng.randrange(len(characters))
            characters[place] = rng.choice(("", characters[place] + "的", "之"))
        again.append("".join(characters))
    mixed = [*texts, *again]
    rng.shuffle(mixed)
    return mixed


def dropped(texts: Sequence[str]) -> set[int]:
    """By brute force: the texts that near-equal one before them, over any chain. Every two texts that share an n-gram
    are counted; no hash is involved but Python's dict of n-grams."""
    grams = [{text[start : start + NGRAM] for start in range(len(text) - NGRAM + 1)} for text in map(letters, texts)]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    pairs = []
    for number, own in enumerate(grams):
        common: Counter[int] = Counter()
        for gram in own:
            common.update(holders[gram])
            holders[gram].append(number)
        pairs += [
            (other, number)
            for other, count in common.items()
            if count >= SIMILARITY * (len(own) + len(grams[other]) - count)
        ]
    nodes, roots = components(np.array(pairs, np.int64).reshape(-1, 2).T)
    return set(nodes[nodes != roots].tolist())


def quality(texts: Sequence[str], expected: set[int]) -> list[Row]:
    """Recall and precision of the texts that are dropped."""
    with tempfile.TemporaryDirectory() as folder:
        found = set(range(len(texts))) - set(find(texts, Path(folder)))
    right = len(found & expected)
    note = f"{len(texts):,} texts, {len(expected):,} of them to be found"
    return [
        row("minhash_recall", [right / len(expected)], "share", note=note),
        row("minhash_precision", [right / len(found)], "share", note=note),
    ]


def find(texts: Sequence[str], folder: Path) -> list[int]:
    """The numbers of the texts that this project keeps, by the way of the pipeline: parts, keys, duplicates."""
    config = CorpusConfig(engine=EngineConfig(workers=1))
    part = folder / "000000.parquet"
    with open_table(part, TEXT) as documents, open_table(keys_file(part), KEYS) as keys:
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            documents.write_table(pa.table([some], TEXT))
            keys.write_table(keys_of([(document(text), None) for text in some], PoemsConfig(), config.duplicates))
    positions = set(find_duplicates([part], config)["position"].to_pylist())
    return [number for number in range(len(texts)) if number not in positions]


def document(text: str) -> Document:
    """A Document that says this and nothing else; it has no id, which duplicates are not told by."""
    return Document(
        id="", source="", split="", group="", title="", text=text, images=[], keywords=[], questions=[], attributes={}
    )


def speed(texts: Sequence[str], runs: int) -> list[Row]:
    """Megabytes a second on one core, and how many times as fast as each peer that is there."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    commands = {"ours": [sys.executable, "-m", "benchmarks.minhash"]}
    for peer, name in PEERS.items():
        if python := peer_python(name):
            commands[peer] = [str(python), str(Path(__file__).parent / "peers" / f"{peer}_minhash.py")]
    rates: dict[str, list[float]] = {name: [] for name in commands}
    kept: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        lines = (json.dumps({"id": str(n), "text": text}, ensure_ascii=False) for n, text in enumerate(texts))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for run in range(runs):
            for name in list(commands)[:: -1 if run % 2 else 1]:
                with or_left_out(name, commands[name]):
                    result = run_alone(commands[name], path, Path(folder) / f"{name}-{run}")
                    rates[name].append(size / result["seconds"])
                    kept[name] = result["kept"]
            commands = {name: words for name, words in commands.items() if name in kept}
    note = f"{len(texts):,} texts, {size:.1f} MB, CPU; kept: {', '.join(f'{name} {n:,}' for name, n in kept.items())}"
    rows = [row("minhash_mb_per_s_per_core", rates["ours"], UNIT, note=note)]
    for peer, name in PEERS.items():
        theirs = rates.get(peer, ())
        rows.append(row(f"minhash_vs_{peer}", rates["ours"], UNIT, peer=theirs, peer_name=named(name), note=note))
    return rows


def run_alone(command: Sequence[str], texts: Path, folder: Path) -> dict[str, Any]:
    """Give the texts to a program, in a process with one core and one thread; its seconds and how many it kept.
    UserError if it fails."""
    folder.mkdir()
    core, bind = max(os.sched_getaffinity(0)), ends_with_parent()

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        if bind:
            bind()

    done = subprocess.run(
        [*command, str(texts), str(folder / "result.json")],
        env={**os.environ, **ONE_THREAD, **NO_NETWORK},
        cwd=ROOT,
        preexec_fn=prepare,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise UserError(f"benchmarks: {' '.join(command)} failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    result = json.loads((folder / "result.json").read_text())
    return {"seconds": result["seconds"], "kept": len(result["kept"])}


def _own(path: Path, result: Path) -> None:
    started = sum(os.times()[:4])
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = find([record["text"] for record in records], result.parent)
    (result.parent / "kept.jsonl").write_text(
        "\n".join(json.dumps(records[number], ensure_ascii=False) for number in kept), encoding="utf-8"
    )
    seconds = sum(os.times()[:4]) - started
    result.write_text(json.dumps({"seconds": seconds, "kept": [records[number]["id"] for number in kept]}))


if __name__ == "__main__":
    _own(Path(sys.argv[1]), Path(sys.argv[2]))
