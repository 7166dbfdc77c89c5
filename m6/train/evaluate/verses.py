"""Verses: poems for titles of unseen poets, and how surprising what the poets wrote is to the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m6.corpus.document import Document
from m6.data.sample import Text
from m6.generate.engine import Engine
from m6.generate.poems import PoemGrammar, has_form
from m6.generate.sampling import Sampling
from m6.tasks import poems
from m6.tasks.metrics import mean
from m6.train.evaluate.material import Evaluation, Example, Examples, Scores

MAX_POEM = 160  # tokens: sixteen lines of seven characters, with their marks


def verse(about: Evaluation) -> tuple[Scores, Examples]:
    """Poems for titles of unseen poets, and how surprising the true ones are; baseline: frequency of characters."""
    training, heldout = (poems.read(about.documents, split) for split in ("train", "heldout"))
    fitting = [d for d in heldout if has_form(d["text"], d["attributes"]["form"])][: about.stage.num_poems]
    if not fitting:
        return {}, {}
    sampling = Sampling(temperature=0.8, top_p=0.9, seed=about.seed)
    forms = [d["attributes"]["form"] for d in fitting]
    prefixes = [(about.engine.text(poems.prompt(d)),) for d in fitting]
    free = about.engine.write_texts(prefixes, MAX_POEM, sampling)
    written = write_in_form(about.engine, prefixes, forms, sampling)
    kept, kept_free, kept_by_chance = (
        [has_form(text, form) for text, form in zip(texts, forms, strict=True)]
        for texts in (written, free, scattered(training, len(fitting), about.seed))
    )
    known = {line for d in training for line in poems.decode(d["text"])}
    score = poems.score(written, kept, known)
    human = poems.score([d["text"] for d in fitting], kept, known)
    scores = {
        "poem.form_rate": score["form_rate"],
        "poem.form_rate.baseline": mean(kept_by_chance),
        "poem.form_rate_free": mean(kept_free),
        "poem.form_rate_free.baseline": mean(kept_by_chance),
        "poem.copied_rate": score["copied_rate"],
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
    losses = engine.losses([poems.sample(engine.text(poems.prompt(d)), engine.text(d["text"])) for d in measured])
    texts = [d["text"] for d in measured]
    return {
        "poem.bits_per_char_heldout": poems.bits_per_character(losses, texts),
        "poem.bits_per_char_heldout.baseline": poems.unigram_bits([d["text"] for d in training], texts),
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
