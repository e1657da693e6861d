"""Cepstral frames: those of `mfcc` whatever the length, neighbours, normalisation, pauses left out."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import audio
from jaxspk.audio import CepstraConfig, MelConfig, SpeechFrames, speech_frames
from jaxspk.errors import ArgumentError

RATE = 8000
MEL = MelConfig(sample_rate=RATE, n_fft=256, window_length=200, hop_length=80, num_mels=20)


def config(**changes):
    return CepstraConfig(**{"mel": MEL, "coefficients": 12, **changes})


def noise(samples, *, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


@pytest.mark.parametrize("samples, padding", [(300, "reflect"), (64_001, "reflect"), (7999, "zero")])
def test_cepstra_are_those_of_mfcc(samples, padding):
    settings = config(mel=MelConfig(**{**vars(MEL), "padding": padding}), pre_emphasis=0.9, lifter=22.0, first=2)
    waveform = noise(samples)
    emphasized = audio.pre_emphasis(jnp.asarray(waveform), coefficient=0.9, before="reflect")
    expected = audio.mfcc(emphasized, settings.mel, num_coefficients=13, lifter=22.0)[:, 2:]
    frames = speech_frames(waveform, settings)
    assert settings.dim == 11 and frames.cepstra.shape == (1 + samples // 80, 11)
    np.testing.assert_allclose(frames.cepstra, expected, rtol=1e-3, atol=1e-3)


def test_pauses_are_left_out():
    waveform = noise(RATE)
    waveform[2000:6000] *= 1e-4
    speech = speech_frames(waveform, config(threshold_db=30.0)).speech
    assert set(speech) == set(range(101)) - set(range(27, 74)) or {0, 100} <= set(speech)
    inside = (speech * 80 > 2200) & (speech * 80 < 5800)
    assert not inside.any() and len(speech) > 45


@pytest.mark.parametrize("how", ["mean", "mean_variance"])
def test_what_is_taken_out_is_measured_on_speech(how):
    waveform = noise(RATE)
    waveform[2000:6000] *= 1e-4
    frames = speech_frames(waveform, config(normalize=how))
    spoken = frames.cepstra[frames.speech]
    np.testing.assert_allclose(spoken.mean(0), 0, atol=1e-4)
    if how == "mean_variance":
        np.testing.assert_allclose(spoken.std(0), 1, rtol=1e-3)


def test_neighbours_stand_beside_each_frame_and_ends_repeat():
    frames = SpeechFrames(np.arange(10, dtype=np.float32).reshape(5, 2), np.array([0, 2, 4]))
    rows = frames.with_context(1)
    np.testing.assert_array_equal(rows, [[0, 1, 0, 1, 2, 3], [2, 3, 4, 5, 6, 7], [6, 7, 8, 9, 8, 9]])
    np.testing.assert_array_equal(frames.with_context(0, np.array([1])), [[2, 3]])
    assert config(context=3).inputs == 12 * 7


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mel": MelConfig(padding="none")}, "padded"),
        ({"coefficients": 20}, "coefficients"),
        ({"first": 13}, "first"),
        ({"normalize": "median"}, "normalize"),
        ({"threshold_db": 0.0}, "threshold_db"),
    ],
)
def test_refuses_settings_that_make_no_frames(changes, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        config(**changes)
