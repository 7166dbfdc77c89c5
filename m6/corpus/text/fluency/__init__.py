"""Fluency: the perplexity of Chinese text under a small language model of characters.

In: texts. Out: for each its perplexity, as if every character had been drawn from that many equally likely ones. Fluent
prose scores low; shuffled characters, keyword spam and wrongly decoded bytes score high. The embedded model knows old
prose, dictionary text and poems (NOTICE); one of your own clean text judges your texts better:

    python -m m6.corpus.text.fluency --paths clean.jsonl --out model.npz

Above which perplexity a text is not fluent depends on the model and on how long the text is. For the embedded one and
texts of about 100 characters, 1,500 keeps 98.6% or more of what is fluent: half of the dictionary texts held out score
below 90, of the poems below 330, of plain modern sentences and of reviews from web shops below 410, of technical
handbooks below 620, for its words are not of today. Above 1,500 stand all random characters and wrongly decoded texts,
two thirds of texts whose characters were shuffled and 90% of keywords with spaces between, but only 20% of texts whose
pairs of characters were shuffled and 10% of keywords in an orderly list: those are for a model of your own text. At 30
characters chance decides more: up to 8% of fluent modern texts are above.

`model.py` holds the model and scores, `train.py` makes one, `build.py` makes the embedded one again.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from m6.config import UserError
from m6.corpus.text.fluency.model import FluencyModel
from m6.corpus.text.fluency.train import train

__all__ = ["EMBEDDED", "FluencyModel", "perplexities", "perplexity", "train"]

EMBEDDED = Path(__file__).with_name("model.npz")
KENLM = (".arpa", ".bin", ".klm")


def perplexity(text: str, model: str = "") -> float:
    """The perplexity of a text, per character; infinite for an empty one.

    `model` is empty for the embedded one, or the path of one that this package has trained (.npz) or of a KenLM model
    of characters (.arpa, .bin, .klm; extra `kenlm`). It is loaded once a process. UserError if it cannot be.
    """
    return float(perplexities([text], model)[0])


def perplexities(texts: Sequence[str], model: str = "") -> np.ndarray:
    """The perplexity of each text, float64 [N]; many at once are several times as quick as one by one."""
    return _scorer(model)(texts)


@functools.cache
def _scorer(model: str) -> Callable[[Sequence[str]], np.ndarray]:
    if model and Path(model).suffix in KENLM:
        return _kenlm_scorer(model)
    if model and Path(model).suffix != ".npz":
        raise UserError(f"fluency model {model!r}: its name has to end in .npz, {', '.join(KENLM)}")
    return FluencyModel.load(model or EMBEDDED).perplexities


def _kenlm_scorer(path: str) -> Callable[[Sequence[str]], np.ndarray]:
    """Scores by a KenLM model whose words are characters; spaces are left out, and nothing else is changed."""
    try:
        kenlm = importlib.import_module("kenlm")
    except ImportError:
        raise UserError(f'fluency model {path!r}: KenLM is not installed; pip install "open-m6[kenlm]"') from None
    try:
        loaded = kenlm.Model(path)
    except OSError as error:
        raise UserError(f"fluency model {path!r}: KenLM cannot read it: {str(error).splitlines()[0]}") from None

    def score(text: str) -> float:
        characters = "".join(text.split())
        if not characters:
            return float("inf")
        return float(10.0 ** (-loaded.score(" ".join(characters), bos=True, eos=False) / len(characters)))

    return lambda texts: np.array([score(text) for text in texts], np.float64)
