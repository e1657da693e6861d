"""From a configuration to all that comes of it: u-vectors, their scores beside baselines, curves, one run directory.

::

    model/                       the model directory
    results/scores.csv           every score, see :data:`jaxspk.systems.COLUMNS` there
    results/curves.csv           scores of the models at the validations
    results/embeddings.npz       vectors of the clustered segments, their speakers and clusters
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from jaxspk import data, training
from jaxspk.audio import FrameFeatureConfig
from jaxspk.clustering import cluster_embeddings
from jaxspk.errors import ArgumentError, CorpusError
from jaxspk.systems._cluster_scores import draw_items, score_clusters
from jaxspk.systems._u_vector_baselines import LinearDiscriminant
from jaxspk.systems._u_vector_scores import (
    DISCRIMINANT,
    U_VECTORS,
    UNTRAINED_NETWORK,
    UVectorScore,
    find_score,
    score_cepstra,
    score_vectors,
    segment_vectors,
    unit_rows,
    write_u_vector_scores,
)
from jaxspk.systems._u_vector_speech import (
    TRANSDUCTIVE,
    SpeakerSegments,
    UVectorData,
    UVectorSpeech,
    prepare_u_vector_data,
    read_speaker_segments,
)
from jaxspk.systems._u_vector_training import TrainedUVectors, UVectorTraining, train_u_vectors
from jaxspk.systems._u_vectors import UVectorModel, save_u_vectors
from jaxspk.training import Run

SCORES_FILE, CURVES_FILE, EMBEDDINGS_FILE = "scores.csv", "curves.csv", "embeddings.npz"

CURVE_COLUMNS = ("step", "epoch", "labels", "of", "accuracy", "nmi", "ari")

_WATCHED = "watched"
_CURVE_RESTARTS = {"pseudo-labels": 1, "speakers": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class UVectorExperiment:
    """A training of u-vectors on some speakers, and its test."""

    speech: UVectorSpeech = dataclasses.field(default_factory=UVectorSpeech)
    """Whom to cluster, and what is known of them."""
    training: UVectorTraining = dataclasses.field(default_factory=UVectorTraining)
    """How to train."""

    def __post_init__(self) -> None:
        if self.speech.apart != "segment" and self.training.twin != "pairwise":
            raise ArgumentError(
                "`apart` is about the cannot-links of pairs, and a loss on whole pseudo-classes has none; "
                "leave it, or set `twin` to 'pairwise'."
            )


class CurvePoint(NamedTuple):
    """Scores of the model at a validation, of ten frames a class as the paper scores them, or of segments.

    Attributes:
      step: of the training.
      epoch: how often each frame (or class) was gone through.
      labels: "pseudo-labels" or "speakers".
      of: "frames" or "segments".
      accuracy: ACC.
      nmi: normalised mutual information.
      ari: adjusted Rand index.
    """

    step: int
    epoch: float
    labels: str
    of: str
    accuracy: float
    nmi: float
    ari: float


class ClusteredSegments(NamedTuple):
    """The vectors of the segments that were clustered, for pictures.

    Attributes:
      vectors: mean of the frames of each.
      speakers: true speaker of each, a number.
      clusters: what k-means found.
    """

    vectors: Float[np.ndarray, "segments dim"]
    speakers: Int[np.ndarray, " segments"]
    clusters: Int[np.ndarray, " segments"]


@dataclasses.dataclass(frozen=True)
class UVectorOutcome:
    """Everything that came of a run; reports are made of it.

    Attributes:
      folder: the run directory.
      config: what was asked for.
      made: the speech.
      trained: the network and how its training went.
      scores: of u-vectors and baselines.
      curves: of the training.
      clustered: vectors of the segments.
      metrics: the lines of ``metrics.jsonl``.
    """

    folder: Path
    config: UVectorExperiment
    made: UVectorData
    trained: TrainedUVectors
    scores: tuple[UVectorScore, ...]
    curves: tuple[CurvePoint, ...]
    clustered: ClusteredSegments
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said wherever its results are shown."""
        return (self.made.labelled.note, *([TRANSDUCTIVE] if self.made.transductive else []))


