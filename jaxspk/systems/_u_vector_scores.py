"""Scores of a u-vector experiment: against pseudo-labels and speakers, of frames and segments, beside noise."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from jaxspk import data
from jaxspk.errors import CorpusError
from jaxspk.systems._cluster_scores import SAMPLINGS, SCORES, Sampling, pool_items, score_embeddings
from jaxspk.systems._u_vector_baselines import standardized_cepstra
from jaxspk.systems._u_vector_speech import UVectorData

Labels = Literal["pseudo-labels", "speakers"]
Items = Literal["frames", "segments"]

CLUSTERED, HELD_OUT_FRAMES, HELD_OUT_SPEAKERS = "clustered", "held-out frames", "held-out speakers"
"""Which speech was scored: what was trained on, frames of it that were kept back, speakers that were not heard."""

U_VECTORS, MFCC_STATISTICS, DISCRIMINANT, UNTRAINED_NETWORK = (
    "u-vectors", "MFCC statistics", "linear discriminant", "untrained network",
)  # fmt: skip
"""Whose vectors were scored."""

_COUNTS = ("items", "classes", "clusters")
_COLUMNS = tuple(f"{prefix}{name}" for prefix in ("", "noise_") for name in SCORES)
_MARK = "_two_a_class"

COLUMNS = (
    "vectors", "speech", "labels", "of", "sampling", *_COUNTS, *_COLUMNS, *(f"{name}{_MARK}" for name in _COLUMNS),
)  # fmt: skip
"""Of a table of scores. Those under the released sampling have columns of their own: they compare with no others."""

# Restarts of k-means, and draws of noise. With hundreds of clusters one more changes little and takes long.
_OF_SPEAKERS, _OF_PSEUDO_LABELS = (10, 3), (2, 1)

Embed = Callable[[Float32[np.ndarray, "frames samples"]], Float[np.ndarray, "frames dim"]]


@dataclasses.dataclass(frozen=True)
class UVectorScore:
    """A row of a table of scores.

    Attributes:
      vectors: whose they are.
      speech: which speech.
      labels: what clusters were compared with.
      of: what was clustered.
      sampling: which of it, of :data:`jaxspk.systems.SAMPLINGS`.
      counts: items, classes and clusters.
      scores: ACC, NMI, ARI and AMI by name, and each of noise, ``noise_ari``.
    """

    vectors: str
    speech: str
    labels: Labels
    of: Items
    sampling: Sampling
    counts: Mapping[str, int]
    scores: Mapping[str, float]


def unit_rows(vectors: Float[np.ndarray, "items dim"]) -> Float[np.ndarray, "items dim"]:
    """Each row to length one; zeros stay zero."""
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def segment_vectors(
    vectors: Float[np.ndarray, "frames dim"], speakers: Int[np.ndarray, " frames"], each: int, *, unit: bool
) -> tuple[Float[np.ndarray, "segments dim"], Int[np.ndarray, " segments"]]:
    """Mean vector of each ``each`` frames in a row, and the speaker of each segment."""
    means, of_segment = pool_items(vectors, speakers, np.arange(len(vectors)) // each)
    return (unit_rows(means) if unit else means), of_segment


def score_vectors(name: str, embed: Embed, made: UVectorData, *, unit: bool, seed: int = 0) -> Iterator[UVectorScore]:
    """Scores vectors in every way that says something.

    Args:
      name: whose they are.
      embed: makes them.
      made: the speech.
      unit: whether only their directions count.
      seed: of sampling and k-means.
    """

    def of(frames: Float32[np.ndarray, "frames samples"]) -> Float[np.ndarray, "frames dim"]:
        vectors = np.asarray(embed(frames), np.float64)
        return unit_rows(vectors) if unit else vectors

    def row(
        speech: str,
        labels: Labels,
        items: Items,
        vectors: Float[np.ndarray, "items dim"],
        classes: Int[np.ndarray, " items"],
        sampling: Sampling = "all",
    ) -> UVectorScore:
        restarts, draws = _OF_PSEUDO_LABELS if labels == "pseudo-labels" else _OF_SPEAKERS
        scored = score_embeddings(vectors, classes, sampling=sampling, restarts=restarts, noise_draws=draws, seed=seed)
        numbers = {key: getattr(scored.scores, key) for key in SCORES}
        numbers |= {f"noise_{key}": getattr(scored.noise, key) for key in SCORES}
        counts = {key: getattr(scored, key) for key in _COUNTS}
        return UVectorScore(name, speech, labels, items, sampling, counts, numbers)

    frames, each = made.segments.frames, made.segments.frames.shape[1]
    flat = frames.reshape(-1, frames.shape[2])
    vectors, speakers = of(flat), made.truth.of_frames(each)
    yield row(CLUSTERED, "speakers", "segments", *segment_vectors(vectors, speakers, each, unit=unit))
    for sampling in SAMPLINGS:
        yield row(CLUSTERED, "speakers", "frames", vectors, speakers, sampling)
    scored = vectors if np.shares_memory(made.scored.frames, frames) else of(made.scored.frames)
    yield row(CLUSTERED, "pseudo-labels", "frames", scored, made.scored.labels)
    yield row(CLUSTERED, "pseudo-labels", "frames", scored, made.scored.labels, "released")
    if made.unheard.any():
        held, who = scored[made.unheard], made.scored_speakers[made.unheard]
        yield row(HELD_OUT_FRAMES, "speakers", "frames", held, who)
        yield row(HELD_OUT_FRAMES, "pseudo-labels", "frames", held, made.scored.labels[made.unheard])
    if made.others is not None:
        segments, truth = made.others
        others, who = of(segments.frames.reshape(-1, flat.shape[1])), truth.of_frames(each)
        yield row(HELD_OUT_SPEAKERS, "speakers", "segments", *segment_vectors(others, who, each, unit=unit))
        yield row(HELD_OUT_SPEAKERS, "speakers", "frames", others, who)


def score_cepstra(made: UVectorData, *, seed: int = 0) -> Iterator[UVectorScore]:
    """The baseline: the same rows of MFCC statistics, of a segment those of all of it at once."""
    rate = made.segments.config.sample_rate
    whole = {HELD_OUT_SPEAKERS: made.others, CLUSTERED: (made.segments, made.truth)}

    def embed(frames: Float32[np.ndarray, "frames samples"]) -> Float[np.ndarray, "frames dim"]:
        return standardized_cepstra(frames, rate)

    for score in score_vectors(MFCC_STATISTICS, embed, made, unit=False, seed=seed):
        there = whole.get(score.speech)
        if score.of == "segments" and there is not None:
            segments, truth = there
            sounds = segments.frames.reshape(len(segments), -1)
            scored = score_embeddings(standardized_cepstra(sounds, rate), truth.labels, seed=seed)
            numbers = {key: getattr(scored.scores, key) for key in SCORES}
            score = dataclasses.replace(score, scores={**score.scores, **numbers})
        yield score


def find_score(
    scores: Sequence[UVectorScore],
    vectors: str = U_VECTORS,
    *,
    speech: str = CLUSTERED,
    labels: Labels = "speakers",
    of: Items = "segments",
    sampling: Sampling = "all",
) -> UVectorScore | None:
    """The row that is asked for, None where it was not scored."""
    wanted = (vectors, speech, labels, of, sampling)
    return next((s for s in scores if (s.vectors, s.speech, s.labels, s.of, s.sampling) == wanted), None)


def write_u_vector_scores(path: Path, scores: Sequence[UVectorScore]) -> None:
    """Writes a table of :data:`COLUMNS`."""
    data.write_table(path, COLUMNS, (score_columns(score) for score in scores))


def score_columns(score: UVectorScore) -> dict[str, object]:
    """A row of the table; where a column does not apply, nothing."""
    mark = _MARK if score.sampling == "released" else ""
    named = {f"{key}{mark}": value for key, value in score.scores.items()}
    row = {"vectors": score.vectors, "speech": score.speech, "labels": score.labels, "of": score.of}
    return {**dict.fromkeys(COLUMNS, ""), **row, "sampling": score.sampling, **score.counts, **named}


def read_u_vector_scores(path: Path) -> list[UVectorScore]:
    """What :func:`write_u_vector_scores` wrote.

    Raises:
      CorpusError: the table is damaged.
    """
    try:
        return [_score(row.cells) for row in data.read_table(path, required=COLUMNS)]
    except ValueError as error:
        raise CorpusError(f"{path}: not a table of scores ({error}).") from None


def _score(cells: Mapping[str, str]) -> UVectorScore:
    mark = _MARK if cells["sampling"] == "released" else ""
    return UVectorScore(
        cells["vectors"],
        cells["speech"],
        cells["labels"],  # type: ignore[arg-type]
        cells["of"],  # type: ignore[arg-type]
        cells["sampling"],  # type: ignore[arg-type]
        {name: int(cells[name]) for name in _COUNTS},
        {name: float(cells[f"{name}{mark}"]) for name in _COLUMNS},
    )
