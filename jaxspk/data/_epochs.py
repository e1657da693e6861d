"""Which speakers meet in a batch: epochs of a length known beforehand, each a pure function of a generator."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


class Epoch(NamedTuple):
    """The batches of one epoch."""

    classes: Int[np.ndarray, "batches speakers"]
    """Who is in each batch; nobody twice in a row."""
    members: Int[np.ndarray, "batches speakers utterances"]
    """Which of their utterances."""


def count_groups(available: Int[np.ndarray, " classes"], utterances: int, cap: int) -> Int[np.ndarray, " classes"]:
    """Groups of so many utterances that each class has in an epoch; at least one.

    Args:
      available: utterances of each class.
      utterances: in a group.
      cap: utterances of a class in an epoch, at most.
    """
    return np.asarray(np.maximum(np.minimum(available, cap) // utterances, 1))


def count_batches(groups: Int[np.ndarray, " classes"], speakers: int) -> int:
    """Batches into which all groups fit so that no class comes twice in one: no fewer are enough for that.

    Args:
      groups: of each class.
      speakers: in a batch.
    """
    return max(math.ceil(int(groups.sum()) / speakers), int(groups.max()))


def draw_epoch(
    available: Int[np.ndarray, " classes"], *, speakers: int, utterances: int, cap: int, rng: np.random.Generator
) -> Epoch:
    """Deals out every class's groups in random order; what would put a class into a batch twice waits for a later one.

    Each batch takes the classes that must be in every batch from here on, and fills up with others, drawn in proportion
    to the groups they still have. So nothing is left over after :func:`count_batches` batches. Places that stay empty
    (the groups rarely divide evenly) go to further groups of classes not in the batch, drawn anew.

    Args:
      available: utterances of each class, all positive; no fewer classes than ``speakers``.
      speakers: in a batch.
      utterances: of each speaker in a batch. A class of fewer has one group, in which they come again.
      cap: utterances of a class in an epoch, at most.
      rng: decides all.
    """
    groups = count_groups(available, utterances, cap)
    batches = count_batches(groups, speakers)
    dealt = [_groups(int(size), int(count), utterances, rng) for size, count in zip(available, groups, strict=True)]
    # The groups of all classes in one table, those of a class from its first row on.
    table, first_row = np.concatenate(dealt), np.cumsum(groups) - groups
    left = groups.copy()
    classes = np.empty((batches, speakers), np.int32)
    members = np.empty((batches, speakers, utterances), np.int32)
    for batch in range(batches):
        # With as many groups as there are batches left they can wait no longer.
        chosen = _draw(left, left == batches - batch, speakers, rng)
        left[chosen] -= 1
        who, which = chosen, table[first_row[chosen] + left[chosen]]
        if len(chosen) < speakers:
            others = groups.copy()
            others[chosen] = 0
            extra = _draw(others, np.zeros(len(groups), bool), speakers - len(chosen), rng)
            anew = [_groups(int(available[number]), 1, utterances, rng) for number in extra]
            who, which = np.concatenate([chosen, extra]), np.concatenate([which, *anew])
        order = rng.permutation(speakers)
        classes[batch], members[batch] = who[order], which[order]
    return Epoch(classes, members)


def _draw(
    weights: Int[np.ndarray, " classes"], due: Bool[np.ndarray, " classes"], count: int, rng: np.random.Generator
) -> Int[np.ndarray, " drawn"]:
    """So many different classes, or all that have a weight: those that are due, and others by their weights."""
    # The smallest of exponential waiting times at these rates: a draw by weight without putting back.
    waits = np.divide(rng.exponential(size=len(weights)), weights, out=np.full(len(weights), np.inf), where=weights > 0)
    waits[due] = -1.0
    count = min(count, int(np.count_nonzero(weights)))
    # Sorted, for the order in which they come out of a partition is the machine's.
    return np.sort(np.argpartition(waits, count - 1)[:count])


def _groups(size: int, count: int, utterances: int, rng: np.random.Generator) -> Int[np.ndarray, "count utterances"]:
    """Random groups of one class's utterances, each utterance in one group at most."""
    order = rng.permutation(size)
    if size < utterances:
        return np.resize(order, (1, utterances))
    return order[: count * utterances].reshape(count, utterances)