def run_u_vectors(
    config: UVectorExperiment,
    workdir: Path | str,
    *,
    there: SpeakerSegments | None = None,
    baselines: bool = True,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> UVectorOutcome:
    """Trains on unlabelled segments, clusters and scores; goes on where a killed run stopped.

    Who speaks is looked at after the training only: for curves, it leaves behind the vectors at its validations.

    Args:
      config: what to do.
      workdir: the run directory; a new one, or that of a run with the same configuration.
      there: the speech, where it was read before.
      baselines: score MFCC statistics, the linear discriminant and the untrained network too.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      JaxspkError: see :func:`read_speaker_segments`, :func:`prepare_u_vector_data`, :class:`jaxspk.training.Run` and
        :func:`train_u_vectors`.
    """
    asked = config.training
    with Run(workdir, config) as run:
        segments = there or read_speaker_segments(config.speech, asked.system.segments)
        made = prepare_u_vector_data(config.speech, segments)
        say(made.describe())
        watched = run.folder / _WATCHED
        trained = train_u_vectors(
            asked,
            made.labelled,
            run,
            held_out=made.held_out_frames,
            noises=made.noises,
            watch=_watcher(watched, made),
            progress=progress,
        )
        say("scoring")
        unit = asked.twin == "classwise"
        scores = list(score_vectors(U_VECTORS, trained.model.embed, made, unit=unit, seed=asked.seed))
        if baselines:
            scores += baseline_scores(asked, made)
        curves = _curves(run.folder, made, unit, _frames_a_step(asked) / len(made.labelled), asked.seed)
        clustered = cluster_segments(trained.model, made, unit=unit, seed=asked.seed)
        write_u_vector_scores(run.results / SCORES_FILE, scores)
        data.write_table(run.results / CURVES_FILE, CURVE_COLUMNS, (point._asdict() for point in curves))
        np.savez(run.results / EMBEDDINGS_FILE, **clustered._asdict())
        save_u_vectors(
            run.folder / "model", asked.system, trained.model, card=u_vector_card(config, made, trained, scores)
        )
        # Not before: a run that was killed while it scored still has them.
        shutil.rmtree(watched, ignore_errors=True)
        metrics = tuple(training.read_metrics(run.folder))
        return UVectorOutcome(run.folder, config, made, trained, tuple(scores), tuple(curves), clustered, metrics)


def baseline_scores(config: UVectorTraining, made: UVectorData) -> list[UVectorScore]:
    """Scores of MFCC statistics, of the linear discriminant, and of the network before any step."""
    scores = list(score_cepstra(made, seed=config.seed))
    discriminant = LinearDiscriminant.fit(made.labelled, _bands(config))
    scores += score_vectors(DISCRIMINANT, discriminant.embed, made, unit=True, seed=config.seed)
    untrained = UVectorModel(config.system, rngs=nnx.Rngs(config.seed))
    scores += score_vectors(UNTRAINED_NETWORK, untrained.embed, made, unit=False, seed=config.seed)
    return scores


def cluster_segments(model: UVectorModel, made: UVectorData, *, unit: bool, seed: int) -> ClusteredSegments:
    """Vectors and clusters of the segments, as many clusters as there are speakers."""
    frames, each = made.segments.frames, made.segments.frames.shape[1]
    vectors = model.embed(frames.reshape(-1, frames.shape[2])).astype(np.float64)
    means, speakers = segment_vectors(
        unit_rows(vectors) if unit else vectors, made.truth.of_frames(each), each, unit=unit
    )
    return ClusteredSegments(means, speakers, cluster_embeddings(means, len(made.truth.speakers), seed=seed).labels)


def read_curves_of(folder: Path) -> list[CurvePoint]:
    """The curves in a run directory.

    Raises:
      CorpusError: there are none, or they are damaged.
    """
    path = folder / "results" / CURVES_FILE
    try:
        return [
            CurvePoint(
                int(row.cells["step"]),
                float(row.cells["epoch"]),
                row.cells["labels"],
                row.cells["of"],
                *(float(row.cells[name]) for name in CURVE_COLUMNS[4:]),
            )
            for row in data.read_table(path, required=CURVE_COLUMNS)
        ]
    except ValueError as error:
        raise CorpusError(f"{path}: not a table of curves ({error}).") from None


def u_vector_card(
    config: UVectorExperiment, made: UVectorData, trained: TrainedUVectors, scores: Sequence[UVectorScore]
) -> str:
    """The model card: what was trained on what, and how well it clusters."""
    found = find_score(scores)
    network, twin = config.training.system.network, config.training.twin
    loss = "AutoEmbedder's" if twin == "pairwise" else config.training.classwise.objective.loss
    lines = [
        "# U-vectors",
        "",
        f"Vectors of {config.training.system.segments.frame_seconds:g} s of sound, network `{network.network}`, "
        f"{network.dim} dimensions, loss {loss}, {trained.result.step} steps.",
        "",
        f"Trained on {made.describe()}.",
    ]
    if found is not None:
        lines += [
            "",
            f"k-means of the means of {found.counts['items']} segments of {found.counts['classes']} speakers that it "
            f"was trained on: ARI {found.scores['ari']:.3f} (random vectors {found.scores['noise_ari']:.3f}).",
        ]
    lines += ["", "It knows the recordings it was trained on; others it may cluster worse.", ""]
    return "\n".join(lines)


def _watcher(folder: Path, made: UVectorData) -> Callable[[int, UVectorModel], None]:
    """Keeps the vectors of all that is scored, under the step; what is done twice comes out the same."""

    def watch(step: int, model: UVectorModel) -> None:
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{step:08d}.npy", model.embed(made.scored.frames))

    return watch


def _curves(folder: Path, made: UVectorData, unit: bool, epochs_a_step: float, seed: int) -> list[CurvePoint]:
    """Scores of what was kept; of a run that was scored before, those that it has."""
    files = sorted((folder / _WATCHED).glob("*.npy"))
    if not files and (folder / "results" / CURVES_FILE).is_file():
        return read_curves_of(folder)
    each = made.segments.frames.shape[1]
    in_segments = np.shares_memory(made.scored.frames, made.segments.frames)
    points = []
    for file in files:
        step = int(file.stem)
        vectors = np.load(file).astype(np.float64)
        vectors = unit_rows(vectors) if unit else vectors
        scored = [
            ("pseudo-labels", "frames", vectors, made.scored.labels),
            ("speakers", "frames", vectors, made.scored_speakers),
        ]
        if in_segments:
            scored.append(("speakers", "segments", *segment_vectors(vectors, made.scored_speakers, each, unit=unit)))
        for labels, of, rows, classes in scored:
            drawn = draw_items(classes, "ten" if of == "frames" else "all", seed=seed)
            count = min(len(np.unique(classes)), len(drawn))
            found = cluster_embeddings(rows[drawn], count, restarts=_CURVE_RESTARTS[labels], seed=seed)
            accuracy, nmi, ari, _ = score_clusters(classes[drawn], found.labels)
            points.append(CurvePoint(step, step * epochs_a_step, labels, of, accuracy, nmi, ari))
    return points


def _frames_a_step(config: UVectorTraining) -> int:
    if config.twin == "pairwise":
        return config.pairwise.pairs
    return config.classwise.classes * config.classwise.frames


def _bands(config: UVectorTraining) -> FrameFeatureConfig:
    """The discriminant's own pictures at the rate of the experiment: its statistics want logarithms."""
    return FrameFeatureConfig(sample_rate=config.system.segments.sample_rate, scale="htk", normalize=False)
