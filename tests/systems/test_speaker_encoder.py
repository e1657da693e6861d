"""Features against the golden front ends, embeddings of any length, storage, and what is refused."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxspk
from jaxspk import audio
from jaxspk.audio import MelConfig
from jaxspk.errors import ArgumentError, AudioError, ModelError
from jaxspk.systems import (
    BandConfig,
    EncoderConfig,
    SpeakerConfig,
    SpeakerEncoder,
    SpeakerModel,
    load_speaker_model,
    save_speaker_model,
)
from jaxspk.systems._speaker_model import speech_bands, with_border

GOLDEN = Path(__file__).parent.parent / "golden"
RATE = 16_000


def encoder(**features):
    small = EncoderConfig(network="tdnn", dim=6, width=8, pooling="asp")
    config = SpeakerConfig(features=BandConfig(**features), encoder=small)
    return SpeakerEncoder(config, SpeakerModel(config, rngs=nnx.Rngs(0)))


def noise(seconds, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def plain():
    return encoder()


@pytest.mark.parametrize(
    ("name", "mels", "window", "pre_emphasis"),
    [
        ("ResNetSE34L_hamming40", 40, "hamming", 0.0),
        ("paper_era_hann40", 40, "hann", 0.0),
        ("ResNetSE34V2_preemph_hamming64", 64, "hamming", 0.97),
    ],
)
def test_bands_are_those_of_the_public_front_ends(name, mels, window, pre_emphasis, x64):
    golden = json.loads((GOLDEN / "metric_learning_frontend.json").read_text())[name]
    n = np.arange(3200)
    second = np.where(n > 1600, 0.25 * np.sin(2 * np.pi * 2000 * n / RATE + 0.3), 0.0)
    waveform = jnp.asarray(0.5 * np.sin(2 * np.pi * 440 * n / RATE) + second)
    mel = MelConfig(num_mels=mels, window=window)
    for suffix, config in (
        ("log_frame10_first8", BandConfig(mel=mel, pre_emphasis=pre_emphasis, normalize="none")),
        ("instnorm_frame10_first8", BandConfig(mel=mel, pre_emphasis=pre_emphasis)),
    ):
        np.testing.assert_allclose(speech_bands(waveform, config)[10, :8], golden[suffix], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "features",
    [
        {"pre_emphasis": 0.97},
        {"kind": "spectrum", "mel": MelConfig(power=1.0, padding="none", n_fft=256, window_length=256)},
        {"logarithm": False, "normalize": "none"},
    ],
    ids=["pre-emphasis", "spectrum", "plain"],
)
def test_what_is_padded_behind_a_recording_changes_nothing(features):
    model = encoder(**features)
    config, waveform = model.config.features, noise(0.7)
    # Compiled whole: op by op takes ten times as long.
    alone = jax.jit(model.model)(jnp.asarray(waveform)[None])[0]
    bordered = with_border(waveform, config)
    padded = np.zeros((1, len(bordered) + 5000), np.float32)
    padded[0, : len(bordered)] = bordered
    behind = jax.jit(model.model.embed_bordered)(jnp.asarray(padded), jnp.array([len(waveform)], jnp.int32))[0]
    np.testing.assert_allclose(behind, alone, rtol=2e-4, atol=2e-5)


def test_vectors_have_unit_length_and_do_not_depend_on_company(plain):
    recordings = [noise(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 0.9, 0.6))]
    together = plain.embed(recordings, RATE)
    assert together.shape == (4, 6) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for recording, vector in zip(recordings, together, strict=True):
        np.testing.assert_allclose(plain.embed(recording, RATE), vector, atol=2e-5)


def test_a_long_recording_is_the_mean_of_its_pieces(plain):
    first, second = noise(20.0, 1), noise(20.0, 2)
    mean = plain.embed([first, second], RATE).astype(np.float64).sum(0)
    whole = plain.embed(np.concatenate([first, second]), RATE)
    np.testing.assert_allclose(whole, mean / np.linalg.norm(mean), atol=2e-5)


def test_another_rate_is_resampled(plain):
    low = noise(1.0)[: RATE // 2]
    np.testing.assert_allclose(
        plain.embed(low, RATE // 2), plain.embed(audio.resample(low, RATE // 2, RATE), RATE), atol=1e-5
    )


def test_the_level_of_a_recording_does_not_matter_much(plain):
    np.testing.assert_allclose(plain.embed(noise(1.0), RATE), plain.embed(0.25 * noise(1.0), RATE), atol=0.02)


def test_crops_are_evenly_spaced_and_short_ones_wrap_round(plain):
    waveform = noise(2.0)
    crops = plain.embed_crops(waveform, RATE, seconds=1.0, count=3)
    np.testing.assert_allclose(crops[0], plain.embed(waveform[:RATE], RATE), atol=2e-5)
    np.testing.assert_allclose(crops[2], plain.embed(waveform[-RATE:], RATE), atol=2e-5)
    short = plain.embed_crops(waveform[: RATE // 2], RATE, seconds=1.0, count=3)
    np.testing.assert_allclose(short[0], short[2])


def test_a_file_gives_the_vector_of_its_sound_and_a_bad_one_is_named(plain, tmp_path):
    audio.write_audio(tmp_path / "a.wav", noise(1.0), RATE)
    np.testing.assert_allclose(plain.embed_file(tmp_path / "a.wav"), plain.embed(noise(1.0), RATE), atol=2e-5)
    audio.write_audio(tmp_path / "c.wav", np.zeros(RATE, np.float32), RATE)
    with pytest.raises(AudioError, match=r"c\.wav: the recording is silent"):
        plain.embed_file(tmp_path / "c.wav")


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (noise(0.05), "lasts 0.050 s"),
        (np.full(RATE, np.nan, np.float32), "not finite"),
        (np.ones(RATE, np.int16), "must be floating"),
        (np.ones((2, RATE), np.float32), "one axis"),
    ],
)
def test_what_is_no_recording_is_refused(plain, waveform, message):
    with pytest.raises(ArgumentError, match=message):
        plain.embed(waveform, RATE)


def test_a_model_comes_back_from_its_directory(plain, tmp_path):
    save_speaker_model(tmp_path / "model", plain.config, plain.model, card="a test")
    loaded = jaxspk.SpeakerEncoder.load(tmp_path / "model")
    assert loaded.config == plain.config and loaded.dim == 6 and loaded.sample_rate == RATE
    np.testing.assert_array_equal(loaded.embed(noise(1.0), RATE), plain.embed(noise(1.0), RATE))
    half = save_speaker_model(tmp_path / "half", plain.config, plain.model, card="a test", dtype=np.float16)
    assert np.dot(SpeakerEncoder.load(half).embed(noise(1.0), RATE), plain.embed(noise(1.0), RATE)) > 0.999


def test_another_networks_weights_are_refused(plain, tmp_path):
    wider = dataclasses.replace(plain.config, encoder=dataclasses.replace(plain.config.encoder, width=9))
    save_speaker_model(tmp_path / "model", wider, plain.model, card="wrong")
    with pytest.raises(ModelError, match="has shape"):
        load_speaker_model(tmp_path / "model")
