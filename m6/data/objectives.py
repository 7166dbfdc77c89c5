"""The pretraining objectives: each is one function from a Document to Branches of a Sample (design: the Sample table).

Most make one Branch; questions make one each; a document that has nothing to offer makes none. Those of `SEEING` expect
the picture in the shared prefix, so that several of them share one picture; the others stand alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from m6.corpus.document import Document
from m6.data.config import DataConfig
from m6.data.sample import HIDDEN, Branch, Codes, Segment, Text, spread
from m6.tokenizer.vocabulary import MASK, MATCH

YES, NO = "是", "否"
_MARKS = "？?。.：: "


class Context(Protocol):
    """What an objective may ask for beside its document."""

    config: DataConfig

    def encode(self, text: str) -> tuple[int, ...]: ...

    def codes(self, document: Document) -> Codes: ...

    def coarse_codes(self, document: Document) -> Codes: ...

    def unfitting_text(self, document: Document, rng: np.random.Generator) -> str: ...


Objective = Callable[[Document, Context, np.random.Generator], tuple[Branch, ...]]


def language_modelling(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Text alone, from its first token."""
    return (Branch("language_modelling", (), Text(context.encode(document["text"]))),)


def text_denoising(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Text with masked spans in, the whole text out."""
    return _denoising("text_denoising", document, context, rng)


def captioning(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Picture in, its text out."""
    return (Branch("captioning", (), Text(context.encode(document["text"]))),)


def image_denoising(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Picture and text with masked spans in, the whole text out."""
    return _denoising("image_denoising", document, context, rng)


def matching(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Picture and a text in, whether they fit out; half of the texts are hard negatives."""
    fits = bool(rng.random() < 0.5)
    text = document["text"] if fits else context.unfitting_text(document, rng)
    prefix = Text((*context.encode(text), MATCH))
    return (Branch("matching", (prefix,), Text(context.encode(YES if fits else NO))),)


def visual_question_answering(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Picture and question in, answer out: up to `max_questions` of the document's, drawn at random."""
    questions = document["questions"]
    chosen = rng.permutation(len(questions))[: context.config.max_questions]
    return tuple(
        Branch(
            "visual_question_answering",
            (Text(context.encode(visual_question_prompt(questions[index]["question"]))),),
            Text(context.encode(questions[index]["answer"])),
        )
        for index in chosen
    )


def poem(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Title and form in, poem out."""
    prompt = poem_prompt(document["title"], document["attributes"].get("form", ""))
    return (Branch("poem", (Text(context.encode(prompt)),), Text(context.encode(document["text"]))),)


def question_answering(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """A question in, its answer out, without a picture: one of the document's, drawn at random."""
    questions = document["questions"]
    if not questions:
        return ()
    asked = questions[int(rng.integers(len(questions)))]
    prefix = Text(context.encode(question_prompt(asked["question"])))
    return (Branch("question_answering", (prefix,), Text(context.encode(asked["answer"]))),)


def product_description(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Title in, the text about it out; a text that says no more than its title is none."""
    title, text = document["title"], document["text"]
    if not title or not text or text == title:
        return ()
    prefix = Text(context.encode(product_prompt(title, {})))
    return (Branch("product_description", (prefix,), Text(context.encode(text))),)


def text_to_image(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Text in, image codes out; now and then from an empty prompt, for classifier-free guidance."""
    codes = context.codes(document)
    return (Branch("text_to_image", _prompt(document, codes, context, rng), codes),)


def inpainting(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Text and the codes about a rectangle in, those of the rectangle out; of any height and width, at any place."""
    codes = context.codes(document)
    prompt = _prompt(document, codes, context, rng)
    inside = rectangle(codes.grid.shape[0], codes.grid.shape[1], rng)
    about, within = (Codes(np.where(shown, codes.grid, HIDDEN)) for shown in (~inside, inside))
    return (Branch("inpainting", (*prompt, about), within),)


def text_to_coarse(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Text in, the codes of the picture made small out: what `coarse_to_fine` goes on from."""
    codes = context.coarse_codes(document)
    return (Branch("text_to_coarse", _prompt(document, codes, context, rng), codes),)


def coarse_to_fine(document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    """Text in, the codes of the picture out, over those of the picture made small."""
    codes = context.codes(document)
    prompt = _prompt(document, codes, context, rng)
    coarse = spread(context.coarse_codes(document).grid, *codes.grid.shape)
    blanks = rng.random(codes.grid.shape) < rng.uniform(0.0, context.config.blank_codes)
    return (Branch("coarse_to_fine", prompt, Codes(codes.grid, coarse, blanks)),)


def rectangle(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """The cells [height, width] bool of one that is drawn by chance; never none."""
    inside = np.zeros((height, width), bool)
    rows, columns = rng.integers(1, height + 1), rng.integers(1, width + 1)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    inside[top : top + rows, left : left + columns] = True
    return inside


def size_prompt(height: int, width: int) -> str:
    """How the size of a painting is told, in codes."""
    return f"{width}x{height}"


SEEING: dict[str, Objective] = {
    "captioning": captioning,
    "image_denoising": image_denoising,
    "matching": matching,
    "visual_question_answering": visual_question_answering,
}
STANDALONE: dict[str, Objective] = {
    "language_modelling": language_modelling,
    "text_denoising": text_denoising,
    "poem": poem,
    "question_answering": question_answering,
    "product_description": product_description,
    "text_to_image": text_to_image,
    "inpainting": inpainting,
    "text_to_coarse": text_to_coarse,
    "coarse_to_fine": coarse_to_fine,
}
PAINTING = ("text_to_image", "inpainting", "text_to_coarse", "coarse_to_fine")
"""Those that write image codes."""


def poem_prompt(title: str, form: str) -> str:
    """How a poem is asked for, in training as in use."""
    return f"{form}《{title}》"


def question_prompt(question: str) -> str:
    """How a question without a picture is asked: with its mark, and a cue for the answer (paper section 5.4, recalled).

    Both tell a text that asks from one that goes on, which is what a model knows that was trained on plain text."""
    return f"{question.rstrip(_MARKS)}？答："


def visual_question_prompt(question: str) -> str:
    """How a question about a picture is asked: as it is, with a Chinese mark at its end for one of ASCII."""
    return f"{asked[:-1]}？" if (asked := question.rstrip()).endswith("?") else question


def product_prompt(title: str, attributes: Mapping[str, str]) -> str:
    """How a product's description is asked for: `title；name：value；name：value。描述：`, less what is not told;
    nothing at all where a picture alone is given."""
    parts = [part for part in (title, *(f"{name}：{value}" for name, value in attributes.items())) if part]
    return "；".join(parts) + "。描述：" if parts else ""


def mask_spans(ids: Sequence[int], rng: np.random.Generator, share: float, mean_span: float) -> tuple[int, ...]:
    """Hides about `share` of the ids in spans of geometric length, each replaced by one mask token.

    At least one token is hidden. Spans do not touch, so that the number of masks is the number of spans.
    """
    budget = max(1, round(share * len(ids)))
    hidden = np.zeros(len(ids), bool)
    for _ in range(4 * budget):  # an attempt may land on what is hidden already
        left = budget - int(hidden.sum())
        if left <= 0:
            break
        length = min(left, int(rng.geometric(1 / mean_span)))
        start = int(rng.integers(len(ids) - length + 1))
        if not hidden[max(0, start - 1) : start + length + 1].any():
            hidden[start : start + length] = True
    masked: list[int] = []
    for index, token in enumerate(ids):
        if not hidden[index]:
            masked.append(token)
        elif index == 0 or not hidden[index - 1]:
            masked.append(MASK)
    return tuple(masked)


def _denoising(name: str, document: Document, context: Context, rng: np.random.Generator) -> tuple[Branch, ...]:
    ids = context.encode(document["text"])
    if not ids:
        return ()
    masked = mask_spans(ids, rng, context.config.masked_share, context.config.mean_span)
    return (Branch(name, (Text(masked),), Text(ids)),)


def _prompt(document: Document, codes: Codes, context: Context, rng: np.random.Generator) -> tuple[Segment, ...]:
    """What is to be painted: the text, now and then its title or none; and the size, where that is told."""
    config = context.config
    prompt = document["text"]
    if rng.random() < config.empty_prompt:
        prompt = ""
    elif config.title_prompt and rng.random() < config.title_prompt:
        prompt = document["title"] or prompt
    size = size_prompt(*codes.grid.shape) if config.tell_size else ""
    return tuple(Text(context.encode(part)) for part in (prompt, size) if part)
