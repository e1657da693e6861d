"""SpecAugment: runs of the widths asked for, anywhere, other ones in every utterance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.audio import spec_augment
from jaxspk.errors import ArgumentError, ArgumentTypeError

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEY = jax.random.key(0)


def masked(shape, key=KEY, **settings):
    """Which places of ones were set to zero."""
    augment = jax.jit(functools.partial(spec_augment, **settings))
    return np.asarray(augment(jnp.ones(shape), key)) == 0


def runs(blank):
    """Lengths of the runs of a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blank.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_frames_and_bins_are_blanked_whole_and_the_rest_is_left_alone():
    features = np.random.default_rng(0).normal(size=(64, 30, 20)).astype(np.float32)
    augment = jax.jit(functools.partial(spec_augment, time_masks=1, time_width=8, band_masks=1, band_width=5))
    augmented = augment(features, KEY)
    blank = np.asarray(augmented) == 0
    frames, bins = blank.all(2), blank.all(1)
    np.testing.assert_array_equal(blank, frames[:, :, None] | bins[:, None, :])
    np.testing.assert_array_equal(np.asarray(augmented)[~blank], features[~blank])


@pytest.mark.parametrize("axis", ["time", "band"])
def test_one_run_has_every_width_up_to_the_most_and_every_start(axis):
    settings = {"time_masks": 0, "band_masks": 0} | {f"{axis}_masks": 1, f"{axis}_width": 3}
    blank = masked((4000, 6, 6), **settings)
    rows = blank[:, :, 0] if axis == "time" else blank[:, 0, :]
    widths = rows.sum(1)
    assert all(len(runs(row)) <= 1 for row in rows)
    np.testing.assert_allclose(np.bincount(widths) / 4000, 1 / 4, atol=0.03)
    # A run of two can start at five places, each as often.
    starts = rows[widths == 2].argmax(1)
    np.testing.assert_allclose(np.bincount(starts, minlength=5) / len(starts), 1 / 5, atol=0.05)


def test_several_runs():
    blank = masked((500, 100, 3), time_masks=3, time_width=4, band_masks=0)[:, :, 0]
    assert max(len(runs(row)) for row in blank) == 3
    assert 8 < blank.sum(1).max() <= 12


def test_utterances_have_runs_of_their_own_and_the_key_decides():
    augment = jax.jit(spec_augment)
    first, again, other = (np.asarray(augment(jnp.ones((2, 3, 60, 40)), jax.random.key(seed))) for seed in (0, 0, 1))
    assert len({rows.tobytes() for rows in first.reshape(6, -1)}) == 6
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("settings", [{"time_masks": 0, "band_masks": 0}, {"time_width": 0, "band_width": 0}], ids=str)
def test_no_runs_change_nothing(settings):
    assert not masked((7, 5), **settings).any()


def test_runs_lie_among_the_frames_of_the_utterance():
    where = jnp.arange(40) < jnp.array([40, 10, 1, 0])[:, None]
    augment = jax.jit(
        lambda features, key: spec_augment(
            features, key, time_width=30, band_masks=0, where=jnp.broadcast_to(where, (200, 4, 40))
        )
    )
    blank = np.asarray(augment(jnp.ones((200, 4, 40, 2)), KEY)) == 0
    assert not blank[:, 1, 10:].any()
    assert blank[:, 1, :10].all(axis=(1, 2)).any()
    assert not blank[:, 2, 1:].any()
    assert blank[:, 2, 0].any()
    assert not blank[:, 3].any()
    assert blank[:, 0, 10:].any()


def test_widths_beyond_the_utterance_are_cut():
    blank = masked((300, 4, 3), time_masks=1, time_width=100, band_masks=1, band_width=100)
    assert blank.all(axis=(1, 2)).any()
    assert not blank.all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_it_keeps_the_dtype_and_compiles_once(dtype):
    traces = []

    @jax.jit
    def augment(features, key):
        traces.append(features.shape)
        return spec_augment(features, key)

    for seed in range(3):
        assert augment(jnp.ones((2, 60, 40), dtype), jax.random.key(seed)).dtype == dtype
    assert len(traces) == 1


def test_the_gradient_is_that_of_what_is_left():
    gradient, augmented = jax.jit(
        lambda x: (jax.grad(lambda x: spec_augment(x, KEY).sum())(x), spec_augment(jnp.ones_like(x), KEY))
    )(jnp.full((50, 20), 3.0))
    np.testing.assert_array_equal(gradient, augmented)


@pytest.mark.usefixtures("as_a_user")
def test_what_is_refused():
    with pytest.raises(ArgumentTypeError, match="`features` must be floating"):
        spec_augment(jnp.ones((5, 4), int), KEY)
    with pytest.raises(ArgumentError, match="`features` must have at least 2 axes"):
        spec_augment(jnp.ones(5), KEY)
    with pytest.raises(ArgumentError, match="`time_width` must lie in"):
        spec_augment(jnp.ones((5, 4)), KEY, time_width=-1)
    with pytest.raises(ArgumentError, match="`where` must have shape"):
        spec_augment(jnp.ones((2, 5, 4)), KEY, where=jnp.ones((2, 4), bool))
