"""The experiments on limits and on counting: what they change is what they say, and their pages are whole."""

import csv

import numpy as np
import pytest

from experiments import count_speakers, separation_limits
from jaxspk.data import Sound
from jaxspk.errors import ArgumentError
from jaxspk.systems import SpeechConfig, load_counting_rule, save_deep_clustering


@pytest.fixture
def changes():
    rng = np.random.default_rng(0)
    noise = Sound("hiss", "rain", rng.standard_normal(5000).astype(np.float32))
    response = np.zeros(800, np.float32)
    response[40], response[41:] = 0.9, 0.05 * rng.standard_normal(759)
    rows = separation_limits.conditions([noise], [Sound("Basement", "Basement", response)], 8000)
    assert len({(row.group, row.name) for row in rows}) == len(rows)
    return {f"{row.group}: {row.name}": row.change for row in rows if row.change}


@pytest.mark.parametrize("snr", [20, 10, 0])
def test_noise_lies_as_far_below_the_voices_as_it_says(changes, mixture, snr):
    noisy = changes[f"Noise: {snr} dB below the voices"](mixture, np.random.default_rng(1))
    noise = noisy.mixture - mixture.mixture
    assert 10 * np.log10(np.sum(mixture.mixture**2) / np.sum(noise**2)) == pytest.approx(snr, abs=0.1)
    np.testing.assert_array_equal(noisy.sources, mixture.sources)


def test_music_is_drawn_anew_for_each_mixture_and_is_not_silent():
    first, again, other = (separation_limits.chords(8000, 8000, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all() and np.sqrt(np.mean(first**2)) > 0.1
    assert np.abs(first - other).max() > 0.1


def test_in_a_room_the_voices_with_their_echo_are_what_is_to_be_found(changes, mixture):
    heard = changes["Room: a basement, echo of 0.5 s"](mixture, np.random.default_rng(1))
    np.testing.assert_allclose(heard.sources.sum(0), heard.mixture, atol=1e-6)
    assert np.abs(heard.sources - mixture.sources).max() > 0.01


def test_overload_cuts_peaks_and_nothing_else(changes, mixture):
    cut = changes["Overload: clipped 6 dB below the peak"](mixture, np.random.default_rng(1)).mixture
    ceiling = np.abs(mixture.mixture).max() / 2
    assert np.abs(cut).max() == pytest.approx(ceiling, rel=0.01)
    below = np.abs(mixture.mixture) < 0.99 * ceiling
    np.testing.assert_array_equal(cut[below], mixture.mixture[below])


def test_counting_is_fitted_kept_and_measured(corpus, tiny_separator, tmp_path):
    model = save_deep_clustering(tmp_path / "model", tiny_separator.config, tiny_separator.model, card="# Tiny\n")
    config = count_speakers.Config(
        data=SpeechConfig(path=corpus, validation=0.25, test=0.25),
        model=model,
        fit=True,
        counts=(1, 2),
        fit_mixtures=2,
        mixtures=2,
        output=tmp_path / "counting",
    )
    count_speakers.main(config)
    rule = load_counting_rule(model)
    assert rule is not None and rule.counts == (1, 2)
    with (tmp_path / "counting.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * len(count_speakers.KINDS)
    assert {row["speakers"] for row in rows} == {"1", "2"}
    assert all(float(row["share_1"]) + float(row["share_2"]) == pytest.approx(1, abs=1e-3) for row in rows)
    page = (tmp_path / "counting.md").read_text()
    for text in ("Counting voices", "said 2", "Right by eigenvalues", "1..2 (auto)", "Share that was right", "Seed"):
        assert text in page


def test_numbers_that_cannot_be_told_are_refused():
    with pytest.raises(ArgumentError, match=r"--counts must lie in 1\.\.4"):
        count_speakers.main(count_speakers.Config(counts=(1, 7)))
