"""The oracle baseline: its context, its bases, and what they separate."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import audio, metrics
from jaxspk.data import Manifest, Mixture, MixturePlan, Recordings, Utterance
from jaxspk.errors import CorpusError
from jaxspk.systems import OracleNmfConfig, SpectrumConfig, separate_by_bases, train_speaker_bases
from jaxspk.systems._oracle_nmf import with_context, without_context

CONFIG = OracleNmfConfig(bases=24, training_iterations=60, iterations=40, stride=2, columns=300)


def singer(pitch, seconds=2.0, seed=0):
    """Harmonics that come and go: two pitches have few bins in common."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(8000 * seconds)) / 8000
    envelope = np.clip(np.sin(2 * np.pi * 2 * time + rng.uniform(0, 6)) + 0.6, 0, 1)
    tone = sum(np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) / k for k in range(1, 12))
    return (0.1 * envelope * tone + 1e-4 * rng.normal(size=time.size)).astype(np.float32)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    utterances = []
    for name, pitch in (("low", 130), ("high", 310)):
        for take in range(3):
            path = folder / f"{name}{take}.wav"
            audio.write_audio(path, singer(pitch, seed=take), 8000)
            utterances.append(Utterance(path, name, 2.0))
    return Manifest(tuple(utterances))


@pytest.fixture(scope="module")
def bases(people):
    return train_speaker_bases(people, ("low", "high"), SpectrumConfig(), CONFIG, recordings=Recordings(8000))


@pytest.fixture
def duet(people):
    sources = np.stack([singer(130, seed=7), singer(310, seed=8)])
    utterances = tuple(people.by_speaker()[name][0] for name in ("low", "high"))
    return Mixture(sources.sum(0), sources, 8000, MixturePlan("duet", utterances, (0.0, 0.0), (0, 0)))


@pytest.mark.parametrize(("frames", "context"), [(20, 8), (5, 8), (9, 1), (8, 8)])
def test_a_context_is_the_frames_before_and_can_be_taken_off_again(frames, context):
    magnitudes = np.random.default_rng(0).random((frames, 3)).astype(np.float32)
    stacked = np.asarray(with_context(jnp.asarray(magnitudes), context))
    assert stacked.shape == (3 * context, frames)
    np.testing.assert_array_equal(stacked[-3:, -1], magnitudes[-1])
    if frames > context:
        np.testing.assert_array_equal(stacked[:3, -1], magnitudes[-context])
    np.testing.assert_array_equal(stacked[:-3, 0], 0)
    np.testing.assert_allclose(without_context(jnp.asarray(stacked), context), magnitudes, rtol=1e-6)


def test_columns_that_disagree_about_a_frame_are_averaged():
    stacked = np.zeros((2, 3), np.float32)
    stacked[1, 1], stacked[0, 2] = 4, 2  # frame 1, as the newest of its column and the oldest of the next
    np.testing.assert_allclose(np.asarray(without_context(jnp.asarray(stacked), 2))[:, 0], [0, 3, 0])


def test_bases_of_the_speakers_separate_them(bases, duet):
    voices = separate_by_bases(duet, bases, SpectrumConfig(), CONFIG)
    assert voices.shape == duet.sources.shape
    gain = metrics.si_sdr(duet.sources, voices) - metrics.si_sdr(duet.sources, np.stack([duet.mixture] * 2))
    assert (gain > 6).all(), gain
    np.testing.assert_allclose(voices.sum(0), duet.mixture, atol=1e-5)


def test_bases_of_the_wrong_speaker_do_not(bases, duet):
    exchanged = {"low": bases["high"], "high": bases["low"]}
    voices = separate_by_bases(duet, exchanged, SpectrumConfig(), CONFIG)
    assert (metrics.si_sdr(duet.sources, voices) < 0).all()


def test_bases_do_not_depend_on_who_else_is_learnt(people, bases):
    alone = train_speaker_bases(people, ("high",), SpectrumConfig(), CONFIG, recordings=Recordings(8000))
    np.testing.assert_array_equal(alone["high"], bases["high"])
    assert bases["high"].shape == (8 * 129, 24)


def test_a_speaker_without_bases_or_utterances_is_named(people, bases, duet):
    with pytest.raises(CorpusError, match="no bases for speaker 'high'"):
        separate_by_bases(duet, {"low": bases["low"]}, SpectrumConfig(), CONFIG)
    with pytest.raises(CorpusError, match="speaker 'nobody': no utterance"):
        train_speaker_bases(people, ("nobody",), SpectrumConfig(), CONFIG, recordings=Recordings(8000))


def test_the_paper_has_256_bases_and_8_frames():
    config = OracleNmfConfig()
    assert (config.bases, config.context) == (256, 8)
    assert dataclasses.is_dataclass(config)
