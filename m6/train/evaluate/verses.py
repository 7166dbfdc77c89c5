"""Verses: poems for titles of unseen poets, and how surprising what the poets wrote is to the model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from m6.corpus.document import Document
from m6.data.objectives import poem_prompt
from m6.data.poem_forms import has_form
from m6.data.sample import Branch, Sample, Text
from m6.generate.engine import Engine
from m6.generate.poems import PoemGrammar
from m6.generate.sampling import Sampling
from m6.tasks.metrics import mean
from m6.train.evaluate.material import Evaluation, Example, Examples, Scores

MAX_POEM = 160  # tokens: sixteen lines of seven characters, with their marks


def verse(about: Evaluation) -> tuple[Scores, Examples]:
    """Poems for titles of unseen poets, and how surprising the true ones are; baseline: frequency of characters."""
    training, heldout = (poems_of(about.documents, split) for split in ("train", "heldout"))
    fitting = [d for d in heldout if has_form(d["text"], d["attributes"]["form"])][: about.stage.num_poems]
    if not fitting:
        return {}, {}
    sampling = Sampling(temperature=0.8, top_p=0.9, seed=about.seed)
    forms = [d["attributes"]["form"] for d in fitting]
    prefixes = [(about.engine.text(prompt(d)),) for d in fitting]
    free = about.engine.write_texts(prefixes, MAX_POEM, sampling)
    written = write_in_form(about.engine, prefixes, forms, sampling)
    kept, kept_free, kept_by_chance = (
        [has_form(text, form) for text, form in zip(texts, forms, strict=True)]
        for texts in (written, free, scattered(training, len(fitting), about.seed))
    )
    known = {line for d in training for line in lines_of(d["text"])}
    ours = score(written, kept, known)
    human = score([d["text"] for d in fitting], kept, known)
    scores = {
        "poem.form_rate": ours["form_rate"],
        "poem.form_rate.baseline": mean(kept_by_chance),
        "poem.form_rate_free": mean(kept_free),
        "poem.form_rate_free.baseline": mean(kept_by_chance),
        "poem.copied_rate": ours["copied_rate"],
        "poem.copied_rate.baseline": human["copied_rate"],
        **surprise(about, training, heldout),
    }
    return scores, {"poems": [example(d, text) for d, text in zip(fitting[:8], written, strict=False)]}


def write_in_form(
    engine: Engine, prefixes: Sequence[tuple[Text]], forms: Sequence[str], sampling: Sampling
) -> list[str]:
    """A poem for each prefix, held to its form; those of one form are written together."""
    written = [""] * len(forms)
    for form in dict.fromkeys(forms):
        rows = [row for row, its_form in enumerate(forms) if its_form == form]
        grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, form)
        ids = engine.write([prefixes[row] for row in rows], MAX_POEM, sampling, grammar)
        for row, tokens in zip(rows, ids, strict=True):
            written[row] = engine.tokenizer.decode(tokens)
    return written


def scattered(training: Sequence[Document], count: int, seed: int) -> list[str]:
    """Texts of characters drawn as often as they stand in the training poems: the baseline of forms."""
    letters = "".join(d["text"] for d in training)
    places = np.random.default_rng(seed).integers(0, len(letters), (count, 48))
    return ["".join(letters[place] for place in row) for row in places]


def surprise(about: Evaluation, training: Sequence[Document], heldout: Sequence[Document]) -> Scores:
    """Bits a character of what unseen poets wrote, of poems as long as in training at the most."""
    engine = about.engine
    measured = [d for d in heldout if len(engine.tokenizer.encode(d["text"])) <= engine.data.max_text]
    measured = measured[: about.stage.num_samples]
    losses = engine.losses([sample(engine.text(prompt(d)), engine.text(d["text"])) for d in measured])
    texts = [d["text"] for d in measured]
    return {
        "poem.bits_per_char_heldout": bits_per_character(losses, texts),
        "poem.bits_per_char_heldout.baseline": unigram_bits([d["text"] for d in training], texts),
    }


def example(document: Document, written: str) -> Example:
    """What was written under a title, beside what the poet wrote."""
    return {
        "title": document["title"],
        "form": document["attributes"]["form"],
        "author": document["attributes"].get("author", ""),
        "written": written,
        "true": document["text"],
        "split": "heldout",
    }


def poems_of(documents: Iterable[Document], split: str) -> list[Document]:
    """The poems of a split."""
    return [d for d in documents if d["source"] == "poems" and d["split"] == split]


def prompt(document: Document) -> str:
    """How the poem is asked for."""
    return poem_prompt(document["title"], document["attributes"]["form"])


def sample(prompt: Text, poem: Text) -> Sample:
    """The whole poem as target, for its likelihood."""
    return Sample("poem", (), (Branch("poem", (prompt,), poem),))


def lines_of(text: str) -> list[str]:
    """The lines of a poem, without marks."""
    return [line for line in re.split(r"[，。！？；、\s]", text) if line]


def score(written: Sequence[str], kept_form: Sequence[bool], known_lines: set[str]) -> dict[str, float]:
    """Share of poems that keep their form, and of lines that stand in the training set."""
    lines = [line for poem in written for line in lines_of(poem)]
    return {"form_rate": mean(kept_form), "copied_rate": mean(line in known_lines for line in lines)}


def bits_per_character(losses: Iterable[float], poems: Sequence[str]) -> float:
    """Losses in nats of whole poems -> bits a character, marks and line ends counted as characters."""
    return float(sum(losses)) / math.log(2) / sum(map(len, poems))


def unigram_bits(training: Sequence[str], poems: Sequence[str]) -> float:
    """The baseline: bits a character of a model that knows how frequent each is, with one added to every count."""
    counts = Counter("".join(training))
    known = set(counts) | set("".join(poems))
    total = sum(counts.values()) + len(known)
    bits = -sum(math.log2((counts[character] + 1) / total) for poem in poems for character in poem)
    return bits / sum(map(len, poems))
