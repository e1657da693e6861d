"""Verification of an encoder on all pairs of a set of recordings: embeddings once, scores of every group of trials."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from jaxspk import audio, data, metrics
from jaxspk.data import Manifest
from jaxspk.errors import CorpusError
from jaxspk.metrics import VerificationSummary
from jaxspk.systems._speaker_model import BandConfig, with_border
from jaxspk.systems._trial_scoring import Embedder, embed_recordings, score_pairs

POOLED = "all"
SAME_SEX = ", one sex"

_PAD_TO_SECONDS = 8.0


@dataclasses.dataclass(frozen=True, eq=False)
class TrialGroup:
    """Some of the pairs of a manifest's recordings.

    Attributes:
      name: for a table: "all", a corpus, and each within one sex.
      enrol: first of each pair, a place in the manifest.
      test: second.
      labels: whether both are of one speaker.
      speakers: of both sides, numbered: the units of a bootstrap.
    """

    name: str
    enrol: Int[np.ndarray, " trials"]
    test: Int[np.ndarray, " trials"]
    labels: Bool[np.ndarray, " trials"]
    speakers: Int[np.ndarray, "trials 2"]


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredGroup:
    """A group of trials with their scores and what they add up to."""

    group: TrialGroup
    scores: Float64[np.ndarray, " trials"]
    summary: VerificationSummary


@dataclasses.dataclass(frozen=True, eq=False)
class VerificationScores:
    """What :func:`evaluate_verification` finds.

    Attributes:
      manifest: the recordings.
      vectors: ``[recordings, crops, dim]``, of the manifest's recordings in order.
      groups: by name, :data:`POOLED` first.
      speech_seconds: speech in each recording; 0 where it was not measured.
      identification: share of recordings that are nearest to their own speaker's others, of speakers with several.
    """

    manifest: Manifest
    vectors: Float[np.ndarray, "recordings crops dim"]
    groups: Mapping[str, ScoredGroup]
    speech_seconds: Float64[np.ndarray, " recordings"]
    identification: float


def trial_groups(manifest: Manifest) -> tuple[TrialGroup, ...]:
    """All pairs, those of each corpus, and those of each within one sex; none of one speaker within one session.

    A group without trials of both kinds is left out.

    Raises:
      CorpusError: there is no trial of one speaker at all.
    """
    names = {name: number for number, name in enumerate(manifest.speakers)}
    speaker = np.array([names[utterance.speaker] for utterance in manifest])
    corpora = sorted({utterance.corpus for utterance in manifest if utterance.corpus})
    wanted: list[tuple[str, Bool[np.ndarray, " recordings"]]] = [(POOLED, np.ones(len(manifest), bool))]
    if len(corpora) > 1:
        wanted += [(name, np.array([utterance.corpus == name for utterance in manifest])) for name in corpora]
    found = []
    for same_sex in (False, True):
        try:
            trials = data.make_trials(manifest, sessions="across", same_sex_only=same_sex)
        except CorpusError:
            if not same_sex:
                raise
            continue
        for name, member in wanted:
            keep = member[trials.enrol] & member[trials.test]
            labels = trials.labels[keep]
            if labels.any() and not labels.all():
                enrol, test = trials.enrol[keep], trials.test[keep]
                both = np.stack([speaker[enrol], speaker[test]], axis=1)
                found.append(TrialGroup(name + SAME_SEX * same_sex, enrol, test, labels, both))
    return tuple(found)


def evaluate_verification(
    encoder: Embedder,
    manifest: Manifest,
    *,
    protocol: str = "whole",
    resamples: int = 200,
    seed: int = 0,
) -> VerificationScores:
    """Scores all pairs of a manifest's recordings.

    Args:
      encoder: what embeds.
      manifest: recordings, of several speakers.
      protocol: a key of :data:`jaxspk.systems.PROTOCOLS`.
      resamples: of the bootstrap of speakers behind the intervals of equal error rates; 0 for none.
      seed: of the bootstrap.

    Raises:
      CorpusError: there is no trial of one speaker.
      AudioError: a recording cannot be embedded.
    """
    paths = [utterance.path for utterance in manifest]
    embedded = embed_recordings(encoder, paths, protocol=protocol, measure_quality=True)
    if embedded.failed:
        raise embedded.failed[0][1]
    return score_verification(
        embedded.vectors,
        manifest,
        protocol=protocol,
        speech_seconds=np.array([quality.speech_seconds for quality in embedded.qualities]),
        resamples=resamples,
        seed=seed,
    )


def score_verification(
    vectors: Float[np.ndarray, "recordings crops dim"],
    manifest: Manifest,
    *,
    protocol: str = "whole",
    speech_seconds: Float64[np.ndarray, " recordings"] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> VerificationScores:
    """The same of vectors that are there already, in the order of the manifest."""
    first, second = np.triu_indices(len(manifest), 1)
    table = np.zeros((len(manifest), len(manifest)))
    table[first, second] = table[second, first] = score_pairs(vectors, first, second, protocol=protocol)
    return score_table(table, manifest, vectors=vectors, speech_seconds=speech_seconds, resamples=resamples, seed=seed)


def score_table(
    table: Float64[np.ndarray, "recordings recordings"],
    manifest: Manifest,
    *,
    vectors: Float[np.ndarray, "recordings crops dim"] | None = None,
    speech_seconds: Float64[np.ndarray, " recordings"] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> VerificationScores:
    """The same of scores by any rule: minus a distance, for instance.

    Args:
      table: of every recording of the manifest against every other one, symmetric, higher for more similar voices.
      manifest: the recordings.
      vectors: what was compared, where it is vectors.
      speech_seconds: speech in each recording.
      resamples: of the bootstrap of speakers behind the intervals of equal error rates; 0 for none.
      seed: of the bootstrap.
    """
    scored = {}
    for group in trial_groups(manifest):
        scores = table[group.enrol, group.test]
        summary = metrics.summarize_verification(
            scores, group.labels, resamples=resamples, seed=seed, clusters=group.speakers if resamples else None
        )
        scored[group.name] = ScoredGroup(group, scores, summary)
    seconds = np.zeros(len(manifest)) if speech_seconds is None else speech_seconds
    vectors = np.zeros((len(manifest), 1, 0)) if vectors is None else vectors
    return VerificationScores(manifest, vectors, scored, seconds, _identification(table, manifest))


def _identification(table: Float64[np.ndarray, "recordings recordings"], manifest: Manifest) -> float:
    """Leave one out: each recording against the speakers' mean scores over their other recordings."""
    names = {name: number for number, name in enumerate(manifest.speakers)}
    speaker = np.array([names[utterance.speaker] for utterance in manifest])
    scores = table - np.diag(np.diag(table))
    member = np.eye(len(names))[speaker]
    counts = member.sum(0) - member
    means = (scores @ member) / np.maximum(counts, 1)
    several = np.flatnonzero(counts[np.arange(len(speaker)), speaker] > 0)
    return metrics.identification_accuracy(means[several], speaker[several])


