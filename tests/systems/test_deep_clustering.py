import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk import audio, data
from jaxspk.errors import ModelError
from jaxspk.systems import (
    DeepClusteringModel,
    LossConfig,
    Separator,
    SpectrumConfig,
    deep_clustering_cost,
    deep_clustering_objective,
    load_deep_clustering,
    save_deep_clustering,
)


def test_a_segment_has_the_frames_it_is_asked_for():
    features = SpectrumConfig()
    for frames in (4, 20, 100, 400):
        samples = features.samples(frames)
        assert audio.num_frames(samples, **features.stft) == frames
        assert audio.num_frames(samples + 1, **features.stft) == frames + 1


def test_padding_changes_no_cost(tiny_config, tiny_separator, mixture):
    alone = data.stack_mixtures([mixture])
    padded = {
        "mixture": np.pad(alone["mixture"], ((0, 0), (0, 3000))),
        "sources": np.pad(alone["sources"], ((0, 0), (0, 0), (0, 3000))),
        "samples": alone["samples"],
    }
    for weights in ("active", "magnitude", "none"):
        config = dataclasses.replace(tiny_config, loss=LossConfig(weights=weights))
        costs = [
            deep_clustering_cost(tiny_separator.model, jax.tree.map(jnp.asarray, batch), config)
            for batch in (alone, padded)
        ]
        np.testing.assert_allclose(*costs, rtol=2e-5)


def test_the_cost_of_perfect_embeddings_is_zero(tiny_config, mixture):
    batch = jax.tree.map(jnp.asarray, data.stack_mixtures([mixture]))
    ideal = audio.ideal_binary_mask(audio.stft(batch["sources"], **tiny_config.features.stft))

    class Oracle(DeepClusteringModel):
        def __call__(self, spectrum, *, frames_mask=None, deterministic=True, rngs=None):
            masks = jnp.moveaxis(ideal, 1, -1)
            return masks.reshape(1, -1, 2)

    oracle = Oracle(tiny_config, rngs=nnx.Rngs(0))
    assert float(deep_clustering_cost(oracle, batch, tiny_config)[0]) < 1e-9


def test_the_objective_is_a_scalar_with_gradients(tiny_config, tiny_separator, mixture):
    batch = jax.tree.map(jnp.asarray, data.stack_mixtures([mixture, mixture]))
    objective = deep_clustering_objective(tiny_config)
    graph, state = nnx.split(tiny_separator.model)

    def loss(state):
        return objective(nnx.merge(graph, state), batch, jax.random.key(0))[0]

    value, gradient = jax.value_and_grad(loss)(state)
    assert value.shape == ()
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    assert any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("normalization", ["utterance", "corpus"])
def test_a_saved_model_does_the_same(tmp_path, tiny_config, two_voices, normalization):
    features = dataclasses.replace(tiny_config.features, normalization=normalization)
    config = dataclasses.replace(tiny_config, features=features)
    statistics = (
        audio.Normalization(np.linspace(-5, -1, 129, dtype=np.float32), np.full(129, 2, np.float32))
        if normalization == "corpus"
        else None
    )
    model = DeepClusteringModel(config, rngs=nnx.Rngs(1), statistics=statistics)
    folder = save_deep_clustering(tmp_path / "model", config, model, card="")
    loaded_config, _ = load_deep_clustering(folder)
    assert loaded_config == config
    before = Separator(config, model).separate(two_voices.sum(0), 8000)
    np.testing.assert_array_equal(Separator.load(folder).separate(two_voices.sum(0), 8000), before)


def test_half_precision_halves_the_file_and_hardly_moves_the_result(tmp_path, tiny_config, tiny_separator, two_voices):
    whole = save_deep_clustering(tmp_path / "whole", tiny_config, tiny_separator.model, card="")
    half = save_deep_clustering(tmp_path / "half", tiny_config, tiny_separator.model, card="", dtype=np.float16)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    spectrum = audio.stft(jnp.asarray(two_voices.sum(0)), **tiny_config.features.stft)
    first, second = (load_deep_clustering(folder)[1](spectrum) for folder in (whole, half))
    assert float((first * second).sum(-1).min()) > 0.999


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path, tiny_config, tiny_separator):
    larger = dataclasses.replace(tiny_config, network=dataclasses.replace(tiny_config.network, units=5))
    deeper = dataclasses.replace(tiny_config, network=dataclasses.replace(tiny_config.network, layers=2))
    for config, trouble in ((larger, "has shape"), (deeper, "lacks")):
        folder = save_deep_clustering(tmp_path / trouble, config, tiny_separator.model, card="")
        with pytest.raises(ModelError, match=trouble):
            load_deep_clustering(folder)
