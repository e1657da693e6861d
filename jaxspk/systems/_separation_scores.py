"""How well voices were separated: one row of scores a mixture, and their means by pair of genders."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from jaxspk import audio, metrics
from jaxspk.data import Mixture
from jaxspk.systems._deep_clustering import SpectrumConfig
from jaxspk.systems._separator import Separator

MEASURES = ("sdr", "sir", "sar", "si_sdr")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparationScore:
    """Scores of one mixture, in dB, each the mean over its speakers.

    Of each measure: ``input`` takes the mixture itself as the estimate of every source, ``output`` is the
    separator's, ``ideal`` that of the ideal binary mask (no binary mask can pass it by much).
    """

    name: str
    genders: str
    """Sorted, for instance "FM"; "?" where one is unknown."""
    seconds: float
    speakers: int
    sdr_input: float
    sdr_output: float
    sdr_ideal: float
    sir_input: float
    sir_output: float
    sir_ideal: float
    sar_input: float
    sar_output: float
    sar_ideal: float
    si_sdr_input: float
    si_sdr_output: float
    si_sdr_ideal: float

    def improvement(self, measure: str, of: str = "output") -> float:
        """How much better than the mixture itself, in dB."""
        value: float = getattr(self, f"{measure}_{of}") - getattr(self, f"{measure}_input")
        return value

    def row(self) -> dict[str, object]:
        """All fields and the improvements, one column each."""
        improvements = {f"{measure}_improvement": self.improvement(measure) for measure in MEASURES}
        return {**dataclasses.asdict(self), **improvements}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupScore:
    """Mean improvement over a group of mixtures."""

    group: str
    mixtures: int
    improvement: float
    """Mean, in dB."""
    standard_error: float
    """Of that mean over mixtures, in dB; NaN for a single one."""
    ideal: float
    """Mean improvement of the ideal binary mask, in dB."""
    input: float
    """Mean score of the unprocessed mixtures, in dB."""


def score_separation(
    separate: Callable[[np.ndarray, int], np.ndarray], mixtures: Iterable[Mixture], features: SpectrumConfig
) -> Iterator[SeparationScore]:
    """Separates mixtures with known sources and scores each result, one at a time.

    Args:
      separate: from (waveform, number of speakers) at the spectrum's rate to ``[speakers, samples]``.
      mixtures: at the spectrum's rate.
      features: the spectrum that the ideal binary mask is made in.
    """
    for mixture in mixtures:
        sources = np.asarray(mixture.sources, np.float64)
        estimates = {
            "input": np.broadcast_to(np.asarray(mixture.mixture, np.float64), sources.shape),
            "output": np.asarray(separate(mixture.mixture, len(sources)), np.float64),
            "ideal": ideal_separation(mixture, features),
        }
        # In one call: the references are what takes the time.
        found = _measure(sources, np.stack(list(estimates.values())))
        measured = {
            f"{measure}_{kind}": value
            for measure, values in found.items()
            for kind, value in zip(estimates, values, strict=True)
        }
        yield SeparationScore(
            name=mixture.name,
            genders=mixture.genders or "?",
            seconds=sources.shape[1] / features.sample_rate,
            speakers=len(sources),
            **measured,
        )


def evaluate_separator(separator: Separator, mixtures: Iterable[Mixture]) -> Iterator[SeparationScore]:
    """:func:`score_separation` of a :class:`Separator`, at its own rate."""

    def separate(waveform: np.ndarray, speakers: int) -> np.ndarray:
        return separator.separate_at_model_rate(waveform, speakers)

    return score_separation(separate, mixtures, separator.config.features)


def ideal_separation(mixture: Mixture, features: SpectrumConfig) -> np.ndarray:
    """The mixture under the ideal binary mask of its sources, ``[speakers, samples]``."""
    sources = audio.stft(jnp.asarray(mixture.sources, jnp.float32), **features.stft)
    masked = audio.apply_masks(
        audio.stft(jnp.asarray(mixture.mixture, jnp.float32), **features.stft),
        audio.ideal_binary_mask(sources),
    )
    return np.asarray(audio.istft(masked, **features.stft, length=mixture.sources.shape[1]), np.float64)


def summarize_separation(scores: Sequence[SeparationScore], measure: str = "sdr") -> list[GroupScore]:
    """Mean improvement of one measure over all mixtures, and by pair of genders where there are several."""
    groups = {"all": list(scores)}
    for pair in sorted({score.genders for score in scores}):
        groups[pair] = [score for score in scores if score.genders == pair]
    if len(groups) == 2:
        del groups["all"]
    return [_summarize(group, members, measure) for group, members in groups.items() if members]


def _summarize(group: str, scores: Sequence[SeparationScore], measure: str) -> GroupScore:
    gains = np.array([score.improvement(measure) for score in scores])
    return GroupScore(
        group=group,
        mixtures=len(scores),
        improvement=float(gains.mean()),
        standard_error=float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else math.nan,
        ideal=float(np.mean([score.improvement(measure, of="ideal") for score in scores])),
        input=float(np.mean([getattr(score, f"{measure}_input") for score in scores])),
    )


def _measure(sources: np.ndarray, estimates: np.ndarray) -> dict[str, list[float]]:
    """Each measure of each set of estimates ``[sets, sources, samples]``, the means over the sources."""
    evaluated = metrics.bss_eval(sources, estimates)
    ordered = np.take_along_axis(estimates, evaluated.permutation[..., None], axis=1)
    by_source = {
        "sdr": evaluated.sdr,
        "sir": evaluated.sir,
        "sar": evaluated.sar,
        "si_sdr": metrics.si_sdr(sources, ordered),
    }
    return {measure: scores.mean(-1).tolist() for measure, scores in by_source.items()}
