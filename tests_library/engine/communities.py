"""Communities of a graph by the Louvain method in exact integers, so that they are the same on every machine.

Source: Blondel et al., "Fast unfolding of communities in large networks", J. Stat. Mech. 2008. Nodes are visited in their
order, a gain is an integer, and a node moves only for a gain that is strictly larger than that of staying; among equal
gains the community with the smallest number wins.
"""

import numpy as np
from numpy.typing import NDArray


def louvain(graph: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Community 0, 1, … of each node, numbered by first appearance: int32 [n] from a symmetric bool [n, n], no loops."""
    weights = graph.astype(np.float64)  # integers below 2⁵³ throughout: exact
    labels = np.arange(len(graph))
    while True:
        found = _in_order(local_moves(weights))
        labels = found[labels]
        if found.max() + 1 == len(weights):
            return _in_order(labels).astype(np.int32)
        inside = np.eye(found.max() + 1)[found]
        weights = inside.T @ weights @ inside


def local_moves(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Communities after moving single nodes while modularity grows: int64 [n] from symmetric weights [n, n].

    Gains are times (sum of all degrees)²/2, which makes them whole numbers.
    """
    degree = weights.sum(axis=1)
    total = degree.sum()
    label = np.arange(len(weights))
    near = [np.flatnonzero(row) for row in weights]
    strength = [row[at] for row, at in zip(weights, near, strict=True)]
    moved = True
    while moved:
        moved = False
        label = _in_order(label)  # fewer communities to compare in every sweep
        mass = np.bincount(label, weights=degree)
        for i, home in enumerate(label.tolist()):
            mass[home] -= degree[i]
            towards = np.bincount(label[near[i]], weights=strength[i], minlength=len(mass))
            towards[home] -= weights[i, i]
            gain = total * towards - degree[i] * mass
            best = int(np.argmax(gain))
            if gain[best] > gain[home]:
                label[i] = best
                moved = True
            mass[label[i]] += degree[i]
    return label


def _in_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]
