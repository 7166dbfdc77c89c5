"""Questions about pictures: a JSON file of questions in one place, a folder of pictures in another.

In: FM-IQA's form, lists under the name of their split, `{"train": [{"image_id", "Question", "Answer"}, ...]}`, a list
alone, or VQA's form, questions and answers in files of their own that share a question_id. Pictures are those of COCO
2014, or named by their id. Out: one Document a picture with all its questions; since a Document without text says
nothing, its text is the same in words, `问：…答：…`, a line each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from m6.corpus.config import QuestionsConfig
from m6.corpus.document import Document, Image, Question, make_document
from m6.corpus.drop import Drop
from m6.corpus.read.by_picture import (
    Said,
    Statement,
    described,
    find_picture,
    identity,
    parts_of_files,
    plain,
    records,
    said_of_pictures,
    stem,
)
from m6.corpus.read.files import find, folder_of
from m6.corpus.sources import Part, split_by_hash

KIND = "vqa"
ENDINGS = (".json",)

_END = re.compile(r"[。！？.!?]$")


def parts(name: str, config: QuestionsConfig) -> list[Part]:
    """Ranges of characters of the files. UserError if there is none."""
    if config.answer_paths:
        find(config.answer_paths, ENDINGS, f"corpus.sources.{name}.answer_paths")
    return parts_of_files(name, config, ENDINGS)


def read(part: Part, config: QuestionsConfig, seed: int) -> Iterator[Document | Drop]:
    """A Document for each picture that the file first asks about in the part."""
    asked: dict[str, list[Said]] = {}
    for item in said_of_pictures(part, config.encoding, _question):
        if isinstance(item, Drop):
            yield item
        else:
            asked[item[0]] = item[1]
    answers = _answers(asked, config)
    root = config.image_root or folder_of(part.of)
    for picture, said in asked.items():
        yield from _document(picture, said, answers, root, part.source, config)


def _question(array: str, value: Any) -> Statement:
    """Texts: question, answer (may be empty), question_id, name of the list."""
    if not isinstance(value, dict):
        return "not a JSON object"
    fields = {name.lower(): content for name, content in value.items()}
    picture, question = identity(fields.get("image_id")), plain(fields.get("question"))
    if not picture:
        return "no image_id"
    if not question:
        return "no question"
    return picture, (question, _answer(fields), identity(fields.get("question_id")), array)


def _answer(fields: dict[str, Any]) -> str:
    """The answer: one that is given as such, else the first of several."""
    several = fields.get("answers")
    first = several[0] if isinstance(several, list) and several else several
    first = first.get("answer") if isinstance(first, dict) else first
    given = (fields.get("answer"), fields.get("multiple_choice_answer"), first)
    return next(filter(None, map(plain, given)), "")


def _answers(asked: dict[str, list[Said]], config: QuestionsConfig) -> dict[str, str]:
    """Answers by question_id out of files of their own, for the questions that have none beside them."""
    wanted = {one.texts[2] for said in asked.values() for one in said if not one.texts[1] and one.texts[2]}
    answers: dict[str, str] = {}
    if not wanted or not config.answer_paths:
        return answers

    def say(array: str, value: Any) -> Statement:
        question = identity(value.get("question_id")) if isinstance(value, dict) else ""
        return (question, (_answer(value),)) if question in wanted else None

    for path in find(config.answer_paths, ENDINGS, "answer_paths"):
        for question, (answer,) in records(path, config.encoding, say):
            answers.setdefault(question, answer)
    return answers


def _document(
    picture: str, said: list[Said], answers: dict[str, str], root: str, source: str, config: QuestionsConfig
) -> Iterator[Document | Drop]:
    """The Document of a picture, and a Drop for each of its questions that nobody answers."""
    pairs: dict[tuple[str, str], None] = {}
    for where, (question, answer, number, _) in said:
        answer = answer or answers.get(number, "")
        if answer:
            pairs[" ".join(question.split()), " ".join(answer.split())] = None
        else:
            yield Drop("no answer", where, question)
    if not pairs:
        return
    array = said[0].texts[3]
    found = find_picture(root, _names(picture), config.images.most_bytes)
    if isinstance(found, str):
        yield Drop(found, said[0].where, picture)
        return
    file, data = found
    yield make_document(
        source,
        "\n".join(f"问：{_ended(question, '？')}答：{_ended(answer, '。')}" for question, answer in pairs),
        split=split_by_hash(stem(file), config.heldout_share),
        group=stem(file),
        images=[Image(bytes=data, width=0, height=0, offset=0)],
        questions=[Question(kind=KIND, question=question, answer=answer) for question, answer in pairs],
        attributes={"file": file, **({"list": array} if array else {}), **described(config)},
        where=said[0].where,
    )


def _names(picture: str) -> list[str]:
    """What the file of a picture may be called: as COCO's, where the id is a number, or as the id."""
    if not picture.isdecimal():
        return [picture]
    number = f"{picture:0>12}"
    return [f"COCO_train2014_{number}.jpg", f"COCO_val2014_{number}.jpg", f"{number}.jpg", f"{picture}.jpg"]


def _ended(text: str, mark: str) -> str:
    return text if _END.search(text) else text + mark
