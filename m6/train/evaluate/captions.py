"""Captions: pictures in, what is written about them held against the truth."""

from __future__ import annotations

from m6.tasks import captioning
from m6.train.evaluate.material import SHOWN, Evaluation, Example, Examples, Scores, origin, pixels_of, with_interval

# Key of the score, source, split, attributes.
GROUPS: list[tuple[str, str, str, dict[str, str]]] = [
    ("caption.exact_seen", "emoji", "train", {}),
    ("caption.exact_heldout", "emoji", "heldout", {}),
    ("scene.caption_exact_seen", "scenes", "train", {}),
    ("scene.caption_exact_heldout", "scenes", "heldout", {"unseen": "pair"}),
    ("scene.colour_heldout", "scenes", "heldout", {"unseen": "colour"}),
    ("scene.count_heldout", "scenes", "heldout", {"unseen": "count"}),
]


def captions(about: Evaluation) -> tuple[Scores, Examples]:
    """Names and keywords of single pictures, sentences of scenes; baseline: the caption of the nearest picture."""
    scores: Scores = {}
    shown: list[Example] = []
    for key, source, split, attributes in GROUPS:
        documents = about.some(source, split, **attributes)
        if not documents:
            continue
        pixels = pixels_of(documents)
        written = about.engine.write_texts([captioning.sample(about.engine.picture(p)) for p in pixels], 64)
        names = [captioning.decode(text)[0] for text in written]
        right = [name == captioning.decode(d["text"])[0] for name, d in zip(names, documents, strict=True)]
        baseline = captioning.score(about.nearest_texts(source, documents, pixels), documents)
        scores |= with_interval(key, right, baseline["exact"])
        if source == "emoji":
            keyword = key.replace("exact", "keyword_f1")
            scores |= {
                keyword: captioning.score(written, documents)["keyword_f1"],
                f"{keyword}.baseline": baseline["keyword_f1"],
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
