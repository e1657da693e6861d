"""What scores of a model mean: calibration, error rates on held-out trials and limits of quality, kept with the model.

``verification.json`` in a model directory holds a rule for every protocol that was calibrated, and the hash of the
weights: scores of other weights mean something else. A user's own calibration is the same file in another place.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Num
from numpy import ndarray

from jaxspk import _checks, training
from jaxspk.errors import ArgumentError, ModelError
from jaxspk.metrics import Calibration
from jaxspk.systems._beside_weights import load_fitted, save_fitted, weights_sha256
from jaxspk.systems._operating_points import ErrorRates

VERIFICATION_FILE = "verification.json"
_FORMAT, _FORMAT_VERSION = "jaxspk-verification", 1
FEWEST_TRIALS = 50
"""Of either kind, for durations to be calibrated by themselves."""

Protocol = Literal["whole", "ten_crops"]
"""How two recordings are scored; see :data:`jaxspk.systems.PROTOCOLS`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """The worst that a recording may be.

    Attributes:
      speech_seconds: least speech, seconds.
      snr_db: least speech over steady noise, decibels.
      clipped: largest share of samples at the highest amplitude.
    """

    speech_seconds: float
    snr_db: float
    clipped: float


UNDECIDABLE = QualityLimits(speech_seconds=1.0, snr_db=3.0, clipped=0.05)
"""Beyond these nothing is decided."""
DOUBTFUL = QualityLimits(speech_seconds=3.0, snr_db=10.0, clipped=0.001)
"""Beyond these a decision comes with a remark."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibratedLevel:
    """What scores mean where the shorter of two recordings has at least so much speech.

    Attributes:
      speech_seconds: from where on.
      calibration: from scores to log-likelihood ratios.
      errors: of decisions on the trials it was fitted to.
    """

    speech_seconds: float
    calibration: Calibration
    errors: ErrorRates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What scores of one protocol mean.

    Attributes:
      protocol: how recordings are scored.
      trials: which trials it was fitted to, in words.
      levels: by duration, ascending; the first also serves shorter recordings.
      undecidable: recordings beyond these limits are not decided upon.
      doubtful: recordings beyond these are remarked upon.

    Raises:
      ArgumentError: there is no level, or they do not ascend.
    """

    protocol: Protocol
    trials: str
    levels: tuple[CalibratedLevel, ...]
    undecidable: QualityLimits = UNDECIDABLE
    doubtful: QualityLimits = DOUBTFUL

    def __post_init__(self) -> None:
        _checks.check_choice("protocol", self.protocol, ("whole", "ten_crops"))
        edges = [level.speech_seconds for level in self.levels]
        if not edges or any(low >= high for low, high in itertools.pairwise(edges)):
            raise ArgumentError(f"`levels` must be at least one, of ascending speech_seconds, got {edges}.")

    def level(self, speech_seconds: float) -> CalibratedLevel:
        """The level for two recordings of which the shorter has so much speech."""
        fitting = [level for level in self.levels if level.speech_seconds <= speech_seconds]
        return fitting[-1] if fitting else self.levels[0]


