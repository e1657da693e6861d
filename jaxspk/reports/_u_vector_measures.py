"""One number of a u-vector result, and its mean and spread over draws, for tables."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxspk.reports._tables import format_cell
from jaxspk.systems import CLUSTERED, UVectorResult, UVectorScore, find_score

NUMBER = ".3f"

Measure = Callable[[UVectorResult], float | None]


def measure(vectors: str, name: str, **where: Any) -> Measure:
    """A score by name, of the row that :func:`jaxspk.systems.find_score` finds with the other arguments."""

    def value(result: UVectorResult) -> float | None:
        found: UVectorScore | None = find_score(result.scores, vectors, **where)
        return None if found is None else found.scores[name]

    return value


def ari(vectors: str, *, speech: str = CLUSTERED, of: str = "segments", noise: bool = False) -> Measure:
    """The adjusted Rand index against the speakers, or that of random vectors."""
    return measure(vectors, "noise_ari" if noise else "ari", speech=speech, of=of)


def spread(results: Sequence[UVectorResult], wanted: Measure, specification: str = NUMBER) -> str | None:
    """Mean and standard deviation over draws; the value alone where there is one, None where there is none."""
    values = [value for result in results if (value := wanted(result)) is not None]
    if not values:
        return None
    text = format_cell(float(np.mean(values)), specification)
    if len(values) > 1:
        text += f" ± {format_cell(float(np.std(values, ddof=1)), NUMBER)}"
    return text


def marks(result: UVectorResult) -> str:
    """What is to be said of it wherever it is shown."""
    record = result.record
    found = [
        *(["USES SPEAKER LABELS"] if record["uses_labels"] else []),
        *(["transductive"] if record["transductive"] else []),
        *(["knows or hears more than the paper's method"] if record["beyond"] and not record["uses_labels"] else []),
    ]
    return ", ".join(found)
