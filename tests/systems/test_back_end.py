"""What follows a speaker network: whitening within speakers, and its place in an encoder."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxspk.audio import MelConfig, normalize_utterance
from jaxspk.errors import ArgumentError
from jaxspk.systems import (
    BackEndConfig,
    BandConfig,
    EncoderConfig,
    SpeakerConfig,
    SpeakerEncoder,
    SpeakerModel,
    fit_back_end,
    load_speaker_model,
    save_speaker_model,
    within_class_whitening,
)
from jaxspk.systems._speaker_model import band_statistics


def grouped(seed, *, classes=6, each=8, dim=3):
    """Points whose classes differ most along the first axis, and vary most there too."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"speaker {number}" for number in range(classes)], each)
    centres = rng.normal(size=(classes, dim)) * 2.0
    return np.repeat(centres, each, axis=0) + rng.normal(size=(len(names), dim)) * [5.0, 1.0, 0.2], names


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_every_direction_varies_equally_within_a_class(seed):
    points, names = grouped(seed)
    centre, projection = within_class_whitening(points, names, shrinkage=1e-9)
    mapped = (points - centre) @ projection
    means = {name: mapped[names == name].mean(0) for name in names}
    apart = mapped - np.stack([means[name] for name in names])
    np.testing.assert_allclose(apart.T @ apart / (len(names) - len(means)), np.eye(3), atol=1e-5)
    np.testing.assert_allclose(mapped.mean(0), 0.0, atol=1e-9)


def test_shrinkage_adds_its_share_of_the_mean_variance():
    points, names = grouped(0)
    _, sharp = within_class_whitening(points, names, shrinkage=1e-12)
    _, shrunk = within_class_whitening(points, names, shrinkage=0.5)
    within, wider = (np.linalg.inv(p @ p.T) for p in (sharp, shrunk))
    np.testing.assert_allclose(wider, within + 0.5 * np.trace(within) / 3 * np.eye(3), rtol=1e-6)


def test_one_class_or_none_that_varies_is_refused(as_a_user):
    points, names = grouped(0)
    with pytest.raises(ArgumentError, match="at least two, got 1"):
        within_class_whitening(points[:8], names[:8])
    with pytest.raises(ArgumentError, match="each class is one point"):
        within_class_whitening(points[::8], names[::8])


def test_statistics_of_bands_normalised_together_have_one_length():
    bands = normalize_utterance(jnp.asarray(np.random.default_rng(0).normal(3.0, 2.0, size=(2, 9, 5)), jnp.float32))
    np.testing.assert_allclose(jnp.sum(jnp.square(band_statistics(bands)), axis=-1), 5.0, rtol=1e-5)
    padded = jnp.pad(bands, ((0, 0), (0, 4), (0, 0)), constant_values=7.0)
    inside = jnp.broadcast_to(jnp.arange(13) < 9, (2, 13))
    np.testing.assert_allclose(band_statistics(padded, inside), band_statistics(bands), atol=1e-6)


@pytest.fixture(scope="module")
def plain():
    config = SpeakerConfig(
        features=BandConfig(mel=MelConfig(num_mels=8), normalize="recording"),
        encoder=EncoderConfig(network="tdnn", dim=6, pooling="asp", width=4),
    )
    return SpeakerEncoder(config, SpeakerModel(config, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """Four voices that differ in pitch, three recordings each."""
    from jaxspk.audio import write_audio
    from jaxspk.data import Manifest, Utterance

    folder, rng = tmp_path_factory.mktemp("speech"), np.random.default_rng(0)
    utterances = []
    for voice in range(4):
        for take in range(3):
            time = np.arange(12_000) / 16_000
            sound = sum(np.sin(2 * np.pi * (120 + 60 * voice) * k * time) / k for k in range(1, 9))
            sound = (0.1 * sound + 0.02 * rng.normal(size=len(time))).astype(np.float32)
            write_audio(folder / f"{voice}-{take}.wav", sound, 16_000)
            utterances.append(Utterance(folder / f"{voice}-{take}.wav", f"voice {voice}", 0.75))
    return Manifest(tuple(utterances))


def test_a_fitted_encoder_survives_storage_and_leaves_the_network_alone(plain, speakers, tmp_path):
    fitted = fit_back_end(plain, speakers, BackEndConfig(crop_seconds=(0.5,)))
    assert plain.config.back_end is None and plain.dim == 6 and fitted.dim == 6 + 2 * 8
    save_speaker_model(tmp_path / "model", fitted.config, fitted.model, card="# Test\n")
    again = SpeakerEncoder(*load_speaker_model(tmp_path / "model"))
    sound = np.random.default_rng(1).normal(size=9000).astype(np.float32)
    vector = fitted.embed(sound, 16_000)
    np.testing.assert_array_equal(again.embed(sound, 16_000), vector)
    # Of the right length, the recording is the same with borders and padding as alone.
    alone = fitted.model.embed(jnp.asarray(sound)[None])[0]
    np.testing.assert_allclose(vector, alone / jnp.linalg.norm(alone), atol=1e-4)


def test_it_can_do_without_statistics(plain, speakers):
    config = BackEndConfig(statistics=False, crop_seconds=())
    fitted = fit_back_end(plain, speakers, config)
    assert fitted.dim == 6 and fitted.config == dataclasses.replace(plain.config, back_end=config)
