"""All numbers of a million scored trials, against scikit-learn's ROC and isotonic regression, on one thread."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks._frame import Case, Comparison, Figure, Peer, Run
from jaxspk.metrics import cllr, equal_error_rate, min_cllr, min_dcf, summarize_verification

_TRIALS = 1_000_000


def _trials(count: int = _TRIALS) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of one speaker; unit normals 2.5 apart, an equal error rate of about 11 %."""
    rng = np.random.default_rng(0)
    labels = rng.random(count) < 0.1
    return rng.normal(size=count) + 2.5 * labels, labels


def _cases() -> Sequence[Case]:
    scores, labels = _trials()
    return [
        _case("equal error rate", lambda: [equal_error_rate(scores, labels).eer], _roc_rate, scores, labels),
        _case("least Cllr", lambda: [min_cllr(scores, labels)], _isotonic_cllr, scores, labels),
    ]


def _case(
    name: str, ours: Run, theirs: Callable[[np.ndarray, np.ndarray], Run], scores: np.ndarray, labels: np.ndarray
) -> Case:
    peer = Peer(name="scikit-learn", prepare=functools.partial(theirs, scores, labels), at_least=1)
    return Case(name=f"{name}, a million trials", ours=ours, peers=[peer], check=_check)


def _roc_rate(scores: np.ndarray, labels: np.ndarray) -> Run:
    from sklearn.metrics import roc_curve

    def run() -> list[float]:
        false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
        nearest = np.argmin(np.abs(false_alarms - (1 - hits)))
        return [float(false_alarms[nearest] + 1 - hits[nearest]) / 2]

    return run


def _isotonic_cllr(scores: np.ndarray, labels: np.ndarray) -> Run:
    from sklearn.isotonic import IsotonicRegression

    def run() -> list[float]:
        posterior = IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, labels)
        with np.errstate(divide="ignore"):
            ratios = np.log(posterior) - np.log1p(-posterior) - np.log(labels.sum() / (~labels).sum())
        return [cllr(ratios, labels)]

    return run


def _check(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def _figures() -> Sequence[Figure]:
    scores, labels = _trials()
    halves = _trials(_TRIALS // 2)

    def everything() -> None:
        equal_error_rate(scores, labels)
        min_dcf(scores, labels, p_target=0.01)
        min_dcf(scores, labels, p_target=0.05)
        cllr(scores, labels)
        min_cllr(scores, labels)

    return [
        Figure(
            name="EER, minDCF at 0.01 and 0.05, Cllr, least Cllr, one after another",
            measure=lambda: _seconds(everything),
            unit="s",
            at_most=2,
        ),
        Figure(
            name="the same at once, with a bootstrap interval of 1,000 resamples",
            measure=lambda: _seconds(lambda: summarize_verification(scores, labels)),
            unit="s",
            at_most=2,
        ),
        Figure(
            name="time for twice as many trials",
            measure=lambda: (
                _seconds(lambda: summarize_verification(scores, labels))
                / _seconds(lambda: summarize_verification(*halves))
            ),
            unit="×",
            at_most=3,
        ),
        Figure(
            name="memory per trial, beyond scores and labels",
            measure=lambda: _peak_bytes(lambda: summarize_verification(scores, labels)) / _TRIALS,
            unit="bytes",
            at_most=250,
        ),
    ]


def _seconds(work: Callable[[], Any]) -> float:
    """The median of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _peak_bytes(work: Callable[[], Any]) -> float:
    """Of what NumPy allocates."""
    import tracemalloc

    tracemalloc.start()
    try:
        work()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


COMPARISON = Comparison(
    title="Scores of a million verification trials, one thread each", cases=_cases, figures=_figures, threads=1
)
