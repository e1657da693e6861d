"""Answers that a person can use: is this the same voice, and whose of several is it?

Each answer has a probability, the error rates to expect where such answers are given, and says where a recording is
too poor to decide upon.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Num
from numpy import ndarray
from scipy.special import softmax

from jaxspk.audio import RecordingQuality
from jaxspk.errors import ArgumentError
from jaxspk.systems._operating_points import OperatingPoint, log_odds
from jaxspk.systems._verification import QualityLimits, Verification


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether two recordings are of one speaker.

    Attributes:
      decision: "same", "different", or "undecided" where a recording is too poor.
      score: as the model gives it.
      log_likelihood_ratio: how much likelier the score is for one speaker than for two, natural logarithm.
      probability: of one speaker, given the prior of the operating point.
      threshold: the log-likelihood ratio from which on the decision is "same".
      miss_rate: how often two recordings of one speaker are called different there, on held-out trials.
      false_alarm_rate: how often those of two speakers are called the same there.
      targets: how many trials of one speaker the first rate was counted on.
      nontargets: how many of two speakers the second was counted on.
      obstacles: why nothing is decided; empty where something is.
      remarks: what makes the answer doubtful.
    """

    decision: Literal["same", "different", "undecided"]
    score: float
    log_likelihood_ratio: float
    probability: float
    threshold: float
    miss_rate: float
    false_alarm_rate: float
    targets: int
    nontargets: int
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """An enrolled person as the answer to "who is it?".

    Attributes:
      name: of the person.
      score: of the recording against the person's voice.
      log_likelihood_ratio: how much likelier the score is for this person than for somebody else.
      probability: that it is this person.
    """

    name: str
    score: float
    log_likelihood_ratio: float
    probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identification:
    """Who of the enrolled people speaks, if any.

    Attributes:
      name: the likeliest; None for somebody unknown.
      probability: of the answer.
      unknown_probability: that it is nobody of them.
      candidates: all of them, likeliest first.
      threshold: the log-likelihood ratio that the best has to reach.
      miss_rate: how often an enrolled person does not reach it, on held-out trials.
      false_alarm_rate: how often somebody unknown is taken for one of so many people, at most: the sum over them.
      targets: how many trials of one speaker the first rate was counted on.
      nontargets: how many of two speakers the second was counted on, for each person.
      decided: False where the recording is too poor; ``name`` is None then.
      obstacles: why nothing is decided.
      remarks: what makes the answer doubtful.
    """

    name: str | None
    probability: float
    unknown_probability: float
    candidates: tuple[Candidate, ...]
    threshold: float
    miss_rate: float
    false_alarm_rate: float
    targets: int
    nontargets: int
    decided: bool
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]


def decide(
    score: float,
    qualities: Mapping[str, RecordingQuality],
    verification: Verification,
    point: OperatingPoint,
) -> Verdict:
    """Whether two recordings of this score are of one speaker.

    Args:
      score: of the two, by the protocol of ``verification``.
      qualities: of each, by a name for messages.
      verification: what scores mean.
      point: what the decision is for.

    Raises:
      ArgumentError: there are no qualities, or the operating point asks for more than the held-out trials can promise.
    """
    level = verification.level(_shortest(qualities))
    ratio = float(level.calibration.log_likelihood_ratio(score))
    threshold = point.threshold(level.errors)
    miss, false_alarm = level.errors.at(threshold)
    obstacles, remarks = _judged(qualities, verification)
    return Verdict(
        decision="undecided" if obstacles else "same" if ratio >= threshold else "different",
        score=float(score),
        log_likelihood_ratio=ratio,
        probability=float(level.calibration.probability(score, point.prior)),
        threshold=threshold,
        miss_rate=miss,
        false_alarm_rate=false_alarm,
        targets=level.errors.targets,
        nontargets=level.errors.nontargets,
        obstacles=obstacles,
        remarks=remarks,
    )