def fit_verification(
    scores: Float[ndarray, " trials"],
    labels: Bool[ndarray, " trials"],
    *,
    protocol: Protocol,
    trials: str,
    speech_seconds: Num[ndarray, " trials"] | None = None,
    edges: Sequence[float | int] = (2.0, 4.0, 8.0),
    prior: float = 0.5,
    undecidable: QualityLimits = UNDECIDABLE,
    doubtful: QualityLimits = DOUBTFUL,
) -> Verification:
    """Learns what scores mean from trials whose answers are known, of speakers the model was not trained on.

    Args:
      scores: of trials, higher for more similar voices.
      labels: which are of one speaker.
      protocol: how they were scored.
      trials: which trials these are, in words, for those who read the file.
      speech_seconds: speech in the shorter recording of each trial; short ones score differently, and are calibrated
        by themselves where there are at least :data:`FEWEST_TRIALS` of either kind.
      edges: where a new level of durations begins, ascending, seconds.
      prior: see :meth:`jaxspk.metrics.Calibration.fit`.
      undecidable: limits of quality.
      doubtful: limits of quality.

    Raises:
      ArgumentError: the trials cannot be calibrated; see :meth:`jaxspk.metrics.Calibration.fit`.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    seconds = np.zeros(len(scores)) if speech_seconds is None else np.asarray(speech_seconds, np.float64)
    _checks.check_same_shape("speech_seconds", seconds, "scores", scores)
    # From the longest down: a level with too few trials goes to the one below it.
    levels: list[CalibratedLevel] = []
    upper = math.inf
    for edge in (*reversed(edges if speech_seconds is not None else ()), 0.0):
        chosen = (seconds >= edge) & (seconds < upper)
        kinds = np.bincount(labels[chosen].astype(int), minlength=2)
        if edge > 0 and (kinds.min() < FEWEST_TRIALS or _rest_is_too_small(labels[seconds < edge])):
            continue
        if levels and not chosen.any():
            break
        calibration = Calibration.fit(scores[chosen], labels[chosen], prior=prior)
        errors = ErrorRates.measure(calibration.log_likelihood_ratio(scores[chosen]), labels[chosen])
        levels.insert(0, CalibratedLevel(speech_seconds=float(edge), calibration=calibration, errors=errors))
        upper = edge
    return Verification(
        protocol=protocol, trials=trials, levels=tuple(levels), undecidable=undecidable, doubtful=doubtful
    )


def save_verification(rules: Iterable[Verification], model: str | Path, *, path: str | Path | None = None) -> Path:
    """Writes what scores of a model mean.

    Args:
      rules: one a protocol.
      model: the directory of the model that scored.
      path: the file; by default ``verification.json`` beside the weights.

    Raises:
      ArgumentError: two rules for one protocol, or none at all.
      ModelError: the model holds no weights, or the file cannot be written.
    """
    rules = list(rules)
    if not rules or len({rule.protocol for rule in rules}) < len(rules):
        raise ArgumentError("`rules` must hold one rule for each protocol, at least one.")
    place = Path(model) / VERIFICATION_FILE if path is None else Path(path)
    content = {"rules": [training.config_to_dict(rule) for rule in rules]}
    save_fitted(place, content, kind=_FORMAT, version=_FORMAT_VERSION, weights=weights_sha256(model))
    return place


def load_verification(model: str | Path, *, path: str | Path | None = None) -> dict[str, Verification]:
    """What scores of a model mean, by protocol; nothing where the model comes without.

    Args:
      model: its directory.
      path: the file; by default ``verification.json`` beside the weights, which may be absent.

    Raises:
      ModelError: the file is damaged, of another format, fitted to other weights, or named and not there.
    """
    place = Path(model) / VERIFICATION_FILE if path is None else Path(path)
    content = load_fitted(place, kind=_FORMAT, version=_FORMAT_VERSION, weights=weights_sha256(model))
    if content is None:
        if path is not None:
            raise ModelError(f"{place}: there is no such file; make it with `jaxspk calibrate`.")
        return {}
    rules = content.get("rules")
    if not isinstance(rules, list):
        raise ModelError(f'{place}: lacks "rules"; it is damaged.')
    try:
        loaded = [training.config_from_dict(Verification, rule, where="its rule") for rule in rules]
    except ArgumentError as error:
        raise ModelError(f"{place}: {error}") from None
    return {rule.protocol: rule for rule in loaded}


def _rest_is_too_small(labels: Bool[ndarray, " rest"]) -> bool:
    """Whether what lies below an edge could not stand alone, though it is there."""
    return len(labels) > 0 and int(np.bincount(labels.astype(int), minlength=2).min()) < FEWEST_TRIALS
