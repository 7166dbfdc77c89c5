"""Captions: pictures in, what is written about them held against the truth."""

from __future__ import annotations

import re
from collections.abc import Sequence

from m6.corpus.document import Document
from m6.tasks.metrics import exact, f1, mean, overlap
from m6.train.evaluate.material import (
    SHOWN,
    SPLIT_NAMES,
    Evaluation,
    Example,
    Examples,
    Scores,
    origin,
    pixels_of,
    with_interval,
)

Group = tuple[str, str, str, dict[str, str]]  # key of the score, source, split, attributes
GROUPS: list[Group] = [
    ("caption.exact_seen", "emoji", "train", {}),
    ("caption.exact_heldout", "emoji", "heldout", {}),
    ("scene.caption_exact_seen", "scenes", "train", {}),
    ("scene.caption_exact_heldout", "scenes", "heldout", {"unseen": "pair"}),
    ("scene.colour_heldout", "scenes", "heldout", {"unseen": "colour"}),
    ("scene.count_heldout", "scenes", "heldout", {"unseen": "count"}),
]


def captions(about: Evaluation) -> tuple[Scores, Examples]:
    """Names and keywords of single pictures, sentences of scenes; baseline: the caption of the nearest picture.

    Of a user's own sources, whose texts may be of any kind, also how much of the true text is written.
    """
    scores: Scores = {}
    shown: list[Example] = []
    own: list[Group] = [
        (f"{source}.caption_exact_{name}", source, split, {})
        for source in about.own_sources
        for split, name in SPLIT_NAMES.items()
    ]
    for key, source, split, attributes in [*GROUPS, *own]:
        documents = about.some(source, split, **attributes)
        if not documents:
            continue
        pixels = pixels_of(documents)
        written = about.engine.write_texts([(about.engine.picture(p),) for p in pixels], 64)
        names = [name_and_keywords(text)[0] for text in written]
        right = [name == name_and_keywords(d["text"])[0] for name, d in zip(names, documents, strict=True)]
        near = about.nearest_texts(source, documents, pixels)
        baseline = score(near, documents)
        scores |= with_interval(key, right, baseline["exact"])
        if source == "emoji":
            keyword = key.replace("exact", "keyword_f1")
            scores |= {
                keyword: score(written, documents)["keyword_f1"],
                f"{keyword}.baseline": baseline["keyword_f1"],
            }
        if source in about.own_sources:
            like = key.replace("exact", "overlap")
            scores |= {
                like: mean(overlap(d["text"], text) for d, text in zip(documents, written, strict=True)),
                f"{like}.baseline": mean(overlap(d["text"], text) for d, text in zip(documents, near, strict=True)),
            }
        for index, document in enumerate(documents[:SHOWN]):
            shown.append(
                {
                    "picture": about.keep_picture(f"{key}-{index}", pixels[index]),
                    "written": written[index],
                    "true": document["text"],
                    **origin(document),
                    "right": right[index],
                }
            )
    return scores, {"captions": shown}


def name_and_keywords(text: str) -> tuple[str, set[str]]:
    """Name and keywords of a caption of the form "name。keyword、keyword"."""
    name, _, rest = text.partition("。")
    return name, set(filter(None, re.split("[、。，]", rest)))


def score(written: Sequence[str], documents: Sequence[Document]) -> dict[str, float]:
    """Share of right names, and the mean F1 of the keywords against all that the document has."""
    decoded = [name_and_keywords(text) for text in written]
    return {
        "exact": exact([name for name, _ in decoded], [name_and_keywords(d["text"])[0] for d in documents]),
        "keyword_f1": mean(f1(words, set(d["keywords"])) for (_, words), d in zip(decoded, documents, strict=True)),
    }
