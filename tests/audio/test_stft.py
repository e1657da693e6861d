"""Perfect reconstruction, and agreement with scipy's, librosa's and the defining sum."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxspk.audio import istft, num_frames, stft
from jaxspk.errors import ArgumentError, ArgumentTypeError

pytestmark = pytest.mark.usefixtures("strict_promotion")


def noise(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def there_and_back(waveform, n_fft, hop_length):
    spectrum = stft(waveform, n_fft=n_fft, hop_length=hop_length)
    return istft(spectrum, n_fft=n_fft, hop_length=hop_length, length=waveform.shape[-1])


def assert_reconstructs(samples, n_fft, hop_length):
    waveform = noise(samples, seed=samples)
    back = there_and_back(jnp.asarray(waveform), n_fft, hop_length)
    np.testing.assert_allclose(back, waveform, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_fft, hop_length", [(8, 2), (5, 2)])
def test_every_length_from_one_sample_on_is_reconstructed(n_fft, hop_length):
    for samples in range(1, n_fft + 4 * hop_length):
        assert_reconstructs(samples, n_fft, hop_length)


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 191, 192, 193, 255, 256, 257, 319, 320, 448, 449, 6592])
def test_lengths_about_a_hop_are_reconstructed_at_the_papers_setting(samples):
    assert_reconstructs(samples, 256, 64)


@pytest.mark.slow
def test_every_length_is_reconstructed_at_the_papers_setting():
    for samples in range(1, 256 + 4 * 64):
        assert_reconstructs(samples, 256, 64)


@pytest.mark.parametrize("n_fft, hop_length", [(256, 128), (256, 100), (191, 34), (2, 1), (64, 8), (255, 127)])
def test_any_hop_up_to_half_a_frame_is_reconstructed(n_fft, hop_length):
    assert_reconstructs(700, n_fft, hop_length)


def test_double_precision_is_kept(x64):
    waveform = noise(1000, dtype=np.float64)
    spectrum = stft(jnp.asarray(waveform))
    assert spectrum.dtype == jnp.complex128
    np.testing.assert_allclose(istft(spectrum, length=1000), waveform, rtol=0, atol=1e-14)


def test_half_precision_is_computed_in_single():
    waveform = jnp.asarray(noise(1000), jnp.bfloat16)
    np.testing.assert_array_equal(stft(waveform), stft(waveform.astype(jnp.float32)))


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)], ids=str)
def test_batch_axes_are_independent(batch):
    waveform = noise(*batch, 300)
    spectrum = jax.jit(stft)(jnp.asarray(waveform))
    assert spectrum.shape == (*batch, num_frames(300), 129)
    for index in np.ndindex(*batch):
        np.testing.assert_allclose(spectrum[index], stft(jnp.asarray(waveform[index])), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_fft, hop_length, samples", [(16, 4, 21), (10, 3, 7), (9, 2, 1)])
def test_equals_the_defining_sum(n_fft, hop_length, samples, x64):
    waveform = noise(samples, dtype=np.float64)
    before = (-(-n_fft // hop_length) - 1) * hop_length
    expected = np.zeros((num_frames(samples, n_fft, hop_length), n_fft // 2 + 1), complex)
    for t, k in np.ndindex(*expected.shape):
        for m in range(n_fft):
            j = t * hop_length + m - before
            if 0 <= j < samples:
                turn = np.exp(-2j * np.pi * k * m / n_fft)
                expected[t, k] += np.sin(np.pi * m / n_fft) * waveform[j] * turn
    actual = stft(jnp.asarray(waveform), n_fft=n_fft, hop_length=hop_length)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_fft, hop_length", [(256, 64), (512, 128), (256, 128)])
def test_equals_scipy(n_fft, hop_length, x64):
    waveform = noise(2000, dtype=np.float64)
    window = np.sqrt(scipy.signal.get_window("hann", n_fft, fftbins=True))
    frames = num_frames(2000, n_fft, hop_length)
    # scipy counts frames by their centres, the 0th on the first sample.
    first = n_fft // 2 // hop_length - n_fft // hop_length + 1
    transform = scipy.signal.ShortTimeFFT(window, hop_length, 1.0, phase_shift=None)
    expected = transform.stft(waveform, first, first + frames).T
    actual = stft(jnp.asarray(waveform), n_fft=n_fft, hop_length=hop_length)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n_fft, hop_length", [(256, 64), (200, 60)])
def test_equals_librosa(n_fft, hop_length):
    waveform = noise(3000)
    window = np.sqrt(scipy.signal.get_window("hann", n_fft, fftbins=True))
    actual = stft(jnp.asarray(waveform), n_fft=n_fft, hop_length=hop_length)
    before = (-(-n_fft // hop_length) - 1) * hop_length
    after = n_fft + (actual.shape[0] - 1) * hop_length - before - 3000
    expected = librosa.stft(
        np.pad(waveform, (before, after)), n_fft=n_fft, hop_length=hop_length, window=window, center=False
    )
    np.testing.assert_allclose(actual, expected.T, rtol=0, atol=1e-4)


def test_the_inverse_of_an_inconsistent_spectrum_is_nearest_in_squares(x64):
    n_fft, hop_length, samples = 8, 2, 13
    frames = num_frames(samples, n_fft, hop_length)
    rng = np.random.default_rng(0)
    target_frames = rng.standard_normal((frames, n_fft))

    def windowed_frames(waveform):
        return np.fft.irfft(stft(jnp.asarray(waveform), n_fft=n_fft, hop_length=hop_length), n_fft).ravel()

    matrix = np.stack([windowed_frames(row) for row in np.eye(samples)], 1)
    nearest = np.linalg.lstsq(matrix, target_frames.ravel())[0]
    actual = istft(jnp.asarray(np.fft.rfft(target_frames)), n_fft=n_fft, hop_length=hop_length, length=samples)
    np.testing.assert_allclose(actual, nearest, rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences(x64):
    waveform = jnp.asarray(noise(40, dtype=np.float64))
    weights = jnp.asarray(noise(num_frames(40, 16, 4), 9), jnp.complex128)

    def masked(waveform):
        spectrum = stft(waveform, n_fft=16, hop_length=4)
        return jnp.square(istft(spectrum * weights, n_fft=16, hop_length=4, length=40)).sum()

    check_grads(lambda x: masked(jnp.asarray(x)), (waveform,), order=1, modes=["rev", "fwd"], atol=1e-6, rtol=1e-6)


def test_the_compiled_gradient_gathers_and_scatters_nothing():
    spectral = jax.jit(jax.grad(lambda x: jnp.square(jnp.abs(stft(x))).sum()))
    text = spectral.lower(jnp.zeros(1000)).as_text()
    assert "scatter" not in text and "gather" not in text


@given(first=st.floats(-5, 5), second=st.floats(-5, 5))
def test_is_linear(first, second):
    x, y = jnp.asarray(noise(200)), jnp.asarray(noise(200, seed=1))
    np.testing.assert_allclose(stft(first * x + second * y), first * stft(x) + second * stft(y), rtol=0, atol=1e-4)


def test_a_shift_by_a_hop_shifts_the_frames():
    waveform = noise(640)
    shifted = stft(jnp.asarray(np.pad(waveform, (64, 0))))
    np.testing.assert_allclose(shifted[1:], stft(jnp.asarray(waveform)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: stft(jnp.zeros(9, int)), ArgumentTypeError, "`waveform` must be floating"),
        (lambda: stft(jnp.zeros(0)), ArgumentError, "at least one sample"),
        (lambda: stft(jnp.zeros(())), ArgumentError, "at least 1 axes"),
        (lambda: stft(jnp.zeros(9), hop_length=129), ArgumentError, "`hop_length` must lie in"),
        (lambda: stft(jnp.zeros(9), n_fft=1), ArgumentError, "`n_fft` must lie in"),
        (lambda: istft(jnp.zeros((4, 129)), length=1), ArgumentTypeError, "`spectrum` must be complex"),
        (lambda: istft(jnp.zeros((4, 128), complex), length=1), ArgumentError, "129 bins, got 128"),
        (
            lambda: istft(jnp.zeros((4, 129), complex), length=65),
            ArgumentError,
            "needs 5 frames, `spectrum` has 4",
        ),
        (lambda: istft(jnp.zeros((3, 129), complex), length=0), ArgumentError, "needs 3 frames"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message, as_a_user):
    with pytest.raises(error, match=message):
        make()
