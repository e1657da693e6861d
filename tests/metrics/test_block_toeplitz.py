import numpy as np
import pytest

from jaxspk.metrics._block_toeplitz import block_toeplitz, block_toeplitz_cholesky


def random_blocks(lags: int, channels: int, samples: int = 3000, seed: int = 0) -> np.ndarray:
    """Inner products of delays of coloured noise, by definition: ``blocks[t][j, k] = sum s_j[n] s_k[n - t]``."""
    noise = np.random.default_rng(seed).normal(size=(channels, samples))
    signals = np.array([np.convolve(row, [1.0, 0.9, 0.5]) for row in noise])
    return np.array([[[np.dot(a[t:], b[: len(b) - t]) for b in signals] for a in signals] for t in range(lags)]).astype(
        np.float64
    )


def test_the_matrix_repeats_its_blocks_along_the_diagonals():
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0, 5.0], [6.0, 7.0]])
    expected = np.block([[first, second], [second.T, first]])
    np.testing.assert_array_equal(block_toeplitz(np.array([first, second])), expected)


# 31 is prime (one delay at a time), 1 and 3 are shorter than a group.
@pytest.mark.parametrize("lags", [1, 3, 8, 31, 96])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_equals_the_dense_factor(lags: int, channels: int):
    blocks = random_blocks(lags, channels)
    factor = block_toeplitz_cholesky(blocks)
    dense = np.linalg.cholesky(block_toeplitz(blocks)).T
    np.testing.assert_allclose(factor, dense, rtol=1e-11, atol=1e-12 * dense.max())
    np.testing.assert_array_equal(np.tril(factor, -1), 0)


def test_refuses_an_indefinite_matrix():
    with pytest.raises(np.linalg.LinAlgError):
        block_toeplitz_cholesky(np.array([[[1.0]], [[1.1]]]))


def test_refuses_what_it_could_only_factor_inaccurately():
    # Inner products of the delays of a slow, smooth pulse: singular to working precision.
    pulse = np.hanning(4000) ** 4
    blocks = np.array([[[np.dot(pulse[t:], pulse[: 4000 - t])]] for t in range(64)])
    with pytest.raises(np.linalg.LinAlgError):
        block_toeplitz_cholesky(blocks)
