"""Connected components against a search through the graph."""

from __future__ import annotations

import random

import numpy as np

from m6.corpus.dedup.connected import components, connect, spanning


def by_search(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """For each node that stands in a pair, the smallest one that can be reached."""
    found = {}
    for node in {node for pair in pairs for node in pair}:
        reached, waiting = {node}, [node]
        while waiting:
            here = waiting.pop()
            for one, other in [*pairs, *((b, a) for a, b in pairs)]:
                if one == here and other not in reached:
                    reached.add(other)
                    waiting.append(other)
        found[node] = min(reached)
    return found


def edges(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, np.uint64).reshape(-1, 2).T


def test_random_graphs_in_any_order() -> None:
    rng = random.Random(0)
    for _ in range(50):
        count = rng.randrange(1, 25)
        pairs = [(rng.randrange(count) << 40, rng.randrange(count) << 40) for _ in range(rng.randrange(20))]
        for graph in (pairs, rng.sample(pairs, len(pairs))):
            nodes, roots = components(edges(graph))
            assert dict(zip(nodes.tolist(), roots.tolist(), strict=True)) == by_search(pairs)


def test_a_chain_is_one_component() -> None:
    nodes, roots = components(edges([(i + 1, i) for i in range(20_000)]))
    assert len(nodes) == 20_001
    assert not roots.any()


def test_joining_goes_on_where_it_was() -> None:
    label = connect(np.arange(6), np.array([1, 4]), np.array([2, 5]))
    assert label.tolist() == [0, 1, 1, 3, 4, 4]
    assert connect(label, np.array([5]), np.array([2])).tolist() == [0, 1, 1, 3, 1, 1]


def test_spanning_pairs_have_the_same_components_and_are_as_few_as_can_be() -> None:
    pairs = edges([(3, 4), (4, 3), (4, 5), (5, 3), (9, 8), (7, 7)])
    assert spanning(pairs).T.tolist() == [[3, 4], [3, 5], [8, 9]]
    assert spanning(edges([])).shape == (2, 0)
