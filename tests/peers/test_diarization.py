"""Diarization errors against pyannote.metrics."""

import numpy as np
import pytest

from jaxspk.metrics import diarization_error_rate

pytest.importorskip("pyannote.metrics", reason="pyannote.metrics is not installed: pip install 'jaxspk[peers]'")


def annotation(turns):
    from pyannote.core import Annotation, Segment

    made = Annotation()
    for track, (start, end, speaker) in enumerate(turns):
        made[Segment(start, end), track] = speaker
    return made


def conversation(rng, speakers, *, shift=0.0):
    """Turns one behind the other with overlaps and pauses; no speaker twice in a row."""
    turns, time, last = [], 0.0, None
    for _ in range(12):
        speaker = rng.choice([name for name in speakers if name != last])
        start = max(time + rng.uniform(-1.0, 1.0), 0.0)
        time = start + rng.uniform(1.0, 4.0)
        turns.append((start + shift * rng.normal(), time + shift * rng.normal(), speaker))
        last = speaker
    return turns


@pytest.mark.parametrize("collar", [0.0, 0.25])
@pytest.mark.parametrize("skip_overlap", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_parts_are_pyannotes(seed, collar, skip_overlap):
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    rng = np.random.default_rng(seed)
    # Spread so that no speaker overlaps himself, which counts twice there and once here.
    reference = conversation(np.random.default_rng(seed), "abcd")
    hypothesis = conversation(np.random.default_rng(seed), "1234", shift=0.1)
    hypothesis = [
        (start, end, rng.choice(list("12345")) if rng.random() < 0.2 else name) for start, end, name in hypothesis
    ]
    whole = Timeline([Segment(0.0, 100.0)])
    # Theirs is the sum of both sides.
    theirs = DiarizationErrorRate(collar=2 * collar, skip_overlap=skip_overlap)(
        annotation(_merged(reference)), annotation(_merged(hypothesis)), uem=whole, detailed=True
    )
    ours = diarization_error_rate(
        _clipped(reference), _clipped(hypothesis), collar_seconds=collar, skip_overlap=skip_overlap
    )
    np.testing.assert_allclose(
        [ours.missed, ours.false_alarm, ours.confusion, ours.total, ours.rate],
        [
            theirs["missed detection"],
            theirs["false alarm"],
            theirs["confusion"],
            theirs["total"],
            theirs["diarization error rate"],
        ],
        atol=1e-9,
    )


def _clipped(turns):
    return [(max(start, 0.0), end, name) for start, end, name in turns]


def _merged(turns):
    """A speaker's overlapping turns as one."""
    merged = []
    for start, end, name in sorted(_clipped(turns), key=lambda turn: (turn[2], turn[0])):
        if merged and merged[-1][2] == name and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end), name)
        else:
            merged.append((start, end, name))
    return merged
