"""Scores of several ways to separate the same mixtures: one row a mixture and method, on disk as a table."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxspk import data, metrics
from jaxspk.data import Mixture
from jaxspk.errors import CorpusError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodScore:
    """What one method made of one mixture, in dB, each the mean over the speakers."""

    mixture: str
    """Name in its set."""
    genders: str
    """Sorted, for instance "FM"; "?" where one is unknown."""
    seconds: float
    method: str
    sdr_input: float
    """Of the mixture itself, as the estimate of every source."""
    sdr_output: float
    """Of the method's estimates, in the permutation that is best for the whole mixture."""
    si_sdr_input: float
    si_sdr_output: float

    def improvement(self, measure: str = "sdr") -> float:
        """How much better than the mixture itself, in dB; ``measure`` is "sdr" or "si_sdr"."""
        value: float = getattr(self, f"{measure}_output") - getattr(self, f"{measure}_input")
        return value


def score_methods(
    separate: Callable[[Mixture], Mapping[str, np.ndarray]], mixtures: Iterable[Mixture]
) -> Iterator[MethodScore]:
    """Separates mixtures with known sources and scores every estimate, one mixture at a time.

    Args:
      separate: from a mixture to the estimates of each method, ``[speakers, samples]``.
      mixtures: any that yield :class:`jaxspk.data.Mixture`.
    """
    for mixture in mixtures:
        sources = np.asarray(mixture.sources, np.float64)
        unprocessed = np.broadcast_to(np.asarray(mixture.mixture, np.float64), sources.shape)
        separated = separate(mixture)
        # In one call: the references are what takes the time.
        sdr, si_sdr = _measure(sources, np.stack([unprocessed, *separated.values()]))
        for number, method in enumerate(separated, 1):
            yield MethodScore(
                mixture=mixture.name,
                genders=mixture.genders or "?",
                seconds=sources.shape[1] / mixture.sample_rate,
                method=method,
                sdr_input=sdr[0],
                sdr_output=sdr[number],
                si_sdr_input=si_sdr[0],
                si_sdr_output=si_sdr[number],
            )


def write_method_scores(path: Path, scores: Sequence[MethodScore]) -> None:
    """Writes one row a score.

    Raises:
      CorpusError: the file cannot be written.
    """
    names = [field.name for field in dataclasses.fields(MethodScore)]
    data.write_table(path, names, [dataclasses.asdict(score) for score in scores])


def read_method_scores(path: Path) -> list[MethodScore]:
    """Reads what :func:`write_method_scores` wrote.

    Raises:
      CorpusError: the file cannot be read or is no such table.
    """
    fields = dataclasses.fields(MethodScore)
    rows = data.read_table(path, required=[field.name for field in fields])
    try:
        return [
            MethodScore(
                **{f.name: float(row.cells[f.name]) if f.type is float else row.cells[f.name] for f in fields}  # type: ignore[arg-type]
            )
            for row in rows
        ]
    except ValueError as error:
        raise CorpusError(f"{path}: not a table of scores ({error}).") from None


def _measure(sources: np.ndarray, estimates: np.ndarray) -> tuple[list[float], list[float]]:
    """SDR and SI-SDR of each set of estimates ``[sets, sources, samples]``, the means over the sources."""
    evaluated = metrics.bss_eval(sources, estimates)
    ordered = np.take_along_axis(estimates, evaluated.permutation[..., None], axis=1)
    return evaluated.sdr.mean(-1).tolist(), metrics.si_sdr(sources, ordered).mean(-1).tolist()
