import dataclasses

import numpy as np
import pytest

from jaxspk import reports
from jaxspk.errors import ArgumentError
from jaxspk.metrics import Calibration, det_curve, summarize_verification
from jaxspk.reports._verification import _reliability, _staircase


def trials(shift: float = 2.0, count: int = 3000, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.2
    return rng.normal(size=count) + shift * labels, labels


def test_the_curves_name_their_systems_and_rates():
    figure = reports.det_plot({"ours": trials(3), "theirs": trials(1)})
    text = figure.image.decode()
    for name, shift in (("ours", 3), ("theirs", 1)):
        eer = summarize_verification(*trials(shift), resamples=0).eer
        assert f"{name}: {100 * eer:.2f} %" in text and f"{name}: equal error rate {eer:.2%}" in figure.alt
    assert "Different speakers accepted (%)" in text


@pytest.mark.parametrize("scored", [trials(20), trials(-1), (np.zeros(9), np.arange(9) < 3), trials(1, 40)])
def test_perfect_wrong_and_constant_scores_are_drawn(scored):
    scores, labels = scored
    for figure in (
        reports.det_plot({"a": scored}),
        reports.score_histogram(scores, labels),
        reports.calibration_plot(scores, labels),
    ):
        assert figure.image.startswith(b"<svg") and b"nan" not in figure.image.lower().split(b"<style>")[0]


def test_a_long_curve_is_thinned_and_hardly_moves():
    scores, labels = trials(count=200_000)
    curve = det_curve(scores, labels)
    across, upwards = _staircase(curve.false_alarm_rates, curve.miss_rates, 1e-4)
    assert len(across) <= 2000
    shown = (curve.miss_rates > 1e-4) & (curve.false_alarm_rates > 1e-4)
    thinned = np.interp(curve.miss_rates[shown], upwards, across)
    np.testing.assert_allclose(thinned, curve.false_alarm_rates[shown], rtol=0.1)


def test_calibrated_ratios_lie_on_the_diagonal_and_others_do_not():
    # Unit normals 2 apart: 2 s - 2 is the log-likelihood ratio of a score s.
    scores, labels = trials(count=200_000)
    said, happened = _reliability(2 * scores - 2, labels, 15)
    assert len(said) == 15
    np.testing.assert_allclose(happened, said, atol=0.25)
    said, happened = _reliability(4 * scores - 4, labels, 15)
    assert np.abs(happened - said).max() > 2


def test_the_table_holds_every_number():
    summaries = {name: summarize_verification(*trials(shift), resamples=20) for name, shift in (("a", 3), ("b", 1))}
    table = reports.verification_table(summaries)
    assert table.columns[:4] == ["Trials", "Same", "Different", "EER (%)"]
    assert [row[0] for row in table.rows] == ["a", "b"]
    assert table.rows[0][3] == 100 * summaries["a"].eer
    bare = reports.verification_table({"a": summarize_verification(*trials(), resamples=0)})
    assert bare.rows[0][4] == ""


def test_the_page_is_whole(tmp_path):
    scored = {"good": trials(3), "wrong way round": trials(-1)}
    summaries = {name: summarize_verification(*each, resamples=0) for name, each in scored.items()}
    reports.write_report(tmp_path / "page.html", reports.verification_report(scored, summaries))
    text = (tmp_path / "page.html").read_text()
    assert text.count("<figure") >= 4 and "cannot be calibrated" in text


def test_a_calibration_is_drawn_with_its_cost():
    scores, labels = trials()
    ratios = Calibration.fit(scores, labels).log_likelihood_ratio(scores)
    figure = reports.calibration_plot(ratios, labels, bins=5, caption="mine")
    assert figure.caption == "mine" and dataclasses.asdict(figure)["alt"].startswith("Calibration of log-likelihood")


def test_nothing_to_draw_is_refused(as_a_user):
    for draw in (reports.det_plot, reports.verification_table):
        with pytest.raises(ArgumentError, match="at least one"):
            draw({})
    with pytest.raises(ArgumentError, match="names of `trials`"):
        reports.verification_report({"a": trials()}, {})
    with pytest.raises(ArgumentError, match="`bins`"):
        reports.calibration_plot(*trials(), bins=1)
    with pytest.raises(ArgumentError, match="none of the same speaker"):
        reports.det_plot({"a": (np.zeros(3), np.zeros(3, bool))})
