"""Pictures of frames against the golden values (tensorflow-io) and the definition written out."""

import json
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.audio import (
    FrameFeatureConfig,
    clean_frame_features,
    frame_features,
    linear_to_mel_filters,
    mel_filterbank,
    paper_frame_features,
    released_frame_features,
)
from jaxspk.audio._frame_features import _filters
from jaxspk.errors import ArgumentError

# Computed with tensorflow-io in float64.
GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "u_vectors_features.json").read_text())
SPECTROGRAM, EMPTY = GOLDEN["spectrogram"], GOLDEN["tensorflow_mel"]["empty_index"]


@pytest.fixture
def signal(x64) -> jax.Array:
    n = np.arange(3200)
    low = 0.5 * np.sin(2 * np.pi * 440 * n / 16000)
    return jnp.asarray(low + np.where(n > 1600, 0.25 * np.sin(2 * np.pi * 2000 * n / 16000 + 0.3), 0))


@pytest.fixture
def paper() -> FrameFeatureConfig:
    """Its warning about empty filters taken note of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        _filters(paper_frame_features())
    return paper_frame_features()


def test_the_released_pictures_are_tensorflows(signal):
    picture = np.asarray(frame_features(signal, released_frame_features()))
    assert picture.shape == tuple(SPECTROGRAM["shape"]) == (95, 96)
    np.testing.assert_allclose(picture[20, :12], SPECTROGRAM["frame20_first12"], rtol=1e-10)
    np.testing.assert_allclose(picture[70, :30], SPECTROGRAM["frame70_first30"], rtol=1e-10)
    np.testing.assert_allclose(picture[-1, :8], SPECTROGRAM["last_frame_first8"], rtol=1e-10)
    np.testing.assert_allclose(picture.sum(), SPECTROGRAM["sum"], rtol=1e-11)


def test_the_papers_pictures_are_tensorflows(signal, paper):
    picture = np.asarray(frame_features(signal, paper))
    assert picture.shape == tuple(SPECTROGRAM["mel_tf_shape"]) == (95, 100)
    np.testing.assert_allclose(picture[70, 10:25], SPECTROGRAM["mel_frame70_10_to_25"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(picture.sum(), SPECTROGRAM["mel_sum"], rtol=1e-11)
    assert not picture[:, EMPTY].any()


def test_the_filters_without_a_bin_are_the_known_ones():
    def empty(filters):
        return np.flatnonzero(filters.max(0) == 0).tolist()

    filters = linear_to_mel_filters(sample_rate=16_000, bins=96, num_mels=100)
    assert empty(filters) == EMPTY
    assert np.flatnonzero(filters.max(1) == 0).tolist() == GOLDEN["tensorflow_mel"]["all_zero_bins"]
    for scale, golden in (("htk", "librosa_n_fft191_htk1_normNone"), ("slaney", "librosa_n_fft191_htk0_normNone")):
        ours = mel_filterbank(sample_rate=16_000, n_fft=191, num_mels=100, scale=scale, allow_empty=True)
        assert empty(ours) == GOLDEN["mel_empty_filters"][golden]["empty_index"]


def test_empty_filters_are_complained_of_once():
    config = FrameFeatureConfig(n_fft=191, window_length=128, hop_length=34, scale="htk", num_mels=101)
    with pytest.warns(UserWarning, match="of 101 mel filters hold no bin of a transform of 191 points"):
        frame_features(jnp.ones(3200), config)
    # Warnings are errors here.
    frame_features(jnp.ones(3200), config)


@pytest.mark.parametrize("make", [clean_frame_features, released_frame_features, paper_frame_features])
def test_silence_is_finite_with_a_finite_gradient(make, paper):
    config = make()

    def total(waveform):
        return frame_features(waveform, config).sum()

    assert np.isfinite(frame_features(jnp.zeros(3200), config)).all()
    assert np.isfinite(jax.grad(total)(jnp.zeros(3200))).all()


def test_the_level_changes_a_clean_picture_little_and_a_released_one_in_proportion(signal):
    softer = frame_features(signal / 8, released_frame_features())
    np.testing.assert_allclose(8 * softer, frame_features(signal, released_frame_features()), rtol=1e-9)
    voiced = signal + 0.05 * jax.random.normal(jax.random.key(0), signal.shape)
    clean, soft = frame_features(voiced), frame_features(voiced / 2)
    assert float(jnp.abs(clean - soft).max()) < 0.02
    np.testing.assert_allclose([clean.mean(), clean.std()], [0.0, 1.0], atol=1e-4)


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 3200])
def test_as_many_columns_as_hops_begin(samples):
    config = clean_frame_features()
    assert frame_features(jnp.ones((2, samples)), config).shape == (2, config.columns(samples), config.bands)
    assert config.columns(samples) == -(-samples // 80)


def test_no_samples_and_wrong_sizes_are_refused(as_a_user):
    with pytest.raises(ArgumentError, match="at least one sample"):
        frame_features(jnp.zeros(0))
    with pytest.raises(ArgumentError, match="`window_length` must lie in"):
        FrameFeatureConfig(n_fft=100, window_length=128)
    with pytest.raises(ArgumentError, match="`hop_length` must lie in"):
        FrameFeatureConfig(window_length=100, hop_length=101)
