"""``jaxspk verify``."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from jaxspk.errors import ArgumentError

if TYPE_CHECKING:
    from jaxspk.systems import Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Say whether two recordings are of one speaker: probability, decision, and how often such decisions are wrong.

    Nothing is decided where a recording is too short, too noisy or clipped. The error rates were counted on recordings
    of people the model had not heard; yours may differ more (see `jaxspk calibrate`). Somebody who imitates a voice, or
    makes it by computer, was in none of them.

    Example: jaxspk verify known.wav questioned.wav --false-alarms 0.01
    """

    recordings: tyro.conf.Positional[tuple[Path, Path]]
    """The two recordings."""
    prior: float = 0.5
    """How likely it is, before anything is heard, that both are of one speaker."""
    false_alarms: float | None = None
    """Decide so that no more than this share of different speakers is called the same."""
    protocol: Literal["whole", "ten_crops"] = "whole"
    """The cosine of one vector a recording, or minus the mean distance between ten crops of 4 s and ten."""
    calibration: Path | None = None
    """What scores mean, from `jaxspk calibrate`; by default what comes with the model."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Compares two recordings; 0 whatever the decision is."""
    from jaxspk import audio
    from jaxspk.cli import _voices
    from jaxspk.systems import PROTOCOLS, OperatingPoint, decide

    try:
        point = OperatingPoint(prior=options.prior, false_alarm_rate=options.false_alarms)
    except ArgumentError as error:
        raise ArgumentError(_flags(str(error))) from None
    for recording in options.recordings:
        audio.audio_info(recording)  # A slip of the keyboard shows before the model is read.
    hearing = _voices.load_encoder(options.model)
    verification = _voices.meaning(hearing, options.protocol, options.calibration)
    embedded = _voices.embed_all(hearing, options.recordings, protocol=options.protocol, channel=options.channel)
    one, other = embedded.vectors
    names = [str(path) for path in embedded.paths]
    # Comparing a recording with itself is allowed, and says so little that two names are worth it.
    keys = names if names[0] != names[1] else [f"{names[0]} (first)", f"{names[1]} (second)"]
    qualities = dict(zip(keys, embedded.qualities, strict=True))
    score = float(PROTOCOLS[options.protocol].score(one, other))
    try:
        verdict = decide(score, qualities, verification, point)
    except ArgumentError as error:
        raise ArgumentError(_flags(str(error))) from None
    if options.json:
        facts: dict[str, Any] = {
            "recordings": names,
            **dataclasses.asdict(verdict),
            "prior": options.prior,
            "calibrated_on": verification.trials,
            "qualities": [_voices.quality_facts(quality) for quality in embedded.qualities],
        }
        print(json.dumps(facts, indent=2))
    else:
        print(_describe(verdict, options))
    return 0


def _describe(verdict: "Verdict", options: Options) -> str:
    from jaxspk.cli._voices import percent

    words = {"same": "the same speaker", "different": "different speakers", "undecided": "undecided"}
    lines = [f"{words[verdict.decision]}"]
    lines += [f"  because {obstacle}" for obstacle in verdict.obstacles]
    doubt = ", if one could tell" if verdict.obstacles else ""
    lines.append(
        f"  probability of the same speaker {_probability(verdict.probability)}{doubt} (prior {options.prior:g}, score "
        f"{verdict.score:.4f}, log-likelihood ratio {verdict.log_likelihood_ratio:+.2f}, threshold "
        f"{verdict.threshold:+.2f})"
    )
    lines.append(
        f"  decisions at this threshold are wrong for {percent(verdict.miss_rate, verdict.targets)} of the pairs of "
        f"one speaker and {percent(verdict.false_alarm_rate, verdict.nontargets)} of those of two"
    )
    lines += [f"  doubtful: {remark}" for remark in verdict.remarks]
    return "\n".join(lines)


def _probability(probability: float) -> str:
    if probability < 0.0005:
        return "below 0.1 %"
    if probability > 0.9995:
        return "above 99.9 %"
    return f"{100 * probability:.1f} %"


def _flags(message: str) -> str:
    return message.replace("`false_alarm_rate`", "--false-alarms").replace("`prior`", "--prior")
