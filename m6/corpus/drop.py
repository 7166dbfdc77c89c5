"""Drop: a record that does not come into the corpus, and why.

Sources give Drops for what they cannot read, rules for what they refuse; the pipeline counts them by reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from m6.config import UserError

Result = TypeVar("Result")


class Drop(NamedTuple):
    """What the report says of a record that was left out."""

    reason: str  # a few words, the same for all records of its kind: "truncated image"
    where: str  # file and row, name of the thing, or id
    sample: str = ""  # the text or the value that decided


def safely(where: str, step: Callable[..., Result], *arguments: Any) -> Result | Drop:
    """The result of a step on the record that stands at `where`. A record that no rule has foreseen is counted like
    any other drop: a run of days does not end for its sake. What is wrong with the recipe ends it."""
    try:
        return step(*arguments)
    except UserError:
        raise
    except RecursionError:
        return Drop("nested too deeply", where)
    except Exception as error:
        return Drop(f"unforeseen {type(error).__name__}", where, str(error))
