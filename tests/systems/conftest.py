"""A tiny separator and speaker encoder, made-up voices, and mixtures of them, for the tests of the systems."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from jaxspk import audio
from jaxspk.audio import MelConfig
from jaxspk.data import Mixture, MixtureConfig, MixturePlan, SpeakerBatchConfig, Utterance
from jaxspk.systems import (
    BandConfig,
    DeepClusteringConfig,
    DeepClusteringModel,
    EncoderConfig,
    NetworkConfig,
    SeparationTraining,
    Separator,
    SpeakerConfig,
    SpeakerTraining,
    SpeechConfig,
    StageConfig,
)
from jaxspk.training import FitConfig


@pytest.fixture(scope="session")
def tiny_config():
    return DeepClusteringConfig(network=NetworkConfig(layers=1, units=4, dim=3))


@pytest.fixture(scope="session")
def tiny_separator(tiny_config):
    return Separator(tiny_config, DeepClusteringModel(tiny_config, rngs=nnx.Rngs(0)))


def voice(seconds, sample_rate, pitch, seed):
    """Harmonics of a wandering pitch, with pauses: enough like speech to have active and silent bins."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * pitch * (time + 0.01 * np.sin(2 * np.pi * 3 * time + seed))
    envelope = np.clip(np.sin(2 * np.pi * (1 + 0.3 * rng.random()) * time + seed) + 0.5, 0, 1)
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 8) if k * pitch < sample_rate / 2)
    return (0.1 * envelope * harmonics + 1e-4 * rng.standard_normal(time.size)).astype(np.float32)


@pytest.fixture(scope="session")
def two_voices():
    return np.stack([voice(1.5, 8000, 110, 1), voice(1.5, 8000, 235, 2)])


@pytest.fixture(scope="session")
def mixture(two_voices, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    utterances = tuple(Utterance(folder / f"{g}.wav", g, 1.5, g) for g in ("M", "F"))
    return Mixture(two_voices.sum(0), two_voices, 8000, MixturePlan("m", utterances, (0.0, 0.0), (0, 0)))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder per speaker, six speakers of two short recordings each."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(8):
        speaker = folder / f"speaker{number}"
        speaker.mkdir()
        for take in range(2):
            waveform = voice(1.6, 8000, 100 + 25 * number, 10 * number + take)
            audio.write_audio(speaker / f"take{take}.wav", waveform, 8000)
    return folder


@pytest.fixture(scope="session")
def tiny_training(corpus, tiny_config):
    fit = FitConfig(steps=6, log_every=2, validate_every=3, checkpoint_every=2)
    return SeparationTraining(
        data=SpeechConfig(path=corpus, validation=0.25, test=0.25),
        mixtures=MixtureConfig(),
        system=dataclasses.replace(tiny_config),
        stages=(StageConfig(frames=20, batch_size=2, fit=fit), StageConfig(frames=40, batch_size=2, fit=fit)),
        validation_mixtures=3,
        test_mixtures=2,
        seed=3,
    )


@pytest.fixture(scope="session")
def voxceleb(tmp_path_factory):
    """Sixteen speakers as VoxCeleb lies on a disk, four of them for tests: two segments of a video, one of another."""
    folder = tmp_path_factory.mktemp("voxceleb")
    rows = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for number in range(16):
        gender, split = "fm"[number % 2], "test" if number < 4 else "dev"
        name = f"id1{number:04d}"
        rows.append(f"{name}\tSomebody\t{gender}\tNowhere\t{split}")
        for take, segment in enumerate(("one/00001", "one/00002", "two/00001")):
            path = folder / split / "wav" / name / f"{segment}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            waveform = voice(0.9, 8000, (190 if gender == "f" else 100) + 6 * number, 10 * number + take)
            audio.write_audio(path, waveform, 8000)
    (folder / "vox1_meta.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_speakers(voxceleb):
    """The smallest training of a speaker encoder: 4 x 2 crops of half a second."""
    features = BandConfig(mel=MelConfig(sample_rate=8000, n_fft=256, window_length=200, hop_length=80, num_mels=20))
    return SpeakerTraining(
        data=SpeechConfig(path=voxceleb, validation=0.25),
        system=SpeakerConfig(features=features, encoder=EncoderConfig(network="tdnn", dim=8, pooling="asp", width=8)),
        batches=SpeakerBatchConfig(speakers=4, utterances=2, seconds=0.5),
        fit=FitConfig(steps=6, log_every=2, validate_every=3, checkpoint_every=3, score="eer"),
        workers=1,
        seed=3,
    )
