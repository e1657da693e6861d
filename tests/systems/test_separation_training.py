"""What a training of a separator can be told, beyond one run from end to end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk import audio, data
from jaxspk.data import AugmentConfig, MixtureSource
from jaxspk.errors import CorpusError
from jaxspk.systems import (
    DeepClusteringModel,
    LossConfig,
    NetworkConfig,
    SpeechConfig,
    deep_clustering_cost,
    load_deep_clustering,
    load_speech,
    packaged_model,
    sounds_folder,
    train_separator,
)
from jaxspk.systems._separation_training import _segments, _training_source
from jaxspk.training import Run, config_from_dict, config_to_dict


@pytest.fixture
def sounds(tmp_path):
    """One noise and one room for training."""
    rng = np.random.default_rng(0)
    for name, table in (("noise", "noise.csv"), ("rir", "rir.csv")):
        (tmp_path / name).mkdir()
        sound = 0.1 * rng.normal(size=900).astype(np.float32) * np.exp(-np.arange(900) / 100).astype(np.float32)
        sound[3] = 0.9
        audio.write_audio(tmp_path / name / "one.wav", sound, 8000)
        (tmp_path / name / table).write_text(f"path,kind,licence\n{name}/one.wav,wind,CC0\n")
    return tmp_path


def source_of(training, recordings=None):
    speech = load_speech(training.data)
    recordings = recordings or data.Recordings(8000)
    return _training_source(training, speech, _segments(training, training.stages[0]), 5, recordings)


def test_without_augmentation_the_mixtures_are_the_plain_ones(tiny_training):
    source = source_of(tiny_training)
    assert type(source) is MixtureSource
    assert len(source) == 2**31 - 1


def test_a_fixed_number_of_mixtures_comes_round(tiny_training):
    source = source_of(dataclasses.replace(tiny_training, training_mixtures=3))
    assert len(source) == 3
    with data.mixture_batches(source, batch_size=3, shuffle=False, workers=0) as batches:
        np.testing.assert_array_equal(next(batches)["mixture"], next(batches)["mixture"])


def test_a_training_with_all_augmentations_goes_through(tiny_training, sounds, tmp_path):
    everything = AugmentConfig(speed=(0.9, 1.1), level_db=3.0, noise_share=0.5, room_share=0.5)
    loss = LossConfig(weights="magnitude", ignore_noise=True)
    training = dataclasses.replace(
        tiny_training,
        stages=tiny_training.stages[:1],
        augment=everything,
        sounds=sounds,
        system=dataclasses.replace(tiny_training.system, loss=loss),
    )
    mixture = source_of(training)[0]
    assert mixture.mixture.size == training.system.features.samples(20)
    with Run(tmp_path / "run", training) as run:
        trained = train_separator(training, load_speech(training.data), run, progress=False)
    assert trained.stages[0].step == 6 and trained.stages[0].skipped == 0


def test_noise_without_a_folder_is_asked_for(monkeypatch):
    monkeypatch.delenv("JAXSPK_DATA", raising=False)
    with pytest.raises(CorpusError, match="name the one that holds"):
        sounds_folder(SpeechConfig(synthetic=True))


def test_the_folder_of_the_sounds_is_that_of_the_speech_or_the_one_named(tmp_path):
    table = tmp_path / "utterances.csv"
    table.touch()
    assert sounds_folder(SpeechConfig(path=table)) == tmp_path
    assert sounds_folder(SpeechConfig(path=tmp_path)) == tmp_path
    assert sounds_folder(SpeechConfig(path=tmp_path), tmp_path / "other") == tmp_path / "other"


def test_bins_of_noise_do_not_count_where_that_is_asked_for(tiny_config, tiny_separator, mixture):
    rng = np.random.default_rng(0)
    batch = data.stack_mixtures([mixture])
    noisy = {**batch, "mixture": batch["mixture"] + 0.05 * rng.normal(size=batch["mixture"].shape).astype(np.float32)}

    def cost(batch, ignore_noise):
        config = dataclasses.replace(tiny_config, loss=LossConfig(weights="none", ignore_noise=ignore_noise))
        return float(deep_clustering_cost(tiny_separator.model, jax.tree.map(jnp.asarray, batch), config)[0])

    assert cost(noisy, True) != pytest.approx(cost(noisy, False), rel=1e-3)
    # Noise louder than every voice everywhere leaves nothing that counts.
    loud = {**batch, "mixture": batch["mixture"] + 100 * rng.normal(size=batch["mixture"].shape).astype(np.float32)}
    assert cost(loud, True) < 1e-2 * cost(loud, False)


def test_normal_initial_weights_have_the_deviation_that_was_asked_for(tiny_config):
    network = NetworkConfig(layers=1, units=64, dim=8, initial_std=0.1)
    model = DeepClusteringModel(dataclasses.replace(tiny_config, network=network), rngs=nnx.Rngs(0))
    for layer in model.network.layers:
        assert float(jnp.std(layer.recurrent_kernel[...])) == pytest.approx(0.1, rel=0.05)
    assert float(jnp.std(model.network.kernel[...])) == pytest.approx(0.1, rel=0.05)


def test_configs_saved_before_a_field_was_added_still_load(tiny_training):
    config, _ = load_deep_clustering(packaged_model("deep_clustering"))
    assert config.network.initial_std is None and not config.loss.ignore_noise
    values = config_to_dict(tiny_training)
    for name in ("training_mixtures", "augment", "sounds"):
        del values[name]
    assert config_from_dict(type(tiny_training), values) == tiny_training
