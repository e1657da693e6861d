"""The paper's oracle: reference permutations, and what it may and may not do."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import audio
from jaxspk.systems import order_like_sources, permutation_costs
from jaxspk.systems._segment_oracle import permutations

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "deep_clustering_masks.json").read_text())
MIXTURE = np.array(GOLDEN["mixture_magnitude"], np.float32)
SOURCES = np.array(GOLDEN["source_magnitude"], np.float32)
MASKS = np.moveaxis(np.eye(2, dtype=np.float32)[np.array(GOLDEN["cluster_label"])], -1, 0)


def costs_of(masks, mixture, sources):
    found = permutation_costs(jnp.asarray(masks * mixture), jnp.asarray(sources))
    return {str(tuple(p.tolist())): float(cost) for p, cost in zip(permutations(2), found, strict=True)}


@pytest.mark.parametrize("number", [0, 1])
def test_reference_costs_and_permutation_of_a_segment(number):
    begin, end = GOLDEN["segments"][number]
    expected = GOLDEN["oracle_per_segment"][number]
    part = slice(begin, end)
    found = costs_of(MASKS[:, part], MIXTURE[part], SOURCES[:, part])
    for permutation, cost in expected["costs"].items():
        np.testing.assert_allclose(found[permutation], cost, rtol=1e-5)
    ordered = order_like_sources(*(jnp.asarray(x) for x in (MASKS[:, part], MIXTURE[part], SOURCES[:, part])))
    for cluster, source in enumerate(expected["cluster_to_source"]):
        np.testing.assert_array_equal(ordered[source], MASKS[cluster, part])


def test_reference_costs_of_the_whole_utterance():
    expected = GOLDEN["single_permutation_whole_utterance"]
    found = costs_of(MASKS, MIXTURE, SOURCES)
    for permutation, cost in expected["costs"].items():
        np.testing.assert_allclose(found[permutation], cost, rtol=1e-5)
    ordered = order_like_sources(jnp.asarray(MASKS), jnp.asarray(MIXTURE), jnp.asarray(SOURCES))
    np.testing.assert_array_equal(ordered, MASKS[expected["cluster_to_source"]])


def test_reference_labels_of_the_ideal_mask_are_their_own_permutation():
    ideal = audio.ideal_binary_mask(jnp.asarray(SOURCES))
    np.testing.assert_array_equal(np.asarray(ideal).argmax(0), GOLDEN["ibm_label"])
    for order in ([0, 1], [1, 0]):
        found = order_like_sources(ideal[jnp.asarray(order)], jnp.asarray(MIXTURE), jnp.asarray(SOURCES))
        np.testing.assert_array_equal(found, ideal)


@pytest.mark.parametrize("shuffle", [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
def test_three_sources_come_back_in_their_order(shuffle):
    sources = jax.random.uniform(jax.random.key(3), (3, 6, 5))
    ideal = audio.ideal_binary_mask(sources)
    found = order_like_sources(ideal[jnp.asarray(shuffle)], sources.sum(0), sources)
    np.testing.assert_array_equal(found, ideal)


def test_a_batch_of_segments_is_each_by_itself():
    sources = jax.random.uniform(jax.random.key(0), (4, 2, 6, 5))
    masks = audio.ideal_binary_mask(sources)
    swapped = masks.at[1].set(masks[1, ::-1]).at[3].set(masks[3, ::-1])
    np.testing.assert_array_equal(order_like_sources(swapped, sources.sum(1), sources), masks)
