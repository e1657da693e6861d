"""Speakers as Gaussians of codes: shrinkage, distances of two and of all pairs."""

import numpy as np
import pytest

from jaxspk import systems
from jaxspk.errors import ArgumentError
from jaxspk.systems import DISTANCES, distance_table, speaker_statistics


def codes(seed, frames=50, units=4, shift=0.0):
    return np.clip(np.random.default_rng(seed).normal(0.5 + shift, 0.1, (frames, units)), 0, 1).astype(np.float32)


def test_mean_and_shrunk_covariance():
    made = codes(0)
    statistics = speaker_statistics(made, shrinkage=0.25)
    covariance = np.cov(made.astype(float), rowvar=False)
    expected = 0.75 * covariance + 0.25 * np.trace(covariance) / 4 * np.eye(4)
    np.testing.assert_allclose(statistics.mean, made.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics.covariance, expected, rtol=1e-6)
    assert statistics.frames == 50
    towards = speaker_statistics(made, shrinkage=1.0, target=2 * np.eye(4))
    np.testing.assert_allclose(towards.covariance, 2 * np.eye(4))


@pytest.mark.parametrize("name", DISTANCES)
def test_fewer_frames_than_units_and_frozen_units_have_distances_too(name):
    few, frozen = codes(0, frames=2, units=6), np.full((5, 6), 0.5, np.float32)
    distance = DISTANCES[name](speaker_statistics(few), speaker_statistics(frozen))
    assert np.isfinite(distance) and distance > 0


@pytest.mark.parametrize("name", DISTANCES)
def test_the_table_holds_the_distances_of_all_pairs(name):
    statistics = [speaker_statistics(codes(seed, shift=0.05 * seed)) for seed in range(4)]
    table = distance_table(statistics, name)
    expected = [[DISTANCES[name](one, other) if one is not other else 0 for other in statistics] for one in statistics]
    np.testing.assert_allclose(table, expected, rtol=1e-8, atol=1e-10)


def test_speakers_are_nearer_to_themselves():
    one, again, other = (speaker_statistics(codes(seed, shift=shift)) for seed, shift in ((0, 0), (1, 0), (2, 0.1)))
    for distance in (systems.trace_distance, systems.kullback_leibler_distance, systems.bhattacharyya_distance):
        assert distance(one, again) < 0.3 * distance(one, other)


@pytest.mark.parametrize(
    "values, changes, message",
    [
        (codes(0, frames=1), {}, "two frames"),
        (codes(0), {"shrinkage": 0.0}, "shrinkage"),
        (np.full((3, 2), np.nan), {}, "finite"),
    ],
)
def test_refuses_what_has_no_covariance(values, changes, message):
    with pytest.raises(ArgumentError, match=message):
        speaker_statistics(values, **changes)
