import numpy as np
import pytest

from jaxspk.audio import RecordingQuality
from jaxspk.errors import ArgumentError
from jaxspk.metrics import Calibration
from jaxspk.systems import (
    CalibratedLevel,
    ErrorRates,
    OperatingPoint,
    Verification,
    decide,
    identify,
)

GOOD = RecordingQuality(seconds=10.0, speech_seconds=8.0, snr_db=40.0, clipped=0.0)
SHORT = RecordingQuality(seconds=1.0, speech_seconds=0.5, snr_db=40.0, clipped=0.0)
NOISY = RecordingQuality(seconds=10.0, speech_seconds=8.0, snr_db=1.0, clipped=0.0)
CLIPPED = RecordingQuality(seconds=10.0, speech_seconds=8.0, snr_db=40.0, clipped=0.2)
DOUBTFUL = RecordingQuality(seconds=10.0, speech_seconds=2.0, snr_db=8.0, clipped=0.01)


def errors() -> ErrorRates:
    rng = np.random.default_rng(0)
    labels = np.arange(4000) < 2000
    return ErrorRates.measure(rng.normal(np.where(labels, 2, -2), 2), labels)


ERRORS = errors()


@pytest.fixture
def verification() -> Verification:
    short = CalibratedLevel(speech_seconds=0.0, calibration=Calibration(5.0, -1.0), errors=ERRORS)
    long = CalibratedLevel(speech_seconds=4.0, calibration=Calibration(10.0, -4.0), errors=ERRORS)
    return Verification(protocol="whole", trials="made up", levels=(short, long))


def test_a_verdict_by_hand(verification):
    verdict = decide(0.6, {"a": GOOD, "b": GOOD}, verification, OperatingPoint(prior=0.2))
    np.testing.assert_allclose(verdict.log_likelihood_ratio, 2)
    np.testing.assert_allclose(verdict.probability, 0.2 * np.exp(2) / (0.2 * np.exp(2) + 0.8))
    np.testing.assert_allclose(verdict.threshold, np.log(4))
    assert verdict.decision == "same"
    assert (verdict.miss_rate, verdict.false_alarm_rate) == ERRORS.at(np.log(4))
    assert not verdict.obstacles and not verdict.remarks
    assert decide(0.5, {"a": GOOD}, verification, OperatingPoint(prior=0.2)).decision == "different"


def test_the_shorter_recording_says_which_calibration(verification):
    half = RecordingQuality(10.0, 3.5, 40.0, 0.0)
    np.testing.assert_allclose(
        decide(0.6, {"a": GOOD, "b": half}, verification, OperatingPoint()).log_likelihood_ratio, 2
    )
    np.testing.assert_allclose(
        decide(0.6, {"a": GOOD, "b": GOOD}, verification, OperatingPoint()).log_likelihood_ratio, 2
    )
    np.testing.assert_allclose(
        decide(0.2, {"a": GOOD, "b": half}, verification, OperatingPoint()).log_likelihood_ratio, 0
    )


def test_a_rate_of_false_alarms_is_kept(verification):
    verdict = decide(0.6, {"a": GOOD}, verification, OperatingPoint(false_alarm_rate=0.01))
    np.testing.assert_allclose(verdict.false_alarm_rate, 0.01, rtol=1e-6)
    assert verdict.decision == "different"


@pytest.mark.parametrize(
    "quality, words",
    [(SHORT, "is too short: 0.5 s"), (NOISY, "is too noisy: speech about 1 dB"), (CLIPPED, "is too clipped: 20.0 %")],
)
def test_nothing_is_decided_on_poor_recordings(verification, quality, words):
    verdict = decide(0.9, {"a.wav": GOOD, "b.wav": quality}, verification, OperatingPoint())
    assert verdict.decision == "undecided" and verdict.probability > 0.9
    assert len(verdict.obstacles) == 1 and verdict.obstacles[0].startswith(f"b.wav {words}")
    assert not verdict.remarks


def test_doubtful_recordings_are_decided_and_remarked_upon(verification):
    verdict = decide(0.9, {"a.wav": GOOD, "b.wav": DOUBTFUL}, verification, OperatingPoint())
    assert verdict.decision == "same" and len(verdict.remarks) == 3
    assert all(remark.startswith("b.wav is rather ") for remark in verdict.remarks)


def identified(verification, scores, quality=GOOD, known_prior=0.5, seconds=9.0):
    names = [f"p{k}" for k in range(len(scores))]
    return identify(
        np.array(scores), names, np.full(len(scores), seconds), {"x.wav": quality}, verification,
        known_prior=known_prior,
    )  # fmt: skip


def test_who_it_is_by_hand(verification):
    answer = identified(verification, [0.2, 0.7, 0.45], known_prior=0.6)
    odds = 0.6 / 3 * np.exp([-2, 3, 0.5])
    np.testing.assert_allclose(answer.unknown_probability, 0.4 / (0.4 + odds.sum()))
    np.testing.assert_allclose(answer.probability, odds[1] / (0.4 + odds.sum()))
    assert answer.name == "p1"
    assert [candidate.name for candidate in answer.candidates] == ["p1", "p2", "p0"]
    total = sum(candidate.probability for candidate in answer.candidates) + answer.unknown_probability
    np.testing.assert_allclose(total, 1)
    np.testing.assert_allclose(answer.threshold, np.log(3 * 0.4 / 0.6))
    np.testing.assert_allclose(answer.false_alarm_rate, 3 * ERRORS.at(answer.threshold)[1])


def test_a_voice_that_fits_nobody_is_unknown(verification):
    answer = identified(verification, [0.1, 0.2])
    assert answer.name is None and answer.decided
    assert answer.probability == answer.unknown_probability > 0.9


def test_the_more_people_the_better_a_voice_has_to_fit(verification):
    few, many = identified(verification, [0.6] + [0.0] * 3), identified(verification, [0.6] + [0.0] * 99)
    assert few.name == "p0" and many.name is None


def test_poor_recordings_are_nobody(verification):
    answer = identified(verification, [0.9], quality=NOISY)
    assert answer.name is None and not answer.decided and answer.obstacles
    assert answer.candidates[0].name == "p0"


def test_short_enrolments_have_their_own_calibration(verification):
    ratio = identified(verification, [0.6], seconds=1.0).candidates[0].log_likelihood_ratio
    np.testing.assert_allclose(ratio, 2)
    assert identified(verification, [0.5], seconds=1.0).candidates[0].log_likelihood_ratio == 1.5
    assert identified(verification, [0.5]).candidates[0].log_likelihood_ratio == 1.0


def test_wrong_arguments_are_refused(verification):
    with pytest.raises(ArgumentError, match="`qualities`"):
        decide(0.5, {}, verification, OperatingPoint())
    with pytest.raises(ArgumentError, match="one value a person"):
        identified(verification, [])
    with pytest.raises(ArgumentError, match="`known_prior`"):
        identified(verification, [0.5], known_prior=1.0)
    with pytest.raises(ArgumentError, match="cannot be promised"):
        decide(0.5, {"a": GOOD}, verification, OperatingPoint(false_alarm_rate=1e-6))
