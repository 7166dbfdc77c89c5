"""The bundled emoji: a picture with its Chinese name, keywords, and exact questions about it.

Title is the name, the text is the name and a few keywords ("猫。动物、宠物"). The questions are answered by metadata:
what it is, its category, its main colour (where one colour prevails), and whether it is of a category.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import Any

from m6.config import UserError, nearest
from m6.corpus.config import EmojiConfig
from m6.corpus.document import Document, Image, Question, make_document
from m6.corpus.drop import Drop
from m6.corpus.sources import Part, cut
from m6.corpus.starter import emoji_pictures, emoji_rows

ROWS_PER_PART = 500


def parts(name: str, config: EmojiConfig) -> list[Part]:
    """Ranges of the chosen pictures. UserError for an unknown category."""
    return cut(name, len(_chosen(config)), ROWS_PER_PART)


def read(part: Part, config: EmojiConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of some of the chosen pictures, in the order of Unicode."""
    pictures = emoji_pictures()
    for row in _chosen(config)[part.start : part.stop]:
        keywords = row["keywords"][: config.num_keywords]
        yield make_document(
            part.source,
            "。".join(filter(None, (row["name"], "、".join(keywords)))),
            title=row["name"],
            split=row["split"],
            group=row["group"],
            images=[Image(bytes=pictures[row["file"]], width=64, height=64, offset=0)],
            keywords=row["keywords"],
            questions=_questions(row, config),
            attributes={name: row[name] for name in ("emoji", "category", "colour")},
        )


@functools.cache
def categories() -> list[str]:
    """All categories of the bundled pictures."""
    return sorted({row["category"] for row in emoji_rows()})


def _chosen(config: EmojiConfig) -> list[dict[str, Any]]:
    for category in config.categories:
        if category not in categories():
            raise UserError(f"corpus.emoji.categories: no category {category!r}{nearest(category, categories())}")
    rows = [row for row in emoji_rows() if not config.categories or row["category"] in config.categories]
    return rows[: config.most]


def _questions(row: dict[str, Any], config: EmojiConfig) -> list[Question]:
    others = [category for category in categories() if category != row["category"]]
    other = others[int(hashlib.sha256(row["name"].encode()).hexdigest(), 16) % len(others)]
    questions = [
        Question(kind="what", question="这是什么？", answer=row["name"]),
        Question(kind="category", question="这是哪一类？", answer=row["category"]),
        Question(kind="yes_no", question=f"是{row['category']}吗？", answer="是"),
        Question(kind="yes_no", question=f"是{other}吗？", answer="否"),
    ]
    if row["colour_share"] >= config.smallest_colour_share:
        questions.append(Question(kind="colour", question="主要是什么颜色？", answer=row["colour"]))
    return questions