# --- Baselines. ---


@dataclasses.dataclass(frozen=True)
class CepstralStatistics:
    """No network at all: mean and deviation of the cepstral coefficients of a recording, as a vector.

    Attributes:
      coefficients: how many.
      sample_rate: in Hz.
    """

    coefficients: int = 20
    sample_rate: int = 16_000
    shortest_seconds: float = 0.1

    def embed(self, waveform: Sequence[np.ndarray], sample_rate: int) -> Float[np.ndarray, "recordings dim"]:
        """``2 * coefficients`` numbers a recording, of no particular length."""
        features = BandConfig(mel=audio.MelConfig(sample_rate=self.sample_rate))
        unpadded = dataclasses.replace(features.mel, padding="none")
        rows = []
        for recording in waveform:
            heard = audio.resample(np.asarray(recording, np.float32), sample_rate, self.sample_rate)
            # Its own borders, then zeros, whose frames are cut off again: a few lengths only are compiled.
            padded = with_border(heard, features)
            padded = np.pad(padded, (0, -len(padded) % features.samples(_PAD_TO_SECONDS)))
            frames = 1 + len(heard) // features.mel.hop_length
            cepstra = np.asarray(_cepstra(padded, unpadded, self.coefficients))[:frames]
            rows.append(np.concatenate([cepstra.mean(0), cepstra.std(0)]))
        return np.stack(rows).astype(np.float32)

    def embed_crops(
        self, waveform: np.ndarray, sample_rate: int, *, seconds: float, count: int
    ) -> Float[np.ndarray, "count dim"]:
        """The same of evenly spaced crops."""
        crops = data.evenly_spaced_crops(waveform, round(seconds * sample_rate), count)
        return self.embed(list(crops), sample_rate)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _cepstra(waveform: Float[Array, " padded"], mel: audio.MelConfig, coefficients: int) -> Float[Array, "frames c"]:
    return audio.mfcc(jnp.asarray(waveform), mel, num_coefficients=coefficients)


def whitened(vectors: Float[np.ndarray, "recordings crops dim"]) -> Float[np.ndarray, "recordings crops dim"]:
    """Each dimension to zero mean and unit deviation over the recordings, then each vector to unit length."""
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
    scaled = (vectors - flat.mean(0)) / np.maximum(flat.std(0), 1e-12)
    unit: np.ndarray = scaled / np.linalg.norm(scaled, axis=-1, keepdims=True)
    return unit.astype(np.float32)


def cepstral_baseline(manifest: Manifest, *, resamples: int = 200, seed: int = 0) -> VerificationScores:
    """Mean and deviation of 20 MFCCs, whitened per dimension over these very recordings, compared by cosine."""
    embedded = embed_recordings(CepstralStatistics(), [utterance.path for utterance in manifest])
    if embedded.failed:
        raise embedded.failed[0][1]
    return score_verification(whitened(embedded.vectors), manifest, resamples=resamples, seed=seed)


# --- Tables on disk. ---


def summary_rows(scores: VerificationScores) -> Iterator[dict[str, str | int | float]]:
    """One row a group."""
    for name, scored in scores.groups.items():
        summary = scored.summary
        interval = summary.eer_interval
        yield {
            "trials": name,
            "same": summary.targets,
            "different": summary.nontargets,
            "eer": summary.eer,
            "eer_low": "" if interval is None else interval.low,
            "eer_high": "" if interval is None else interval.high,
            **{f"min_dcf_{share:g}": cost for share, cost in summary.min_dcf.items()},
            "min_cllr": summary.min_cllr,
            "identification": scores.identification if name == POOLED else "",
        }


def write_trial_scores(path: Path, scores: VerificationScores, name: Callable[[Path], str]) -> None:
    """All pairs and their scores, in the format of `jaxspk score`.

    Args:
      path: of the file.
      scores: what to write.
      name: of a recording in the file.
    """
    pooled = scores.groups[POOLED]
    names = [name(utterance.path) for utterance in scores.manifest]
    enrol, test = (tuple(names[place] for place in side) for side in (pooled.group.enrol, pooled.group.test))
    data.write_scores(path, data.ScoredTrials(data.Trials(enrol, test, pooled.group.labels), pooled.scores))
