"""How fast the packaged separator is: share of a recording's duration that separating it takes, two cores."""

import functools
import time
from collections.abc import Sequence

import numpy as np

from benchmarks._frame import Case, Comparison, Figure

_SECONDS, _SAMPLE_RATE, _REPEATS = 60, 16000, 5


@functools.cache
def _measured() -> dict[str, float]:
    """One process, one recording: loading, the first call (which compiles), then the median of the next ones."""
    from jaxspk import Separator
    from jaxspk.systems import sample_mixtures

    samples = np.concatenate([mixture.mixture for mixture in sample_mixtures(_SAMPLE_RATE)])
    recording = np.resize(samples, _SECONDS * _SAMPLE_RATE)
    times = [time.perf_counter()]
    separator = Separator.load()
    times.append(time.perf_counter())
    for _ in range(1 + _REPEATS):
        separator.separate(recording, _SAMPLE_RATE)
        times.append(time.perf_counter())
    loading, first, *later = np.diff(times)
    return {"loading": loading, "first": first, "factor": float(np.median(later)) / _SECONDS}


def _figures() -> Sequence[Figure]:
    return [
        Figure(name="loading the packaged weights", measure=lambda: _measured()["loading"], unit="s"),
        Figure(name="first call, compilation included", measure=lambda: _measured()["first"], unit="s"),
        Figure(
            name=f"real-time factor of {_SECONDS} s at {_SAMPLE_RATE // 1000} kHz, compilation excluded",
            measure=lambda: _measured()["factor"],
            unit="",
            at_most=0.1,
        ),
    ]


def _no_cases() -> Sequence[Case]:
    return ()


COMPARISON = Comparison(title="Separating a minute with the packaged weights", cases=_no_cases, figures=_figures)
