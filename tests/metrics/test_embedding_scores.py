import json
from pathlib import Path

import numpy as np
import pytest

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.metrics import cosine_scores, crop_distance_scores

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_scoring.json").read_text())
CASE = GOLDEN["trial_score_10x10"]


def test_golden_score_of_ten_crops_against_ten():
    np.testing.assert_allclose(crop_distance_scores(CASE["e1"], CASE["e2"]), CASE["score_normalised"], atol=1e-10)


def test_golden_mean_cosine():
    one, other = np.array(CASE["e1"])[:, None], np.array(CASE["e2"])[None]
    np.testing.assert_allclose(cosine_scores(one, other).mean(), CASE["mean_cosine_for_comparison"], atol=1e-10)


def test_equal_crops_are_at_distance_zero():
    crops = np.tile([[0.1, -0.7, 3.0]], (10, 1))
    np.testing.assert_allclose(crop_distance_scores(crops, 5 * crops), 0, atol=1e-7)


@pytest.mark.parametrize("score, axes", [(cosine_scores, ()), (crop_distance_scores, (4,))])
def test_batches_are_scored_pair_by_pair(score, axes):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(6, *axes, 5)), rng.normal(size=(6, *axes, 5))
    together = score(one, other)
    np.testing.assert_allclose(together, [score(a, b) for a, b in zip(one, other, strict=True)])
    np.testing.assert_allclose(score(one[0], other), [score(one[0], b) for b in other])
    np.testing.assert_allclose(score(1e-200 * one, 1e200 * other), together)


@pytest.mark.parametrize("score", [cosine_scores, crop_distance_scores])
@pytest.mark.parametrize(
    "one, other, message",
    [
        (np.ones((2, 3)), np.ones((2, 4)), "got shapes"),
        (np.ones((2, 2, 3)), np.ones((3, 2, 3)), "got shapes"),
        (np.zeros((2, 3)), np.ones((2, 3)), "`enrol` must hold embeddings that are finite and not zero"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), "`test` must hold embeddings that are finite"),
    ],
)
def test_wrong_embeddings_are_refused(as_a_user, score, one, other, message):
    with pytest.raises(ArgumentError, match=message):
        score(one, other)


def test_wrong_dtypes_are_refused(as_a_user):
    with pytest.raises(ArgumentTypeError, match="`enrol`"):
        cosine_scores(["a"], [1.0])
