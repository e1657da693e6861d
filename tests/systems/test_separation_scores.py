import numpy as np
import pytest

from jaxspk.systems import SpectrumConfig, ideal_separation, score_separation, summarize_separation


def test_perfect_and_useless_separation(mixture):
    def perfect(waveform, speakers):
        return mixture.sources[::-1]

    def useless(waveform, speakers):
        return np.stack([waveform] * speakers)

    (best,) = score_separation(perfect, [mixture], SpectrumConfig())
    (none,) = score_separation(useless, [mixture], SpectrumConfig())
    assert best.sdr_output > 100
    assert best.si_sdr_output > 60
    assert none.improvement("sdr") == pytest.approx(0, abs=1e-6)
    assert none.improvement("si_sdr") == pytest.approx(0, abs=1e-6)
    assert 5 < best.improvement("sdr", of="ideal") < best.improvement("sdr")
    assert (best.name, best.genders, best.speakers, best.seconds) == ("m", "FM", 2, 1.5)


def test_the_ideal_mask_leaves_the_order_of_the_sources(mixture):
    ideal = ideal_separation(mixture, SpectrumConfig())
    correlation = np.corrcoef(np.concatenate([ideal, mixture.sources]))[:2, 2:]
    assert correlation.argmax(1).tolist() == [0, 1]


def test_a_row_holds_every_measure_and_its_improvement(mixture):
    (score,) = score_separation(lambda waveform, speakers: mixture.sources, [mixture], SpectrumConfig())
    row = score.row()
    for measure in ("sdr", "sir", "sar", "si_sdr"):
        assert row[f"{measure}_improvement"] == row[f"{measure}_output"] - row[f"{measure}_input"]


def test_groups_and_their_means(mixture):
    (score,) = score_separation(lambda waveform, speakers: mixture.sources, [mixture], SpectrumConfig())
    import dataclasses

    scores = [
        dataclasses.replace(score, genders=g, sdr_output=v, sdr_input=1.0)
        for g, v in (("FF", 3.0), ("FM", 9.0), ("FM", 7.0))
    ]
    groups = {group.group: group for group in summarize_separation(scores)}
    assert list(groups) == ["all", "FF", "FM"]
    assert groups["FM"].improvement == 7.0
    assert groups["FM"].standard_error == pytest.approx(1.0)
    assert groups["all"].improvement == pytest.approx(16 / 3)
    assert np.isnan(groups["FF"].standard_error)
