"""Connected components of a graph, by union-find.

In: a number of nodes and pairs of joined nodes. Out: for each node the smallest node of its component, so the result
depends on the graph alone and not on the order of the pairs.
"""

from __future__ import annotations

from collections.abc import Iterable


def connected_components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The smallest node of each node's component; nodes are 0 to count - 1.

    >>> connected_components(5, [(3, 4), (1, 3)])
    [0, 1, 2, 1, 1]
    """
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]  # halves the path on the way, which keeps later walks short
            node = parent[node]
        return node

    for first, second in pairs:
        one, other = root(first), root(second)
        parent[max(one, other)] = min(one, other)
    return [root(node) for node in range(count)]
