"""Features against librosa, scipy and the golden values of the VoxCeleb trainer's front end (torchaudio)."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal

from jaxspk.audio import MelConfig, log_magnitude, log_mel, mel_filterbank, mel_spectrogram, mfcc, pre_emphasis
from jaxspk.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("strict_promotion")
GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_frontend.json").read_text())


def noise(*shape, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, shape).astype(dtype))


def golden_signal():
    """As the golden file's `signal` says."""
    n = np.arange(3200)
    tone = 0.5 * np.sin(2 * np.pi * 440 * n / 16000)
    return jnp.asarray(tone + 0.25 * np.sin(2 * np.pi * 2000 * n / 16000 + 0.3) * (n > 1600))


def test_log_magnitude_is_floored_below_the_maximum_of_each_utterance():
    spectra = jnp.array([[[1.0, -0.1], [1e-4, 0.0]], [[100j, 1.0], [0.05, 0.2]]], jnp.complex64)
    expected = np.log([[[1, 0.1], [1e-3, 1e-3]], [[100, 1], [0.1, 0.2]]])
    np.testing.assert_allclose(log_magnitude(spectra), expected, rtol=1e-5)
    np.testing.assert_allclose(log_magnitude(spectra, floor_db=20.0)[0], np.log([[1, 0.1], [0.1, 0.1]]), rtol=1e-5)


def test_log_magnitude_moves_with_the_level_and_keeps_its_shape():
    spectrum = noise(5, 9)
    np.testing.assert_allclose(log_magnitude(spectrum * 1e-3), log_magnitude(spectrum) + np.log(1e-3), atol=1e-5)


def test_silence_has_a_finite_logarithm_and_a_zero_gradient():
    silence = jnp.zeros((2, 3, 4), jnp.complex64)
    assert jnp.isfinite(log_magnitude(silence)).all()
    gradient = jax.grad(lambda x: log_magnitude(x).sum())(jnp.zeros((3, 4)))
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(
    "rate, n_fft, mels, low, high",
    [(16000, 512, 40, 0.0, None), (8000, 256, 20, 60.0, 3800.0), (44100, 2048, 128, 0.0, None)],
)
def test_the_filterbank_is_librosas(scale, norm, rate, n_fft, mels, low, high):
    actual = mel_filterbank(
        sample_rate=rate, n_fft=n_fft, num_mels=mels, low_hz=low, high_hz=high, scale=scale, norm=norm
    )
    expected = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=mels, fmin=low, fmax=high, htk=scale == "htk", norm=norm, dtype=np.float64
    )
    np.testing.assert_allclose(actual, expected.T, atol=1e-12)


def test_the_filterbank_is_torchaudios():
    filters = mel_filterbank(sample_rate=16000, n_fft=512, num_mels=40)
    golden = GOLDEN["fbank40"]
    np.testing.assert_allclose(filters.sum(), golden["sum"], rtol=1e-6)  # torchaudio's is float32
    for bin_index, value in golden["filter0_nonzero"]:
        np.testing.assert_allclose(filters[bin_index, 0], value, rtol=1e-5)


def test_empty_filters_are_refused_unless_allowed(as_a_user):
    with pytest.raises(ArgumentError, match="6 of 100 mel filters hold no bin"):
        mel_filterbank(sample_rate=16000, n_fft=256, num_mels=100)
    filters = mel_filterbank(sample_rate=16000, n_fft=256, num_mels=100, allow_empty=True)
    assert np.flatnonzero(filters.max(0) == 0).tolist() == [0, 1, 4, 7, 10, 15]


@pytest.mark.parametrize(
    "key, config, emphasis",
    [
        ("ResNetSE34L_hamming40", MelConfig(), False),
        ("paper_era_hann40", MelConfig(window="hann"), False),
        ("ResNetSE34V2_preemph_hamming64", MelConfig(num_mels=64), True),
    ],
)
def test_the_front_end_is_the_golden_one(key, config, emphasis, x64):
    golden, signal = GOLDEN[key], golden_signal()
    if emphasis:
        signal = pre_emphasis(signal, before="reflect")
        np.testing.assert_allclose(signal[:5], GOLDEN["preemphasis_first5"], rtol=1e-6)
    mel = mel_spectrogram(signal, config)
    assert [1, *mel.T.shape] == golden["mel_shape"]
    # The golden filters went through float32.
    np.testing.assert_allclose(mel[10, :8], golden["mel_frame10_first8"], rtol=1e-4)
    np.testing.assert_allclose(mel.sum(), golden["mel_sum"], rtol=1e-6)
    np.testing.assert_allclose(log_mel(signal, config)[10, :8], golden["log_frame10_first8"], rtol=1e-4)


