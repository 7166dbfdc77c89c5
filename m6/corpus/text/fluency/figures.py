"""How well a fluency model tells fluent text from garbled: the area under the curve, and shares at thresholds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np

from m6.corpus.text.fluency.model import FluencyModel

LENGTHS = (30, 120)  # characters: texts are cut to these, as short ones are judged worse
SHORTEST = 20
THRESHOLDS = (1_000, 1_500, 2_000, 3_000)


def shuffled(text: str, chance: random.Random) -> str:
    """Its characters in another order."""
    return "".join(chance.sample(text, len(text)))


def shuffled_pairs(text: str, chance: random.Random) -> str:
    """Its pairs of characters in another order: many words stay whole."""
    pairs = [text[start : start + 2] for start in range(0, len(text), 2)]
    return "".join(chance.sample(pairs, len(pairs)))


def keywords(text: str, chance: random.Random) -> str:
    """Runs of two to four of its characters with spaces between, in another order, as pages list them for search."""
    words, rest = [], "".join(character for character in text if character.isalnum())
    while rest:
        size = chance.randint(2, 4)
        words.append(rest[:size])
        rest = rest[size:]
    return " ".join(chance.sample(words, len(words)))


def wrongly_decoded(text: str, chance: random.Random) -> str:
    """UTF-8 read as GB18030: 浣犲ソ for 你好."""
    return text.encode().decode("gb18030", "replace")


def random_characters(text: str, chance: random.Random) -> str:
    """As many of the 3,755 common characters (of GB 2312), each as likely."""
    return "".join(bytes((chance.randint(0xB0, 0xD6), chance.randint(0xA1, 0xFE))).decode("gb2312") for _ in text)


GARBLINGS: tuple[Callable[[str, random.Random], str], ...] = (
    shuffled,
    shuffled_pairs,
    keywords,
    wrongly_decoded,
    random_characters,
)


def area_under_curve(fluent: np.ndarray, garbled: np.ndarray) -> float:
    """The share of pairs of a fluent and a garbled text in which the garbled one scores higher."""
    below = np.searchsorted(np.sort(fluent), garbled, "left") + np.searchsorted(np.sort(fluent), garbled, "right")
    return float(below.mean() / 2 / len(fluent))


def figures(model: FluencyModel, texts: dict[str, list[str]], seed: int = 1) -> Iterator[str]:
    """Lines of a table: the perplexity of the texts of each name, whole and garbled."""
    chance = random.Random(seed)
    for length in LENGTHS:
        yield f"texts cut to {length} characters"
        yield f"  {'':28s} texts  p5   median  p95 | AUC   | share above {' '.join(f'{t:>5,}' for t in THRESHOLDS)}"
        for name, some in texts.items():
            whole = [text[:length] for text in some if len(text) >= SHORTEST]
            fluent = model.perplexities(whole)
            yield _line(name, fluent, "     ")
            for garbling in GARBLINGS:
                scores = model.perplexities([garbling(text, chance) for text in whole])
                yield _line(f"  {garbling.__name__}", scores, f"{area_under_curve(fluent, scores):.3f}")


def _line(name: str, scores: np.ndarray, area: str) -> str:
    low, middle, high = np.percentile(scores, (5, 50, 95))
    shares = " ".join(f"{(scores > threshold).mean():5.3f}" for threshold in THRESHOLDS)
    return f"  {name:26s} {len(scores):5d} {low:6.0f} {middle:6.0f} {high:8.0f} | {area} |             {shares}"
