"""Connected components against a search through the graph."""

from __future__ import annotations

import random

from m6.corpus.connected import connected_components


def by_search(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    found = []
    for node in range(count):
        reached, waiting = {node}, [node]
        while waiting:
            here = waiting.pop()
            for one, other in [*pairs, *((b, a) for a, b in pairs)]:
                if one == here and other not in reached:
                    reached.add(other)
                    waiting.append(other)
        found.append(min(reached))
    return found


def test_random_graphs_in_any_order() -> None:
    rng = random.Random(0)
    for _ in range(50):
        count = rng.randrange(1, 25)
        pairs = [(rng.randrange(count), rng.randrange(count)) for _ in range(rng.randrange(20))]
        expected = by_search(count, pairs)
        assert connected_components(count, pairs) == expected
        assert connected_components(count, rng.sample(pairs, len(pairs))) == expected


def test_a_chain_is_one_component() -> None:
    assert connected_components(1_000, ((i + 1, i) for i in range(999))) == [0] * 1_000
