import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError
from jaxspk.metrics import (
    adjusted_mutual_information,
    adjusted_rand_index,
    clustering_accuracy,
    normalized_mutual_information,
)

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "u_vectors_metrics.json").read_text())
SCORES = (clustering_accuracy, normalized_mutual_information, adjusted_mutual_information, adjusted_rand_index)

items = st.integers(1, 12).flatmap(
    lambda count: st.tuples(*[st.lists(st.integers(0, 3), min_size=count, max_size=count)] * 2)
)


@pytest.mark.parametrize("case", GOLDEN["clustering_examples"].values(), ids=list(GOLDEN["clustering_examples"]))
def test_golden_values(case: dict):
    pair = case["true"], case["pred"]
    np.testing.assert_allclose(clustering_accuracy(*pair), case["ACC"], atol=1e-11)
    np.testing.assert_allclose(adjusted_rand_index(*pair), case["ARI"], atol=1e-11)
    for average in ("arithmetic", "geometric", "min", "max"):
        if f"NMI_{average}" in case:
            measured = normalized_mutual_information(*pair, average=average)
            np.testing.assert_allclose(measured, case[f"NMI_{average}"], atol=1e-11)


@given(items)
def test_accuracy_is_that_of_the_best_naming(pair):
    labels, clusters = map(np.array, pair)
    names = range(4)
    best = max(np.mean(np.array(naming)[clusters] == labels) for naming in itertools.permutations(names))
    np.testing.assert_allclose(clustering_accuracy(labels, clusters), best)


@given(items)
def test_rand_index_counts_pairs(pair):
    labels, clusters = pair
    pairs = list(itertools.combinations(range(len(labels)), 2))
    together = np.array([[labels[i] == labels[j], clusters[i] == clusters[j]] for i, j in pairs]).reshape(-1, 2)
    both, first, second = together.all(axis=1).sum(), together[:, 0].sum(), together[:, 1].sum()
    expected = first * second / max(len(pairs), 1)
    most = (first + second) / 2
    # Both partitions all in one, or all apart: nothing is left to agree by chance.
    adjusted = 1.0 if most == expected else (both - expected) / (most - expected)
    np.testing.assert_allclose(adjusted_rand_index(labels, clusters), adjusted, atol=1e-12)


@given(items)
def test_mutual_information_is_its_definition(pair):
    labels, clusters = map(np.array, pair)
    joint = np.array([[np.mean((labels == a) & (clusters == b)) for b in range(4)] for a in range(4)])
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    entropies = [-np.sum(p[p > 0] * np.log(p[p > 0])) for p in (rows, columns)]
    independent = np.outer(rows, columns)
    information = np.sum(joint[joint > 0] * np.log(joint[joint > 0] / independent[joint > 0]))
    mean = np.mean(entropies)
    expected = 1.0 if max(entropies) == 0 else information / mean
    np.testing.assert_allclose(normalized_mutual_information(labels, clusters), expected, atol=1e-9)


@given(items, st.permutations(range(4)))
def test_names_do_not_matter(pair, naming):
    labels, clusters = map(np.array, pair)
    renamed = np.array(["zebra", "ape", "cat", "dog"])[np.array(naming)[clusters]]
    for score in SCORES:
        np.testing.assert_allclose(score(labels, renamed), score(labels, clusters), atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_the_same_partition_is_perfect(score):
    np.testing.assert_allclose(score([0, 0, 1, 1, 2], [5, 5, -1, -1, 3]), 1)


@pytest.mark.parametrize("score", [adjusted_mutual_information, adjusted_rand_index])
def test_chance_scores_zero_once_adjusted(score):
    rng = np.random.default_rng(0)
    chances = [score(*rng.integers(10, size=(2, 100))) for _ in range(50)]
    np.testing.assert_allclose(np.mean(chances), 0, atol=0.01)


def test_many_clusters_of_few_items_raise_no_warning():
    labels, clusters = np.repeat(np.arange(50), 2), np.arange(100)
    np.testing.assert_allclose(clustering_accuracy(labels, clusters), 0.5)
    assert normalized_mutual_information(labels, clusters) > 0.9
    np.testing.assert_allclose(adjusted_mutual_information(labels, clusters), 0, atol=1e-9)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("labels, clusters", [([1, 2], [1]), ([], []), ([[1, 2]], [[1, 2]])])
def test_wrong_shapes_are_refused(as_a_user, score, labels, clusters):
    with pytest.raises(ArgumentError, match="one value an item"):
        score(labels, clusters)


@pytest.mark.parametrize("score", [normalized_mutual_information, adjusted_mutual_information])
def test_unknown_averages_are_refused(as_a_user, score):
    with pytest.raises(ArgumentError, match="`average` must be one of 'arithmetic'"):
        score([0, 1], [0, 1], average="mean")