@pytest.mark.parametrize(
    "window, power, padding",
    [("hann", 1.0, "reflect"), ("hamming", 2.0, "zero"), ("hann", 2.0, "none"), ("hamming", 1.5, "none")],
)
def test_the_mel_spectrum_is_librosas(window, power, padding, x64):
    waveform = noise(2, 3000, dtype=np.float64)
    config = MelConfig(
        sample_rate=8000, n_fft=256, window_length=200, hop_length=80, num_mels=20, window=window, power=power,
        padding=padding,
    )  # fmt: skip
    expected = librosa.feature.melspectrogram(
        y=np.asarray(waveform), sr=8000, n_fft=256, win_length=200, hop_length=80, n_mels=20, window=window,
        power=power, htk=True, norm=None, center=padding != "none",
        pad_mode="reflect" if padding == "reflect" else "constant", dtype=np.complex128,
    )  # fmt: skip
    actual = mel_spectrogram(waveform, config)
    np.testing.assert_allclose(actual, expected.swapaxes(-1, -2), rtol=1e-6)


@pytest.mark.parametrize("lifter", [0.0, 22.0])
def test_cepstra_are_librosas_and_scipys(lifter):
    waveform = noise(8000)
    features = np.asarray(log_mel(waveform))
    actual = mfcc(waveform, num_coefficients=13, lifter=lifter)
    expected = librosa.feature.mfcc(S=features.T, n_mfcc=13, lifter=lifter).T
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    if not lifter:
        np.testing.assert_allclose(actual, scipy.fft.dct(features, norm="ortho")[:, :13], atol=1e-4)


def test_half_precision_is_computed_in_single():
    waveform = noise(1000).astype(jnp.bfloat16)
    np.testing.assert_array_equal(mel_spectrogram(waveform), mel_spectrogram(waveform.astype(jnp.float32)))


@pytest.mark.parametrize("features", [mel_spectrogram, log_mel, mfcc])
def test_silence_is_finite_with_a_finite_gradient(features):
    config = MelConfig(power=1.0)
    value, gradient = jax.value_and_grad(lambda x: features(x, config).sum())(jnp.zeros(800))
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


def test_pre_emphasis_is_scipys_filter():
    waveform = noise(3, 100)
    expected = scipy.signal.lfilter([1, -0.97], [1], waveform)
    np.testing.assert_allclose(pre_emphasis(waveform), expected, atol=1e-6)


@pytest.mark.parametrize("before, first", [("zero", 2.0), ("repeat", 1.0), ("reflect", 0.5)])
def test_what_stands_before_the_first_sample_is_a_choice(before, first):
    emphasized = pre_emphasis(jnp.array([2.0, 3.0]), coefficient=0.5, before=before)
    np.testing.assert_allclose(emphasized, [first, 2.0])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: log_magnitude(jnp.ones((2, 2)), floor_db=0.0), "`floor_db` must lie in (0, inf)"),
        (lambda: log_magnitude(jnp.ones(2)), "`spectrum` must have at least 2 axes"),
        (lambda: pre_emphasis(jnp.ones(1), before="reflect"), "at least 2 sample(s), got 1"),
        (lambda: mel_spectrogram(jnp.ones(256)), "at least 257 samples for n_fft=512 and padding='reflect', got 256"),
        (lambda: MelConfig(window_length=513), "`window_length` must lie in [1, 512]"),
        (lambda: MelConfig(window="kaiser"), "`window` must be one of 'hamming', 'hann'"),
        (lambda: mfcc(jnp.ones(999), num_coefficients=41), "`num_coefficients` must lie in [1, 40]"),
        (lambda: log_mel(jnp.ones(999), offset=0.0), "`offset` must lie in (0, inf)"),
        (lambda: mel_filterbank(sample_rate=8000, n_fft=256, num_mels=9, high_hz=5000.0), "`high_hz` must lie in"),
        (lambda: mel_filterbank(sample_rate=8000, n_fft=256, num_mels=9, low_hz=4000.0), "`low_hz` must lie in"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, message, as_a_user):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        make()
