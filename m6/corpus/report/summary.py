"""The report as plain values, as `report.json` holds it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from m6.corpus.report.paper import STAGES, extrapolation
from m6.corpus.report.scripts import SCRIPTS
from m6.corpus.report.tally import CLUSTERS, FIGURES, MODALITIES, Tally, bin_edge


def summary(tally: Tally, about: dict[str, Any]) -> dict[str, Any]:
    """All that the pages show:

    read, kept, pairs, texts, heldout, drops    records in and out; drops by reason
    sources                                     rows of the table of the paper
    drops_by_source, images_dropped_by_source   rows of source, reason, count and samples; images_dropped by reason
    histograms                                  by source: length and image_size with the edges of their bins, script,
                                                aspect in quarters of an octave
    clusters                                    near duplicates: how many of what size, the largest, and others
    stages                                      core-seconds, bytes, items and rates
    extrapolation                               core-hours for the amounts of the paper at these rates
    about                                       as given
    """
    sources = _sources(tally)
    passages = Counter[str]()
    for row in sources:
        passages[row["modality"]] += row["passages"]
    stages = _stages(tally)
    return {
        "read": sum(tally.records.values()),
        "read_by_source": dict(sorted(tally.records.items())),
        "kept": sum(passages.values()),
        "pairs": passages[MODALITIES[True]],
        "texts": passages[MODALITIES[False]],
        "heldout": sum(row["heldout"] for row in sources),
        "drops": _by_reason(tally.drops),
        "sources": sources,
        "drops_by_source": _drops(tally.drops, tally.samples),
        "images_dropped": _by_reason(tally.image_drops),
        "images_dropped_by_source": _drops(tally.image_drops, tally.image_samples),
        "histograms": _histograms(tally),
        "clusters": _clusters(tally),
        "stages": stages,
        "extrapolation": extrapolation(stages, sources),
        "about": about,
    }


def _sources(tally: Tally) -> list[dict[str, Any]]:
    found = sorted({(source, modality) for source, modality, _ in tally.kept})
    return [
        {"source": source, "modality": modality, **{name: tally.kept[source, modality, name] for name in FIGURES}}
        for source, modality in found
    ]


def _by_reason(drops: Counter[tuple[str, str]]) -> dict[str, int]:
    reasons = Counter[str]()
    for (_, reason), count in drops.items():
        reasons[reason] += count
    return dict(sorted(reasons.items()))


def _drops(drops: Counter[tuple[str, str]], samples: dict[tuple[str, str], list[list[str]]]) -> list[dict[str, Any]]:
    return [
        {
            "source": source,
            "reason": reason,
            "count": count,
            "samples": [{"where": where, "text": text} for where, text in samples[source, reason]],
        }
        for (source, reason), count in sorted(drops.items())
    ]


def _histograms(tally: Tally) -> dict[str, Any]:
    lengths, scripts, sizes, aspects = (defaultdict[str, Any](list) for _ in range(4))
    for (source, number), count in sorted(tally.lengths.items()):
        lengths[source].append([*_edges(number), count])
    for source, script in sorted(tally.scripts, key=lambda key: (key[0], SCRIPTS.index(key[1]))):
        scripts[source].append([script, tally.scripts[source, script]])
    for (source, width, height), count in sorted(tally.sizes.items()):
        sizes[source].append([*_edges(width), *_edges(height), count])
    for (source, number), count in sorted(tally.aspects.items()):
        aspects[source].append([number, count])
    return {"length": lengths, "script": scripts, "image_size": sizes, "aspect": aspects}


def _edges(number: int) -> tuple[int, int]:
    """Of a bin: the first number in it, and the first beyond."""
    return bin_edge(number), bin_edge(number + 1) if number else 1


def _clusters(tally: Tally) -> dict[str, Any]:
    others = [cluster for cluster in tally.sampled if cluster not in tally.largest]
    return {
        "count": sum(tally.cluster_sizes.values()),
        "sizes": [[reason, *_edges(number), count] for (reason, number), count in sorted(tally.cluster_sizes.items())],
        "largest": [cluster._asdict() for cluster in tally.largest],
        "others": [cluster._asdict() for cluster in others[:CLUSTERS]],
    }


def _order(stage: tuple[str, Any]) -> tuple[int, str]:
    """As the work goes; others behind."""
    return STAGES.index(stage[0]) if stage[0] in STAGES else len(STAGES), stage[0]


def _stages(tally: Tally) -> dict[str, dict[str, Any]]:
    stages = {}
    for stage, (nanoseconds, bytes, items) in sorted(tally.stages.items(), key=_order):
        seconds = nanoseconds / 1e9
        stages[stage] = {
            "seconds": round(seconds, 6),
            "bytes": bytes,
            "items": items,
            "mb_per_s": round(bytes / 1e6 / seconds, 3) if seconds and bytes else None,
            "items_per_s": round(items / seconds, 1) if seconds and items else None,
        }
    return stages
