"""Matching: the true text of a picture against a false one, chosen by likelihood, and said as 是 or 否.

A text fits as far as the picture makes it likelier: log p(text | picture) - log p(text). The second term takes away
what makes a text likely by itself, its length and the frequency of its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m6.corpus.document import Document
from m6.data.objectives import YES
from m6.data.sample import Branch, Sample, Segment, Text
from m6.generate.engine import Engine
from m6.tasks.metrics import overlap
from m6.tokenizer.vocabulary import MATCH
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

Losses = Callable[[Sequence[Sample]], np.ndarray]
"""Samples -> the sum of the losses of each, nats."""

# Key of the choice, key of what is said, source, split, attributes.
Group = tuple[str, str, str, str, dict[str, str]]
GROUPS: list[Group] = [
    ("matching.accuracy_seen", "matching.yes_no_seen", "emoji", "train", {}),
    ("matching.accuracy_heldout", "matching.yes_no_heldout", "emoji", "heldout", {}),
    ("scene.matching_heldout", "scene.matching_yes_no_heldout", "scenes", "heldout", {"unseen": "pair"}),
]


def match(about: Evaluation) -> tuple[Scores, Examples]:
    """The true text against one that nearly fits; baseline: the text more like that of the nearest known picture."""
    scores: Scores = {}
    shown: list[Example] = []
    rng = np.random.default_rng(about.seed)
    own: list[Group] = [
        (f"{source}.matching_{name}", f"{source}.matching_yes_no_{name}", source, split, {})
        for source in about.own_sources
        for split, name in SPLIT_NAMES.items()
    ]
    for key, yes_no, source, split, attributes in [*GROUPS, *own]:
        documents = about.some(source, split, **attributes)
        if len({called(document) for document in documents}) < 2:
            continue
        pixels = pixels_of(documents)
        wrong = [unfitting(document, documents, rng) for document in documents]
        true = rng.integers(0, 2, len(documents))
        texts = [(d["text"], w) if t == 0 else (w, d["text"]) for d, w, t in zip(documents, wrong, true, strict=True)]
        pictures = [about.engine.picture(p) for p in pixels]
        segments = [[about.engine.text(text) for text in pair] for pair in texts]
        chosen = choose(about.engine.losses, pictures, segments)
        near = about.nearest_texts(source, documents, pixels)
        alike = [int(overlap(pair[1], text) > overlap(pair[0], text)) for pair, text in zip(texts, near, strict=True)]
        scores |= with_interval(key, (chosen == true).tolist(), float(np.mean(np.array(alike) == true)))
        said = says_yes(about.engine, pictures, [first for first, _ in segments])
        agreed = [yes == (place == 0) for yes, place in zip(said, true, strict=True)]
        scores |= with_interval(yes_no, agreed, 0.5)
        for index, document in enumerate(documents[: SHOWN // 2]):
            shown.append(
                {
                    "picture": about.keep_picture(f"{key}-{index}", pixels[index]),
                    "texts": list(texts[index]),
                    "chosen": int(chosen[index]),
                    "true": int(true[index]),
                    **origin(document),
                }
            )
    return scores, {"matching": shown}


def captioned(picture: Segment | None, text: Text) -> Sample:
    """The text as target, after the picture or after nothing."""
    return Sample("matching", (picture,) if picture else (), (Branch("captioning", (), text),))


def choose(losses: Losses, pictures: Sequence[Segment], texts: Sequence[Sequence[Text]]) -> np.ndarray:
    """Which text fits each picture best: indices [N]. Every picture has the same number of texts."""
    number = len(texts[0])
    flat = [text for choice in texts for text in choice]
    seeing = losses(
        [captioned(picture, text) for picture, choice in zip(pictures, texts, strict=True) for text in choice]
    )
    unique = list(dict.fromkeys(flat))
    blind = dict(zip(unique, losses([captioned(None, text) for text in unique]), strict=True))
    gain = np.array([blind[text] for text in flat]) - seeing
    return np.asarray(gain.reshape(-1, number).argmax(1))


def says_yes(engine: Engine, pictures: Sequence[Segment], texts: Sequence[Text]) -> list[bool]:
    """Whether the model, asked if a text fits its picture, says so."""
    asked = [(picture, Text((*text.ids, MATCH))) for picture, text in zip(pictures, texts, strict=True)]
    return [answer == YES for answer in engine.write_texts(asked, 2)]


def called(document: Document) -> str:
    """What is told of a picture: two with one title fit each other's text. Pictures of a user may have a text alone."""
    return document["title"] or document["text"]


def unfitting(document: Document, documents: Sequence[Document], rng: np.random.Generator) -> str:
    """A text that does not fit: a known false one, else that of another document, if it can be of the same category."""
    false = document["attributes"].get("unfitting", "")
    if false:
        return str(rng.choice(false.split("\n")))
    others = [d for d in documents if called(d) != called(document)]
    category = document["attributes"].get("category")
    alike = [d for d in others if d["attributes"].get("category") == category]
    pool = alike or others
    return pool[int(rng.integers(len(pool)))]["text"]
