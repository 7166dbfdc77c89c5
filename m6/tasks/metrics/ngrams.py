"""Scores of written texts against right ones by shared runs of tokens or characters: BLEU-4, chrF, ROUGE-L, CIDEr-D.

All take hypotheses and, for each, all right texts, and give a Statistic. BLEU and chrF are those of sacrebleu (Post
2018, https://aclanthology.org/W18-6319): sums over a corpus, not means of sentences. ROUGE-L (Lin 2004) and CIDEr-D
(Vedantam et al. 2015, arXiv 1411.5726) are means over texts and equal those of the COCO captioning tools, as MUGE uses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from m6.tasks.metrics.statistic import Statistic
from m6.tasks.metrics.tokens import tokens

Texts = Sequence[str]
References = Sequence[Sequence[str]]
ROUGE_BETA = 1.2  # weight of recall, as in the COCO tools
CIDER_SIGMA = 6.0  # tokens by which lengths may differ
CIDER_ORDERS = 4


def bleu(hypotheses: Texts, references: References) -> Statistic:
    """BLEU-4 of tokens, from 0 to 1."""
    cut = [[" ".join(tokens(text)) for text in texts] for texts in (hypotheses, *references)]
    return _sacrebleu("BLEU", cut[0], cut[1:], tokenize="none")


def chrf(hypotheses: Texts, references: References) -> Statistic:
    """chrF2 of characters, from 0 to 1."""
    return _sacrebleu("CHRF", hypotheses, references)


def _sacrebleu(name: str, hypotheses: Texts, references: References, **settings: str) -> Statistic:
    from sacrebleu import metrics  # takes a tenth of a second

    metric = getattr(metrics, name)(**settings)
    # It takes streams: the first reference of every text, the second, ...; None where a text has fewer.
    most = max((len(own) for own in references), default=0)
    streams = [[own[place] if place < len(own) else None for own in references] for place in range(most)]
    parts = np.array(metric._extract_corpus_statistics(list(hypotheses), streams), float)

    def value(sums: np.ndarray) -> np.ndarray:
        rows = sums.reshape(-1, sums.shape[-1])
        scores = [metric._compute_score_from_stats(row.tolist()).score / 100 for row in rows]
        return np.array(scores).reshape(sums.shape[:-1])

    return Statistic(parts, value)


def rouge_l(hypotheses: Texts, references: References) -> Statistic:
    """F-measure of the longest common subsequence of tokens, from 0 to 1; best precision and best recall of several."""
    return Statistic.mean([_rouge(text, own) for text, own in zip(hypotheses, references, strict=True)])


def _rouge(hypothesis: str, references: Sequence[str]) -> float:
    ours = tokens(hypothesis)
    shared = [(_common(ours, theirs), len(theirs)) for theirs in map(tokens, references)]
    precision = max((common / len(ours) for common, _ in shared), default=0.0) if ours else 0.0
    recall = max((common / length for common, length in shared if length), default=0.0)
    if not precision or not recall:
        return 0.0
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def token_f1(hypotheses: Texts, references: References) -> Statistic:
    """F1 of the tokens that two texts share, in any order, from 0 to 1, as SQuAD has it (Rajpurkar et al. 2016, arXiv
    1606.05250); the best of several right texts."""

    def f1(text: str, right: str) -> float:
        ours, theirs = Counter(tokens(text)), Counter(tokens(right))
        return 2 * (ours & theirs).total() / max(ours.total() + theirs.total(), 1)

    best = [max(f1(text, right) for right in own) for text, own in zip(hypotheses, references, strict=True)]
    return Statistic.mean(best)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for token in one:
        before = 0
        for place, theirs in enumerate(other, start=1):
            before, row[place] = row[place], before + 1 if token == theirs else max(row[place], row[place - 1])
    return row[-1]


def cider_d(hypotheses: Texts, references: References) -> Statistic:
    """CIDEr-D of tokens, from 0 to 10: mean over texts of the clipped cosine of runs of one to four tokens, each
    weighted by how few of the right texts have it. How rare a run is is told by all examples together, and stays when
    they are drawn anew."""
    counted = [[_runs(text) for text in own] for own in references]
    documents: Counter[tuple[str, ...]] = Counter()
    for several in counted:
        documents.update({run for counts in several for run in counts})
    log_number = math.log(max(len(references), 1))

    def weighed(counts: Counter[tuple[str, ...]]) -> tuple[list[dict[tuple[str, ...], float]], list[float], int]:
        vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(CIDER_ORDERS)]
        for run, count in counts.items():
            vectors[len(run) - 1][run] = count * (log_number - math.log(max(documents[run], 1)))
        norms = [math.sqrt(sum(value**2 for value in vector.values())) for vector in vectors]
        return vectors, norms, sum(count for run, count in counts.items() if len(run) == 2)

    def score(text: str, several: list[Counter[tuple[str, ...]]]) -> float:
        ours, our_norms, our_length = weighed(_runs(text))
        total = 0.0
        for theirs, their_norms, their_length in map(weighed, several):
            close = math.exp(-((our_length - their_length) ** 2) / (2 * CIDER_SIGMA**2))
            for mine, other, norms in zip(ours, theirs, zip(our_norms, their_norms, strict=True), strict=True):
                dot = sum(min(value, other[run]) * other[run] for run, value in mine.items() if run in other)
                total += close * dot / (norms[0] * norms[1]) if all(norms) else 0.0
        return 10 * total / CIDER_ORDERS / max(len(several), 1)

    return Statistic.mean([score(text, several) for text, several in zip(hypotheses, counted, strict=True)])


def _runs(text: str) -> Counter[tuple[str, ...]]:
    """How often each run of one to four tokens stands in a text."""
    cut = tokens(text)
    return Counter(
        tuple(cut[start : start + size]) for size in range(1, CIDER_ORDERS + 1) for start in range(len(cut) - size + 1)
    )


def distinct(texts: Texts, size: int) -> Statistic:
    """Different runs of `size` characters by all of them, over all texts together, from 0 to 1: how much they vary.

    It is one value of all texts and has no interval: texts that are drawn twice would vary less for that alone."""
    runs = [text[start : start + size] for text in texts for start in range(len(text) - size + 1)]
    return Statistic(np.array([[len(set(runs)), max(len(runs), 1)]], float), lambda sums: sums[..., 0] / sums[..., 1])
