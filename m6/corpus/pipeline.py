"""The corpus, from sources to shards, in steps whose work is cut into pieces for any number of workers.

    1 clean        part of a source -> its Documents, keys and counts           (a worker a part, m6/corpus/clean.py)
    2 duplicates   all keys -> positions of the Documents to drop               (a worker a range, m6/corpus/dedup)
    3 choose       Documents of a part, duplicates -> the rows that stay        (a worker a part, m6/corpus/write.py)
    4 write        rows that stay -> shards                                     (a worker a shard, m6/corpus/write.py)
    5 report       all counts -> report.html, report.md, report.json            (m6/corpus/report.py)

In: a `CorpusConfig`. Out: a folder of shards of Documents (`m6/corpus/document.py`) and the report. A piece is done
when its file is there, and files appear whole. So a build that is killed anywhere goes on where it was, and ends in the
same bytes as an unbroken one, on one machine or on a cluster: nothing depends on which worker did what, or when.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from m6.config import UserError
from m6.corpus.clean import Scorer, clean_part, part_files, rules_exist
from m6.corpus.config import CorpusConfig, FetchConfig
from m6.corpus.dedup import cluster_sizes, find_duplicates, find_paragraphs, largest_clusters
from m6.corpus.document import SCHEMA
from m6.corpus.engine import each
from m6.corpus.report import REPORT, Tally, write_report
from m6.corpus.report.tally import bin_of
from m6.corpus.sources import Part, reader
from m6.corpus.write import choose_rows, kept_file, read_shard, shard_ranges, write_numbered_shard
from m6.run import progress, write_atomic
from m6.shards import MANIFEST, Shards, is_whole, write_manifest, write_table

FETCHED = "fetched"
FIGURES = ("pairs", "texts", "read", "kept", "drops")


def build(
    config: CorpusConfig, folder: Path, seed: int, scorer: Callable[[str], Scorer] | None = None
) -> dict[str, Any]:
    """The corpus in `folder`. Goes on where a killed call was; a finished corpus of the same config is left as it is.

    `scorer` makes, from the path of a trained run, what scores pictures and texts for `PairRules.match_checkpoint`; it
    is made anew in each worker. Returns `pairs` (Documents with pictures), `texts` (without), `read`, `kept`, and
    `drops` (by reason). Raises UserError for unknown categories and rules, for missing files, and when no record stays.
    """
    recipe = _fingerprint(config, seed)
    if not _is_done(folder, recipe) or config.fetch.retry_failed:
        rules_exist(config)
        parts = [part for name, source in config.sources.items() for part in reader(source.kind).parts(name, source)]
        work = _work_folder(folder, recipe, parts)
        _clean(parts, work, folder, config, seed, scorer)
        clusters = _duplicates(len(parts), work, config)
        _choose(len(parts), work, config)
        shards = _write(len(parts), work, folder, config)
        tally = _counted(len(parts), len(shards), work)
        tally.add(clusters)
        write_manifest(folder, shards, SCHEMA, {"recipe": recipe})
        write_report(folder, tally, {"sources": {name: source.kind for name, source in config.sources.items()}})
        for leftover in folder.glob(".work-*"):
            shutil.rmtree(leftover, ignore_errors=True)
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    if report["read"] and not report["kept"]:
        most = max(report["drops"], key=report["drops"].__getitem__)
        raise UserError(
            f"{folder}: none of {report['read']:,} records stays, {report['drops'][most]:,} for the reason {most!r};"
            f" {folder / 'report.md'} gives examples"
        )
    return {name: report[name] for name in FIGURES}


def _fingerprint(config: CorpusConfig, seed: int) -> str:
    """Of all that decides the result: not of the engine."""
    values = config.model_dump_json(exclude={"engine": True, "fetch": set(FetchConfig.may_change)})
    return hashlib.sha256(f"{seed} {values}".encode()).hexdigest()[:16]


def _is_done(folder: Path, recipe: str) -> bool:
    """The report is written last."""
    return is_whole(folder) and (folder / REPORT).is_file() and Shards(folder).about.get("recipe") == recipe


def _work_folder(folder: Path, recipe: str, parts: list[Part]) -> Path:
    """Where the pieces lie until the shards are whole. Files that have changed since a killed call are refused."""
    work = folder / f".work-{recipe}"
    work.mkdir(parents=True, exist_ok=True)
    listed = json.dumps(parts, ensure_ascii=False)
    plan = work / "parts.json"
    if plan.exists() and plan.read_text(encoding="utf-8") != listed:
        raise UserError(
            f"{folder}: the files of the sources have changed since this corpus was begun;"
            f" remove {work} to begin again, or put the files back to go on"
        )
    write_atomic(plan, listed)
    return work


def _clean(
    parts: list[Part],
    work: Path,
    folder: Path,
    config: CorpusConfig,
    seed: int,
    scorer: Callable[[str], Scorer] | None,
) -> None:
    done = [part_files(work, number).counts.exists() for number in range(len(parts))]

    def clean(number: int) -> None:
        ledger = folder / FETCHED / f"{number:06d}"  # stays with the corpus, so that failures can be tried again later
        clean_part(parts[number], part_files(work, number), ledger, config, seed, scorer)

    _all(clean, done, "corpus: clean", config)


def _duplicates(parts: int, work: Path, config: CorpusConfig) -> Tally:
    """Writes `duplicates.parquet` and, if they are asked for, `paragraphs.parquet`; returns clusters for the report."""
    documents = [part_files(work, number).documents for number in range(parts)]
    counts = work / "duplicates.json"
    if not counts.exists():
        with progress(1, "corpus: duplicates") as bar:
            started = _core_seconds()
            found = find_duplicates(documents, config)
            if config.duplicates.paragraph_documents:
                write_table(work / "paragraphs.parquet", find_paragraphs(documents, config, found))
            write_table(work / "duplicates.parquet", found)
            tally = Tally()
            for cluster in largest_clusters(found, documents):
                tally.cluster(cluster.samples[0], cluster.samples[1:], cluster.size, cluster.reason)
            sizes = cluster_sizes(found)  # of all clusters, not only of those that are shown
            tally.cluster_sizes = Counter((reason, bin_of(size)) for reason in sizes for size in sizes[reason])
            cleaned = _added(part_files(work, number).counts for number in range(parts))
            _, size, items = cleaned.stages.get("keys", [0, 0, 0])
            tally.time("duplicates", _core_seconds() - started, size, items)
            write_atomic(counts, tally.dumps())
            bar.advance()
    return Tally.loads(counts.read_bytes())


def _core_seconds() -> float:
    """Spent by this process and by the workers that have ended; those of a cluster are not seen."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _choose(parts: int, work: Path, config: CorpusConfig) -> None:
    done = [kept_file(work, number).with_suffix(".json").exists() for number in range(parts)]
    choose = partial(
        choose_rows,
        folder=work,
        duplicates=work / "duplicates.parquet",
        paragraphs=work / "paragraphs.parquet",
        config=config,
    )
    _all(choose, done, "corpus: choose", config)


