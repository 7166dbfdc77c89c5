"""Drop: a record that does not come into the corpus, and why.

Sources give Drops for what they cannot read, rules for what they refuse; the pipeline counts them by reason.
"""

from __future__ import annotations

from typing import NamedTuple


class Drop(NamedTuple):
    """What the report says of a record that was left out."""

    reason: str  # a few words, the same for all records of its kind: "truncated image"
    where: str  # file and row, name of the thing, or id
    sample: str = ""  # the text or the value that decided
