"""The ways to cluster one network's embeddings, on a network that knows the answer."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk import audio, metrics
from jaxspk.errors import ArgumentError
from jaxspk.systems import CLUSTERING_METHODS, DeepClusteringModel, MethodConfig, ideal_separation, separate_by_methods


class Knowing(DeepClusteringModel):
    """Embeds every bin at the corner of its source; in every other segment the corners change places."""

    def __init__(self, config, mixture, *, segment=10**6):
        super().__init__(config, rngs=nnx.Rngs(0))
        sources = audio.stft(jnp.asarray(mixture.sources), **config.features.stft)
        # Data, not structure: nnx takes it for a variable of its own.
        self.ideal = nnx.Variable(jnp.moveaxis(audio.ideal_binary_mask(sources), 0, -1))
        self.segment = segment

    def __call__(self, spectrum, *, frames_mask=None, deterministic=True, rngs=None):
        frames, bins = spectrum.shape
        ideal = jnp.pad(self.ideal[...], ((0, frames - self.ideal[...].shape[0]), (0, 0), (0, 0)))
        odd = (jnp.arange(frames) // self.segment % 2 == 1)[:, None, None]
        corners = jnp.where(odd, ideal[..., ::-1], ideal)
        return jnp.pad(corners.reshape(frames * bins, 2), ((0, 0), (0, 1)))


HOW = MethodConfig(segment_frames=40, restarts=2)


@pytest.fixture(scope="module")
def known(tiny_config, mixture):
    return Knowing(tiny_config, mixture)


@pytest.fixture(scope="module")
def found(tiny_config, known, mixture):
    """The voices by every method, of perfect embeddings."""
    return separate_by_methods(tiny_config, known, mixture, how=HOW)


def agreement(config, mixture, voices):
    """How near the voices are to those of the ideal mask, in dB: the best any of the methods could do."""
    ideal = ideal_separation(mixture, config.features)
    return float(np.mean(metrics.si_sdr(ideal, voices[metrics.bss_eval(ideal, voices).permutation])))


@pytest.mark.parametrize("method", CLUSTERING_METHODS)
def test_perfect_embeddings_give_the_ideal_mask(tiny_config, mixture, found, method):
    assert found[method].shape == mixture.sources.shape
    # Bins that are silent in both voices go to either.
    assert agreement(tiny_config, mixture, found[method]) > 30


def test_only_the_oracle_sorts_voices_that_change_places_from_segment_to_segment(tiny_config, mixture):
    changing = Knowing(tiny_config, mixture, segment=HOW.segment_frames)
    for method, voices in separate_by_methods(tiny_config, changing, mixture, how=HOW).items():
        score = agreement(tiny_config, mixture, voices)
        assert (score > 20) == method.startswith("oracle"), (method, score)


def test_the_oracle_keeps_the_order_of_the_sources(tiny_config, mixture, known, found):
    swapped = dataclasses.replace(mixture, sources=np.ascontiguousarray(mixture.sources[::-1]))
    again = separate_by_methods(tiny_config, known, swapped, how=HOW)
    for method in ("oracle k-means", "oracle spectral"):
        assert (metrics.si_sdr(mixture.sources, found[method]) > 5).all()
        assert (metrics.si_sdr(swapped.sources, again[method]) > 5).all()


def test_masks_are_binary_so_the_voices_add_up_to_the_mixture(mixture, found):
    for voices in found.values():
        np.testing.assert_allclose(voices.sum(0), mixture.mixture, atol=1e-5)


def test_methods_do_not_depend_on_each_other(tiny_config, known, mixture, found):
    (alone,) = separate_by_methods(tiny_config, known, mixture, ["oracle spectral"], how=HOW).values()
    np.testing.assert_allclose(alone, found["oracle spectral"], atol=1e-6)


def test_refused_arguments(as_a_user, tiny_config, tiny_separator, mixture):
    with pytest.raises(ArgumentError, match="`methods` must be one of 'global k-means'"):
        separate_by_methods(tiny_config, tiny_separator.model, mixture, ["k-means"])
    with pytest.raises(ArgumentError, match="`degrees`"):
        MethodConfig(degrees="none")
