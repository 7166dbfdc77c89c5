"""Beam search beside that of transformers over the same weights, in its own cache: equal settings, equal answers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers", reason="comes with the extra vision")
pytest.importorskip("benchmarks", reason="the benchmarks come with the repository alone")

from benchmarks.peers.transformers_generate import Wrapped
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix
from tests.unit.generate import test_decoding

MOST = 12
engine, ending, prefixes = test_decoding.engine, test_decoding.ending, test_decoding.prefixes


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Decoding(beams=5), {}),
        (Decoding(beams=3, length_penalty=0.0), {"length_penalty": 0.0}),
        (Decoding(beams=4, length_penalty=2.5), {"length_penalty": 2.5}),
        (Decoding(beams=4, length_penalty=-1.0), {"length_penalty": -1.0}),
        (Decoding(beams=4, min_tokens=3), {"min_new_tokens": 3}),
    ],
    ids=str,
)
def test_equal_settings_give_equal_answers(
    ending: Engine, prefixes: list[Prefix], ours: Decoding, theirs: dict[str, Any]
) -> None:
    """Prefixes of unlike lengths share a batch."""
    asked = [*prefixes, (*prefixes[1], *prefixes[2]), (*prefixes[0], *prefixes[1])]
    found = ending.write(asked, MOST, ours)
    assert found == Wrapped(ending).write(asked, MOST, num_beams=ours.beams, **theirs)
    assert len({len(ids) for ids in found}) > 1, f"answers of one length show little: {found}"
