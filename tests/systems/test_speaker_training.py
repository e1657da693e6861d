"""What a training of a speaker encoder does beyond one run from end to end: alarms, beginnings, blots."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.data import Recordings
from jaxspk.errors import ModelError, TrainingError
from jaxspk.systems import SpeakerModel, SpecAugmentConfig, load_speech, save_speaker_model
from jaxspk.systems._speaker_training import SpeakerLearner, _begin_with, _validation


@pytest.fixture(scope="module")
def learner(tiny_speakers):
    return SpeakerLearner(tiny_speakers, classes=8, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def validate(tiny_speakers):
    speech = load_speech(tiny_speakers.data)
    return _validation(tiny_speakers.system, speech.validation, Recordings(8000))


def test_validation_measures_unseen_speakers(learner, validate):
    found = validate(learner)
    assert 0 <= found["eer"] <= 1 and 0 <= found["min_dcf"] <= 1 and found["spread"] > 0
    assert found == validate(learner)


def test_embeddings_that_have_become_one_point_end_the_training_with_advice(learner, validate):
    collapsed = nnx.clone(learner)
    last = collapsed.model.network.embedding
    last.kernel[...] = jnp.zeros_like(last.kernel[...])
    last.bias[...] = jnp.ones_like(last.bias[...])
    with pytest.raises(TrainingError, match=r"have become the same \(mean cosine distance .*learning_rate") as raised:
        validate(collapsed)
    assert "\n" not in str(raised.value)


def test_a_training_can_begin_with_another_models_weights(learner, tiny_speakers, tmp_path):
    other = SpeakerModel(tiny_speakers.system, rngs=nnx.Rngs(5))
    save_speaker_model(tmp_path / "model", tiny_speakers.system, other, card="a test")
    begun = nnx.clone(learner).model
    _begin_with(begun, tmp_path / "model")
    for mine, its in zip(jax.tree.leaves(nnx.state(begun)), jax.tree.leaves(nnx.state(other)), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_weights_of_another_size_cannot_be_begun_with(learner, tiny_speakers, tmp_path):
    encoder = dataclasses.replace(tiny_speakers.system.encoder, width=9)
    wider = dataclasses.replace(tiny_speakers.system, encoder=encoder)
    save_speaker_model(tmp_path / "model", wider, SpeakerModel(wider, rngs=nnx.Rngs(5)), card="a test")
    with pytest.raises(ModelError, match="begin with a model of the same network"):
        _begin_with(nnx.clone(learner).model, tmp_path / "model")


def test_blots_are_off_unless_asked_for():
    features = jnp.ones((2, 30, 10))
    assert SpecAugmentConfig()(features, jax.random.key(0)) is features
    blotted = SpecAugmentConfig(time_masks=1, time_width=10, band_masks=1, band_width=5)(features, jax.random.key(0))
    assert blotted.shape == features.shape and bool(jnp.any(blotted != features))
