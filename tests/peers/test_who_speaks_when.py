"""The figures of ``docs/results/who_speaks_when``, by pyannote.metrics: the parts of a clustering's errors."""

import numpy as np
import pytest

from jaxspk.metrics import diarization_error_rate
from jaxspk.systems import Windowed, track_turns, unit_rows

pytest.importorskip("pyannote.metrics", reason="pyannote.metrics is not installed: pip install 'jaxspk[peers]'")


def test_errors_of_tracked_turns_are_pyannotes():
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    rng = np.random.default_rng(0)
    reference = [(0.3, 4.1, "ann"), (4.0, 7.7, "bob"), (8.2, 9.0, "ann"), (9.5, 14.0, "cleo"), (13.0, 15.5, "bob")]
    stretches = np.array([[0, 7600], [8100, 15_800]])
    spans = np.concatenate(
        [[[at, at + 1000] for at in range(0, 6601, 400)], [[at, at + 1000] for at in range(8100, 14_801, 400)]]
    )
    speakers = ["ann", "bob", "cleo"]
    middles = spans.mean(1) / 1000
    said = [next((who for start, end, who in reference if start <= at < end), "ann") for at in middles]
    points = unit_rows(np.eye(3)[[speakers.index(who) for who in said]] + 0.4 * rng.normal(size=(len(spans), 3)))
    [turns] = track_turns([Windowed(stretches, spans, points)], np.eye(3), 1000)
    found = [(start / 1000, end / 1000, str(voice)) for start, end, voice in turns]

    def annotation(turns):
        made = Annotation()
        for track, (start, end, speaker) in enumerate(turns):
            made[Segment(start, end), track] = speaker
        return made

    whole = Timeline([Segment(0.0, 20.0)])
    theirs = DiarizationErrorRate()(annotation(reference), annotation(found), uem=whole, detailed=True)
    ours = diarization_error_rate(reference, found)
    parts = ("missed detection", "false alarm", "confusion", "total")
    np.testing.assert_allclose(ours[:4], [theirs[part] for part in parts], atol=1e-9)
    assert 0.05 < ours.rate < 0.5
