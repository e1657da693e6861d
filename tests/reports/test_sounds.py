import base64
import io
import re

import numpy as np
import pytest
import soundfile

from jaxspk import reports
from jaxspk.errors import ArgumentError
from jaxspk.reports import _sounds


def decoded(uri: str) -> tuple[np.ndarray, int]:
    header, _, data = uri.partition(",")
    assert header == "data:audio/wav;base64"
    return soundfile.read(io.BytesIO(base64.b64decode(data)))


def test_a_sound_is_played_as_it_is_but_for_its_level():
    waveform = np.sin(np.arange(800) / 7).astype(np.float32) * 3
    sound = reports.Sound(waveform, 16000, "loud")
    samples, rate = decoded(_sounds.data_uri(sound, sound.peak))
    assert rate == 16000
    np.testing.assert_allclose(samples, waveform * _sounds.PEAK / np.abs(waveform).max(), atol=2 / 32768)


def test_sounds_of_a_group_keep_their_relative_level():
    loud, soft = (reports.Sound(np.full(10, level), 8000, "x") for level in (2.0, 0.5))
    group = reports.Sounds("t", {"a": [loud], "b": [soft]})
    assert group.peak == 2.0
    samples = [decoded(_sounds.data_uri(sound, group.peak))[0] for sound in (loud, soft)]
    np.testing.assert_allclose(samples[0], 4 * samples[1], atol=4 / 32768)


def test_silence_is_silent():
    sound = reports.Sound(np.zeros(5), 8000, "nothing")
    assert not decoded(_sounds.data_uri(sound, sound.peak))[0].any()
    assert reports.Sounds("t", {}).peak == 0.0


@pytest.mark.parametrize("samples", [1, 3, 239, 240, 241, 9999])
def test_the_outline_fills_its_box_and_no_more(samples):
    waveform = np.random.default_rng(samples).standard_normal(samples)
    sound = reports.Sound(waveform, 8000, "noise")
    points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", _sounds.outline(sound, sound.peak)), float)
    assert points[:, 0].min() == 0 and points[:, 0].max() == (_sounds.COLUMNS if samples > 1 else 0)
    assert points[:, 1].min() == 1 and points[:, 1].max() == _sounds.HEIGHT - 1


@pytest.mark.parametrize(
    "waveform, rate, message",
    [
        (np.zeros(0), 8000, "'a.wav'.*not empty"),
        (np.zeros((2, 3)), 8000, r"\[samples\].*\(2, 3\)"),
        (np.array([0.0, np.nan]), 8000, "'a.wav'.*NaN"),
        (np.zeros(3), 0, "sample_rate"),
    ],
)
def test_what_cannot_be_played_is_refused(as_a_user, waveform, rate, message):
    with pytest.raises(ArgumentError, match=message):
        reports.Sound(waveform, rate, "a.wav")
