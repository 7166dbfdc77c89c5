"""The bundled classical poems: title, author, form and text in simplified script, one couplet a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from m6.config import UserError, nearest
from m6.corpus.config import PoemsConfig
from m6.corpus.document import Document, make_document
from m6.corpus.drop import Drop
from m6.corpus.sources import Part, cut
from m6.corpus.starter import poem_rows

ROWS_PER_PART = 2_500


def parts(name: str, config: PoemsConfig) -> list[Part]:
    """Ranges of the chosen poems. UserError for an unknown form."""
    return cut(name, len(_chosen(config)), ROWS_PER_PART)


def read(part: Part, config: PoemsConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of some of the chosen poems, well-known collections first."""
    for row in _chosen(config)[part.start : part.stop]:
        yield make_document(
            part.source,
            "\n".join(row["couplets"]),
            title=row["title"],
            split=row["split"],
            group=row["author"],
            attributes={name: row[name] for name in ("author", "form", "dynasty", "collection")},
        )


def _chosen(config: PoemsConfig) -> list[dict[str, Any]]:
    forms = sorted({row["form"] for row in poem_rows()})
    for form in config.forms:
        if form not in forms:
            raise UserError(f"corpus.poems.forms: no form {form!r}{nearest(form, forms)}")
    rows = [row for row in poem_rows() if not config.forms or row["form"] in config.forms]
    return rows[: config.most]
