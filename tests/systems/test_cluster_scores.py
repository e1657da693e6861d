"""Scores of clusters beside those of noise, against the known chance levels (golden: u_vectors_metrics.json)."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxspk.errors import ArgumentError
from jaxspk.systems import draw_items, noise_floor, pool_items, score_clusters, score_embeddings

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "u_vectors_metrics.json").read_text())


@pytest.mark.parametrize(
    "row, speakers, each, sampling",
    [
        ("ground_code_50spk", 50, 50, "released"),
        ("ground_code_150spk", 150, 50, "released"),
        ("ground_paper_10frames_per_spk_25", 25, 50, "ten"),
        ("train_code_150spk_1500cls", 1500, 5, "released"),
    ],
)
def test_noise_reaches_the_known_scores(row, speakers, each, sampling):
    golden = GOLDEN["chance_level"][row]
    # Not the row of 25 speakers: a mean of five draws, far above the mean of thirty (0.43, 0.71).
    labels = np.repeat(np.arange(speakers), each)
    noise = noise_floor(labels, dim=12, sampling=sampling, draws=1 if speakers > 1000 else 4)
    assert len(draw_items(labels, sampling, seed=0)) == golden["frames"]
    assert noise.accuracy == pytest.approx(golden["ACC"], abs=0.025)
    assert noise.nmi == pytest.approx(golden["NMI_arithmetic"], abs=0.015)
    assert noise.ari == pytest.approx(0.0, abs=0.02)
    assert noise.ami == pytest.approx(0.0, abs=0.04)


@pytest.mark.parametrize("example", ["a", "b"])
def test_scores_are_the_golden_ones(example):
    golden = GOLDEN["clustering_examples"][example]
    found = score_clusters(np.array(golden["true"]), np.array(golden["pred"]))
    np.testing.assert_allclose(found[:3], [golden["ACC"], golden["NMI_arithmetic"], golden["ARI"]], rtol=1e-9)


def embeddings_of(labels: np.ndarray, spread: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 4 * rng.standard_normal((labels.max() + 1, 12))[labels] + spread * rng.standard_normal((len(labels), 12))


def test_good_embeddings_score_far_above_noise():
    labels = np.repeat(np.arange(8), 20)
    scored = score_embeddings(embeddings_of(labels, 0.3), labels)
    assert (scored.items, scored.classes, scored.clusters) == (160, 8, 8)
    assert scored.scores.ari > 0.95
    assert scored.noise.ari < 0.1
    columns = scored.columns()
    assert columns["accuracy"] == scored.scores.accuracy
    assert columns["noise_nmi"] == scored.noise.nmi


def test_the_released_sampling_has_columns_of_its_own():
    labels = np.repeat(np.arange(8), 20)
    columns = score_embeddings(embeddings_of(labels, 0.3), labels, sampling="released").columns()
    assert columns["items"] == 16
    assert "accuracy_two_a_class" in columns and "noise_nmi_two_a_class" in columns
    assert "accuracy" not in columns and "nmi" not in columns


def test_the_number_of_clusters_may_be_estimated():
    labels = np.repeat(np.arange(6), 20)
    scored = score_embeddings(embeddings_of(labels, 0.1), labels, clusters="auto")
    assert scored.clusters == 6
    assert scored.scores.accuracy == 1.0


def test_ten_of_each_class_or_all_it_has():
    labels = np.repeat([0, 1, 2], [30, 10, 4])
    drawn = draw_items(labels, "ten", seed=1)
    assert np.bincount(labels[drawn]).tolist() == [10, 10, 4]
    assert drawn.tolist() != draw_items(labels, "ten", seed=2).tolist()
    np.testing.assert_array_equal(draw_items(labels, "all", seed=0), np.arange(44))


def test_frames_are_pooled_to_segments():
    embeddings = np.arange(12.0).reshape(6, 2)
    means, labels = pool_items(embeddings, np.array([1, 1, 0, 0, 0, 1]), np.array([3, 3, 5, 5, 5, 9]))
    np.testing.assert_allclose(means, [[1, 2], [6, 7], [10, 11]])
    assert labels.tolist() == [1, 0, 1]
    with pytest.raises(ArgumentError, match="group 3 of two"):
        pool_items(embeddings, np.array([1, 0, 0, 0, 0, 1]), np.array([3, 3, 5, 5, 5, 9]))


def test_what_cannot_be_is_refused(as_a_user):
    with pytest.raises(ArgumentError, match="`sampling` must be one of"):
        draw_items(np.zeros(3, int), "some", seed=0)
    with pytest.raises(ArgumentError, match="one a row of `embeddings`"):
        score_embeddings(np.zeros((3, 2)), np.zeros(4, int))
