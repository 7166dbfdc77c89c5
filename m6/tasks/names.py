"""The names of the tasks and what each asks of a model; light, for help pages."""

from __future__ import annotations

from m6.config import UserError, nearest

SUMMARIES = {
    "visual_question_answering": "a picture and a question in, a short answer out",
    "captioning": "a picture in, what it shows out",
    "product_description": "a title or attributes, with or without a picture in, a description out",
    "question_answering": "a question in, an answer out",
    "poems": "a title and a form in, a poem out",
    "matching": "a picture and texts in, the one that fits out",
    "retrieval": "pictures and texts in, the texts of each picture and the pictures of each text out",
    "classification": "a text in, its label out",
    "text_to_image": "a text in, a picture of it out",
}


def check_name(name: str) -> None:
    """UserError for a name that is no task's, with the nearest one."""
    if name not in SUMMARIES:
        raise UserError(f"no task {name!r}{nearest(name, SUMMARIES)}")