def _write(parts: int, work: Path, folder: Path, config: CorpusConfig) -> list[Any]:
    pieces = shard_ranges(work, parts, config.rows_per_shard)
    done = [(work / f"shard-{number:05d}.json").exists() for number in range(len(pieces))]
    (folder / MANIFEST).unlink(missing_ok=True)  # from here on the folder is not whole

    def write(number: int) -> None:
        write_numbered_shard(number, pieces[number], work, folder)

    _all(write, done, "corpus: write", config)
    return [read_shard(number, work)[0] for number in range(len(pieces))]


def _counted(parts: int, shards: int, work: Path) -> Tally:
    counts = [part_files(work, number).counts for number in range(parts)]
    counts += [kept_file(work, number).with_suffix(".json") for number in range(parts)]
    tally = _added(counts)
    for number in range(shards):
        tally.add(read_shard(number, work)[1])
    return tally


def _added(files: Iterable[Path]) -> Tally:
    tally = Tally()
    for file in files:
        tally.add(Tally.loads(file.read_bytes()))
    return tally


def _all(work: Callable[[int], None], done: list[bool], description: str, config: CorpusConfig) -> None:
    """Do what is not done yet, with progress. A single piece is done here: to start a worker takes longer."""
    missing = [number for number, there in enumerate(done) if not there]
    with progress(len(done), description, start=len(done) - len(missing)) as bar:
        if len(missing) == 1:
            work(missing[0])
            bar.advance()
        else:
            for _ in each(work, missing, config.engine):
                bar.advance()
