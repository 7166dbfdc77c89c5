"""Connected components of a graph whose nodes are numbers, in compact arrays.

In: pairs of joined nodes. Out: for each node the smallest node of its component, so the result depends on the graph
alone and not on the order of the pairs. Billions of nodes that are joined to nothing cost nothing.
"""

from __future__ import annotations

import numpy as np

Edges = np.ndarray
"""Pairs of joined nodes: (2, number of pairs), an unsigned or signed integer type."""


def components(edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    """The nodes that stand in `edges`, sorted, and for each the smallest node of its component.

    >>> components(np.array([[3, 1], [4, 3]]))
    (array([1, 3, 4]), array([1, 1, 1]))
    """
    nodes, numbers = np.unique(edges, return_inverse=True)
    label = connect(np.arange(len(nodes)), *numbers.reshape(2, -1))
    return nodes, nodes[label]


def connect(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Join the nodes `first[i]` and `second[i]`: for each node the smallest of its component.

    `label` is what an earlier call returned, or `arange(number of nodes)`. Both labels of a pair are hooked to the
    smaller one, then every node jumps to the label of its label, until nothing changes: a chain of a million
    nodes takes some twenty rounds.
    """
    while len(first):
        one, other = label[first], label[second]
        apart = one != other
        if not apart.any():
            break
        one, other = one[apart], other[apart]
        first, second = first[apart], second[apart]
        label = label.copy()
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(further := label[label], label):
            label = further
    return label


def spanning(edges: Edges) -> Edges:
    """The fewest pairs with the same components: each node with the smallest one of its component."""
    nodes, roots = components(edges)
    return np.stack([roots, nodes])[:, nodes != roots]
