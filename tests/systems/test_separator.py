import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxspk import audio
from jaxspk.errors import ArgumentError


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 11025])
@pytest.mark.parametrize("masks", ["soft", "binary"])
def test_voices_have_the_recordings_rate_and_length_and_add_up(tiny_separator, two_voices, sample_rate, masks):
    recording = audio.resample(two_voices.sum(0), 8000, sample_rate)
    if sample_rate > 8000:
        hiss = np.random.default_rng(0).standard_normal(len(recording)).astype(np.float32)
        recording = recording + 0.003 * hiss
    voices = tiny_separator.separate(recording, sample_rate, masks=masks)
    assert voices.shape == (2, len(recording))
    assert voices.dtype == np.float32
    np.testing.assert_allclose(voices.sum(0), recording, atol=3e-6 * np.abs(recording).max())


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_the_number_of_voices_may_differ_from_training(tiny_separator, two_voices, speakers):
    voices = tiny_separator.separate(two_voices.sum(0), 8000, speakers)
    assert len(voices) == speakers
    energies = np.square(voices).sum(1)
    assert (np.diff(energies) <= 0).all()


@pytest.mark.parametrize("level", [1e-6, 1.0, 300.0])
def test_the_level_of_a_recording_does_not_matter(tiny_separator, two_voices, level):
    recording = two_voices.sum(0)
    once = tiny_separator.separate(recording, 8000)
    scaled = tiny_separator.separate((level * recording).astype(np.float32), 8000)
    np.testing.assert_allclose(scaled / level, once, atol=1e-4 * np.abs(recording).max())


def test_the_same_seed_gives_the_same_voices(tiny_separator, two_voices):
    first, second = (tiny_separator.separate(two_voices.sum(0), 8000, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@settings(max_examples=8)
@given(samples=st.integers(832, 6000))
def test_any_length_is_separated(tiny_separator, samples):
    recording = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    voices = tiny_separator.separate(recording, 8000)
    np.testing.assert_allclose(voices.sum(0), recording, atol=2e-5)


@pytest.mark.parametrize(
    "waveform, problem",
    [
        (np.zeros(8000, np.float32), "silent"),
        (np.ones(100, np.float32), "lasts 0.013 s; at least 0.104 s"),
        (np.full(8000, np.nan, np.float32), "not finite"),
        (np.ones((2, 8000), np.float32), "must have one axis"),
        (np.ones(8000, np.int16), "must be floating"),
    ],
    ids=["silent", "short", "nan", "stereo", "integers"],
)
def test_what_cannot_be_separated_is_refused(as_a_user, tiny_separator, waveform, problem):
    with pytest.raises(ArgumentError, match=problem):
        tiny_separator.separate(waveform, 8000)


def test_wrong_settings_are_refused(as_a_user, tiny_separator, two_voices):
    recording = two_voices.sum(0)
    with pytest.raises(ArgumentError, match="`speakers` must be at least 2, got 1"):
        tiny_separator.separate(recording, 8000, 1)
    with pytest.raises(ArgumentError, match='`masks` must be "soft" or "binary"'):
        tiny_separator.separate(recording, 8000, masks="hard")


def test_masks_of_an_analysis_sum_to_one(tiny_separator, two_voices):
    found = tiny_separator.analyze(two_voices.sum(0), 3)
    np.testing.assert_allclose(found.masks.sum(0), 1, atol=1e-5)
    assert found.masks.shape == (3, *found.mixture.shape)
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-5)
