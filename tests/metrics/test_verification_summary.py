import json
import time

import numpy as np
import pytest

from jaxspk.errors import ArgumentError
from jaxspk.metrics import cllr, equal_error_rate, min_cllr, min_dcf, summarize_verification


def trials(count: int):
    rng = np.random.default_rng(0)
    labels = rng.random(count) < 0.2
    return rng.normal(size=count) + 2 * labels, labels


def test_the_numbers_are_those_of_their_own_functions():
    scores, labels = trials(500)
    summary = summarize_verification(scores, labels, resamples=50, p_targets=(0.01, 0.5))
    assert (summary.eer, summary.eer_threshold) == equal_error_rate(scores, labels)
    for p_target in (0.01, 0.5):
        np.testing.assert_allclose(summary.min_dcf[p_target], min_dcf(scores, labels, p_target=p_target), rtol=1e-12)
    np.testing.assert_allclose([summary.cllr, summary.min_cllr], [cllr(scores, labels), min_cllr(scores, labels)])
    assert (summary.targets, summary.nontargets) == (labels.sum(), (~labels).sum())
    assert summary.eer_interval.low < summary.eer < summary.eer_interval.high


def test_as_json():
    summary = summarize_verification(*trials(50), resamples=0)
    described = json.loads(json.dumps(summary.to_dict()))
    assert described["eer_interval"] is None
    assert set(described["min_dcf"]) == {"0.01", "0.05"}


def test_a_million_trials_take_less_than_two_seconds_with_the_interval():
    scores, labels = trials(1_000_000)
    start = time.process_time()
    summarize_verification(scores, labels)
    assert time.process_time() - start < 2


def test_a_negative_number_of_resamples_is_refused(as_a_user):
    with pytest.raises(ArgumentError, match="`resamples`"):
        summarize_verification([0.0, 1.0], [0, 1], resamples=-1)
