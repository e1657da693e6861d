import dataclasses

import numpy as np
import pytest

from jaxspk import audio, data
from jaxspk.audio import recording_quality
from jaxspk.errors import ArgumentError

RATE = 16_000


def voiced(seconds: float, seed: int = 0) -> np.ndarray:
    """Harmonics of a gliding pitch with syllables and pauses: spectrum and rhythm of speech, roughly."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    tone = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 30))
    return (0.05 * tone * np.clip(np.sin(2 * np.pi * 2 * time) + 0.3, 0, None)).astype(np.float32)


def with_noise(waveform: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(waveform)).astype(np.float32)
    return waveform + noise * np.float32(audio.active_level(waveform, RATE) * 10 ** (-snr_db / 20))


@pytest.mark.parametrize("snr_db", [0, 5, 10, 20, 30])
def test_steady_noise_is_measured(snr_db):
    for seconds in (2, 8):
        measured = recording_quality(with_noise(voiced(seconds), snr_db), RATE).snr_db
        np.testing.assert_allclose(measured, snr_db, atol=2)


def test_padding_with_silence_does_not_make_a_recording_clean():
    noisy = with_noise(voiced(4), 5)
    padded = np.concatenate([np.zeros(3 * RATE, np.float32), noisy, np.zeros(3 * RATE, np.float32)])
    np.testing.assert_allclose(recording_quality(padded, RATE).snr_db, recording_quality(noisy, RATE).snr_db, atol=1)


def test_pauses_are_no_speech():
    quality = recording_quality(np.concatenate([voiced(2), np.zeros(6 * RATE, np.float32)]), RATE)
    assert quality.seconds == 8
    assert 1.5 < quality.speech_seconds < 2.6


@pytest.mark.parametrize("level, share", [(3, 0.003), (1.5, 0.05)])
def test_clipping_shows(level, share):
    waveform = voiced(4)
    assert recording_quality(waveform, RATE).clipped < 0.001
    ceiling = np.float32(level * audio.active_level(waveform, RATE))
    clipped = np.clip(waveform, -ceiling, ceiling)
    expected = np.mean(np.abs(waveform) >= 0.98 * ceiling)
    np.testing.assert_allclose(recording_quality(clipped, RATE).clipped, expected)
    assert expected > share


def test_the_level_does_not_matter():
    waveform = with_noise(voiced(2), 10)
    plain, soft = (dataclasses.astuple(recording_quality(gain * waveform, RATE)) for gain in (1, np.float32(1e-4)))
    np.testing.assert_allclose(soft, plain, rtol=1e-3)


def test_silence_and_clicks_have_values():
    silent = recording_quality(np.zeros(RATE, np.float32), RATE)
    assert silent == audio.RecordingQuality(1.0, 0.0, -np.inf, 0.0)
    click = np.zeros(10, np.float32)
    click[3] = 1
    assert np.isfinite(recording_quality(click, RATE).snr_db)


@pytest.mark.parametrize("waveform", [np.zeros((2, 3), np.float32), np.zeros(0, np.float32), np.full(9, np.nan)])
def test_wrong_waveforms_are_refused(as_a_user, waveform):
    with pytest.raises(ArgumentError, match="`waveform`"):
        recording_quality(waveform, RATE)


@pytest.mark.speech
def test_recordings_of_a_corpus_are_good(speech):
    manifest = data.read_corpus(speech).manifest.where(split="train", corpus="LibriSpeech", min_seconds=3.0)
    for utterance in manifest.utterances[:: max(1, len(manifest) // 8)]:
        quality = recording_quality(*audio.read_audio(utterance.path))
        assert quality.snr_db > 10 and quality.clipped < 0.001
        assert 0.4 < quality.speech_seconds / quality.seconds < 1