def identify(
    scores: Num[ndarray, " people"],
    names: Sequence[str],
    speech_seconds: Num[ndarray, " people"],
    qualities: Mapping[str, RecordingQuality],
    verification: Verification,
    *,
    known_prior: float = 0.5,
) -> Identification:
    r"""Who of several people speaks, or nobody of them.

    With the share :math:`p` of recordings that are of enrolled people, any of the :math:`n` as likely as another,
    person :math:`k` has the probability

    .. math::
        \frac{\frac pn e^{\ell_k}}{1 - p + \sum_j \frac pn e^{\ell_j}}

    for log-likelihood ratios :math:`\ell`, and the rest is somebody unknown. The answer is the likeliest of all: with
    more people enrolled, a voice has to fit one of them better to be taken for that person.

    Args:
      scores: of the recording against everybody.
      names: of the people.
      speech_seconds: that each was enrolled with.
      qualities: of the recording, by a name for messages; of several that are taken together, of each.
      verification: what scores mean.
      known_prior: :math:`p`, between 0 and 1.

    Raises:
      ArgumentError: nobody is enrolled, lengths differ, or the prior is out of range.
    """
    if not len(names) or len(scores) != len(names) or len(speech_seconds) != len(names):
        raise ArgumentError(f"`scores` must have one value a person, got {len(scores)} for {len(names)} people.")
    if not 0 < known_prior < 1:
        raise ArgumentError(f"`known_prior` must lie between 0 and 1, got {known_prior!r}.")
    heard = sum(quality.speech_seconds for quality in qualities.values())
    levels = [verification.level(min(heard, float(seconds))) for seconds in speech_seconds]
    ratios = np.array(
        [level.calibration.log_likelihood_ratio(float(s)) for level, s in zip(levels, scores, strict=True)]
    )
    threshold = float(np.log(len(names)) - log_odds(known_prior))
    *shares, unknown = softmax(np.append(ratios - threshold, 0.0)).tolist()
    order = np.argsort(-ratios, kind="stable").tolist()
    best = order[0]
    rates = [level.errors.at(threshold) for level in levels]
    obstacles, remarks = _judged(qualities, verification)
    known = ratios[best] >= threshold
    return Identification(
        name=names[best] if known and not obstacles else None,
        probability=shares[best] if known else unknown,
        unknown_probability=unknown,
        candidates=tuple(
            Candidate(
                name=names[k], score=float(scores[k]), log_likelihood_ratio=float(ratios[k]), probability=shares[k]
            )
            for k in order
        ),
        threshold=threshold,
        miss_rate=rates[best][0],
        false_alarm_rate=min(1.0, sum(false_alarm for _, false_alarm in rates)),
        targets=levels[best].errors.targets,
        nontargets=levels[best].errors.nontargets,
        decided=not obstacles,
        obstacles=obstacles,
        remarks=remarks,
    )


def quality_remarks(
    qualities: Mapping[str, RecordingQuality], limits: QualityLimits, *, degree: str = "too"
) -> tuple[str, ...]:
    """What is wrong with recordings, measured against limits, in words: "a.wav is too short: 0.8 s of speech, ..."."""
    return tuple(_remarks(qualities, limits, degree).values())


def _remarks(
    qualities: Mapping[str, RecordingQuality], limits: QualityLimits, degree: str
) -> dict[tuple[str, str], str]:
    """Words by recording and kind of trouble."""
    remarks = {}
    for name, quality in qualities.items():
        if quality.speech_seconds < limits.speech_seconds:
            remarks[name, "short"] = (
                f"{quality.speech_seconds:.1f} s of speech, at least {limits.speech_seconds:g} s are wanted"
            )
        if quality.snr_db < limits.snr_db:
            remarks[name, "noisy"] = (
                f"speech about {quality.snr_db:.0f} dB over the noise, at least {limits.snr_db:g} dB are wanted"
            )
        if quality.clipped > limits.clipped:
            remarks[name, "clipped"] = (
                f"{100 * quality.clipped:.1f} % of its samples at the highest amplitude, at most "
                f"{100 * limits.clipped:.1f} % are allowed"
            )
    return {(name, kind): f"{name} is {degree} {kind}: {words}" for (name, kind), words in remarks.items()}


def _judged(
    qualities: Mapping[str, RecordingQuality], verification: Verification
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Obstacles, and remarks about what is no obstacle."""
    obstacles = _remarks(qualities, verification.undecidable, "too")
    remarks = _remarks(qualities, verification.doubtful, "rather")
    return tuple(obstacles.values()), tuple(words for key, words in remarks.items() if key not in obstacles)


def _shortest(qualities: Mapping[str, RecordingQuality]) -> float:
    if not qualities:
        raise ArgumentError("`qualities` must hold those of the recordings, got none.")
    return min(quality.speech_seconds for quality in qualities.values())
