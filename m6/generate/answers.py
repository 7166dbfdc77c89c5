"""What a person asks of a trained run: a caption, an answer, a match, a description, a poem. Paintings
are in `paintings`.

Each function loads the run and does one thing; the engine below does many at once. UserError for what the run has not
learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from m6.config import UserError
from m6.corpus.config import CorpusConfig, ImageRules
from m6.corpus.images.prepare import fit
from m6.data.objectives import poem_prompt, product_prompt, question_prompt, visual_question_prompt
from m6.data.poem_forms import form_of
from m6.data.sample import Segment
from m6.generate.choices import Choices
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.learnt import check_learnt, learnt_by
from m6.generate.poems import PoemGrammar
from m6.generate.rank import fits

MAX_CAPTION, MAX_ANSWER, MAX_TEXT, MAX_POEM = 64, 24, 128, 160
"""Tokens that are written; an answer is short if it is about a picture, else a text, as a description is."""


def caption(
    folder: Path, image: Path, max_tokens: int = MAX_CAPTION, int8: bool = False, **decoding: Any
) -> str:  # fmt: skip
    """What is in a picture file. int8: see `Engine.load`; `decoding`: fields of `Decoding`, as everywhere here."""
    check_learnt("caption", learnt_by(folder))
    engine = Engine.load(folder, int8=int8)
    prefix = (_picture(folder, image, engine),)
    return engine.write_texts([prefix], _length(max_tokens), Decoding(**decoding))[0]


def answer(
    folder: Path,
    question: str,
    image: Path | None = None,
    choices: Sequence[str] = (),
    max_tokens: int | None = None,
    int8: bool = False,
    **decoding: Any,
) -> str:
    """The answer to a question, about a picture file or without one; one of `choices`, if there are any, however
    long."""
    check_learnt("question" if image is None else "visual_question", learnt_by(folder))
    engine = Engine.load(folder, int8=int8)
    if image is None:
        prefix: tuple[Segment, ...] = (engine.text(question_prompt(question)),)
    else:
        prefix = (_picture(folder, image, engine), engine.text(visual_question_prompt(question)))
    texts = [engine.text(choice).ids for choice in choices]
    grammar = Choices(texts, engine.vocabulary.size) if choices else None
    most = (MAX_TEXT if image is None else MAX_ANSWER) if max_tokens is None else _length(max_tokens)
    longest = max([most, *(len(ids) + 1 for ids in texts)])
    return engine.tokenizer.decode(engine.write([prefix], longest, Decoding(**decoding), grammar)[0])


def match(folder: Path, image: Path, texts: Sequence[str], int8: bool = False) -> str:
    """A line for each text, best first: how well it fits a picture file, log p(text | picture) - log p(text) in nats,
    and the text."""
    check_learnt("caption", learnt_by(folder))
    engine = Engine.load(folder, int8=int8)
    scores = fits(engine, [(_picture(folder, image, engine),)], [engine.text(text) for text in texts])[0]
    order = sorted(range(len(texts)), key=lambda index: -scores[index])
    return "\n".join(f"{scores[index]:8.2f}  {texts[index]}" for index in order)


def describe(
    folder: Path,
    title: str = "",
    attributes: Sequence[tuple[str, str]] = (),
    image: Path | None = None,
    max_tokens: int = MAX_TEXT,
    int8: bool = False,
    **decoding: Any,
) -> str:
    """The description of a product, by its title, attributes (name, value) and picture file, any of them or all.
    UserError for none of them."""
    if not (title or attributes or image):
        raise UserError("what is described? give --title, --attributes or --image")
    length = _length(max_tokens)
    check_learnt("description", learnt_by(folder))
    engine = Engine.load(folder, int8=int8)
    picture = (_picture(folder, image, engine),) if image else ()
    prompt = product_prompt(title, dict(attributes))
    prefix = (*picture, engine.text(prompt)) if prompt else picture
    return engine.write_texts([prefix], length, Decoding(**decoding))[0]


def poem(folder: Path, title: str, form: str = "五言绝句", int8: bool = False, **decoding: Any) -> str:
    """A poem of that title, in that form, by sampling if `decoding` names no other way. UserError for a form that
    models do not learn."""
    form = form_of(form)
    drawn = {} if {"beams", "contrast"} & decoding.keys() else {"temperature": 0.8, "top_p": 0.9}
    settings = Decoding(**{**drawn, **decoding})
    check_learnt("poem", learnt_by(folder))
    engine = Engine.load(folder, int8=int8)
    grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, form)
    prefix = (engine.text(poem_prompt(title, form)),)
    return engine.tokenizer.decode(engine.write([prefix], MAX_POEM, settings, grammar)[0])


def read_picture(path: Path, engine: Engine, rules: ImageRules) -> np.ndarray:
    """A picture file as the corpus brings it to the model: [S, S, 3] uint8, the whole picture on a white square.

    One with a transparent ground is cut out by the rules of the bundled pictures; any other is taken as it is.
    """
    with Image.open(path) as opened:
        chosen = rules if opened.has_transparency_data else ImageRules()
        return np.asarray(fit(opened, engine.picture_size, chosen))


def _length(max_tokens: int) -> int:
    if max_tokens < 1:
        raise UserError(f"max_tokens {max_tokens}: it has to be 1 or above, such as {MAX_CAPTION}")
    return max_tokens


def _picture(folder: Path, image: Path, engine: Engine) -> Segment:
    sources = CorpusConfig.read(folder / "config.json", section="corpus").sources
    rules = sources["emoji"].images if "emoji" in sources else ImageRules()
    return engine.picture(read_picture(image, engine, rules))
