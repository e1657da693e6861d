"""Comparison by cepstra alone: what each baseline must see, and the background model against its definitions."""

import numpy as np
import pytest

from jaxspk import metrics
from jaxspk.audio import SpeechFrames
from jaxspk.systems import BaselineConfig, cepstral_tables
from jaxspk.systems._cepstral_baselines import mixture_statistics, ratio_table, supervector_table

SETTINGS = BaselineConfig(components=3, background_frames=600, relevance=4.0)


def recordings(count, seed):
    """Two of each voice: its own mean and spread around three sounds, of which all say as much."""
    rng = np.random.default_rng(seed)
    sounds = 3 * np.random.default_rng(9).normal(size=(3, 8))
    made = []
    for _ in range(count):
        voice, spread = rng.normal(size=8), rng.uniform(0.5, 1.5, 8)
        for _ in range(2):
            frames = sounds[np.arange(120) // 2 % 3] + voice + spread * rng.normal(size=(120, 8))
            made.append(SpeechFrames(frames.astype(np.float32), np.arange(0, 120, 2)))
    return made


def test_every_baseline_finds_who_speaks_twice():
    tested, known = recordings(10, 1), recordings(8, 2)
    first, second = np.triu_indices(20, 1)
    same = first // 2 == second // 2
    for name, table in cepstral_tables(tested, known, SETTINGS).items():
        scores = table()
        np.testing.assert_allclose(scores, scores.T, rtol=1e-6, atol=1e-9)
        assert metrics.equal_error_rate(scores[first, second], same).eer < 0.2, name


def test_the_background_is_adapted_as_defined():
    """One Gaussian: all frames fall to it, and the linear score is that of its adapted mean, in deviations."""
    config = BaselineConfig(components=1, background_frames=600, relevance=4.0)
    spoken = [one.cepstra[one.speech] for one in recordings(2, 3)]
    background = [one.cepstra[one.speech] for one in recordings(6, 4)]
    statistics = mixture_statistics(spoken, background, config)
    everything = np.concatenate(background).astype(float)
    mean, deviation = everything.mean(0), np.sqrt(everything.var(0) + 1e-4)
    apart = np.stack([(one.mean(0) - mean) / deviation for one in spoken])
    adapted = 60 / (60 + 4.0) * apart
    np.testing.assert_allclose(statistics.counts, 60, rtol=1e-9)
    np.testing.assert_allclose(statistics.adapted[:, 0], adapted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ratio_table(statistics), adapted @ apart.T + apart @ adapted.T, rtol=1e-3, atol=1e-4)
    unit = adapted / np.linalg.norm(adapted, axis=1, keepdims=True)
    np.testing.assert_allclose(supervector_table(statistics), unit @ unit.T, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("changes", [{"components": 0}, {"relevance": 0.0}, {"shrinkage": 0.0}])
def test_refuses_settings_that_make_no_model(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        BaselineConfig(**changes)
