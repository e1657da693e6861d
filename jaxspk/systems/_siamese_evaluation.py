"""What a regularized siamese network is worth: verification beside baselines and control, and what its code carries."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from jaxspk import _checks
from jaxspk.audio import SpeechFrames
from jaxspk.data import Manifest
from jaxspk.systems._cepstral_baselines import BaselineConfig, cepstral_tables, cosine_table
from jaxspk.systems._regularized_siamese import SiameseEncoder, summarize_codes, summary_basis
from jaxspk.systems._speaker_evaluation import VerificationScores, score_table
from jaxspk.systems._speaker_statistics import DistanceName, distance_table, speaker_statistics

NETWORK, CONTROL, CEPSTRA = "network", "control", "cepstra"
"""Kinds of rows: by the network's speaker units, trained or not; by its other units; by cepstra without a network."""

# Of codes; the third needs a determinant for each pair of recordings, minutes with hundreds of units.
_GAUSSIAN_DISTANCES: tuple[DistanceName, ...] = ("trace", "kullback_leibler")

Part = Literal["speaker units", "rest units", "cepstra"]


@dataclasses.dataclass(frozen=True)
class ComparedScores:
    """One way to compare recordings, and how it did.

    Attributes:
      name: in words.
      kind: one of :data:`NETWORK`, :data:`CONTROL`, :data:`CEPSTRA`.
      scores: of all trials.
    """

    name: str
    kind: str
    scores: VerificationScores


def compare_encoders(
    encoders: Mapping[str, SiameseEncoder],
    manifest: Manifest,
    tested: Sequence[SpeechFrames],
    known: Sequence[SpeechFrames],
    *,
    baselines: BaselineConfig | None = None,
    resamples: int = 200,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[ComparedScores, ...]:
    """Verification on the same trials by every encoder, by the last one's Gaussians and rest units, and by cepstra.

    Args:
      encoders: by name, the one that counts last; all of one front end, their vectors standardised.
      manifest: recordings of speakers nobody was trained on.
      tested: what the front end makes of them.
      known: training recordings, which standardise what the encoders do not.
      baselines: settings of the cepstral ones; its shrinkage also serves the Gaussians of codes.
      resamples: of the bootstrap of speakers behind the intervals; 0 for none.
      seed: of the bootstrap.
      say: told, in a line each, what is being done.
    """
    settings = baselines or BaselineConfig()
    tables: dict[tuple[str, str], Callable[[], Float64[np.ndarray, "recordings recordings"]]] = {}
    for name, encoder in encoders.items():
        tables[f"{name}, cosine", NETWORK] = functools.partial(_vector_table, encoder, tested)
    last_name, last = list(encoders.items())[-1]
    for distance in _GAUSSIAN_DISTANCES:
        title = f"{last_name}, Gaussian, {distance.replace('_', '-')}"
        tables[title, NETWORK] = functools.partial(_gaussian_table, last, tested, distance, settings.shrinkage)
    if last.config.speaker_units < last.config.code_units:
        tables[f"{last_name}, rest units, cosine", CONTROL] = functools.partial(_rest_table, last, tested, known)
    for name, table in cepstral_tables(tested, known, settings).items():
        tables[f"MFCC, {name}", CEPSTRA] = table
    found = []
    for (name, kind), table in tables.items():
        say(f"scoring: {name}")
        found.append(ComparedScores(name, kind, score_table(table(), manifest, resamples=resamples, seed=seed)))
    return tuple(found)


def encoder_scores(
    encoder: SiameseEncoder,
    manifest: Manifest,
    tested: Sequence[SpeechFrames],
    known: Sequence[SpeechFrames],
    *,
    resamples: int = 0,
    seed: int = 0,
) -> dict[str, VerificationScores]:
    """The same by one encoder alone: by its vectors, and by its rest units where it has some; by kind."""
    tables = {NETWORK: _vector_table(encoder, tested)}
    if encoder.config.speaker_units < encoder.config.code_units:
        tables[CONTROL] = _rest_table(encoder, tested, known)
    return {kind: score_table(table, manifest, resamples=resamples, seed=seed) for kind, table in tables.items()}


def _vector_table(
    encoder: SiameseEncoder, tested: Sequence[SpeechFrames]
) -> Float64[np.ndarray, "recordings recordings"]:
    vectors = np.stack([encoder.vector_of(encoder.codes_of(one)) for one in tested]).astype(np.float64)
    table: np.ndarray = vectors @ vectors.T
    return table


def _gaussian_table(
    encoder: SiameseEncoder, tested: Sequence[SpeechFrames], distance: DistanceName, shrinkage: float
) -> Float64[np.ndarray, "recordings recordings"]:
    units = encoder.config.speaker_units
    statistics = [speaker_statistics(encoder.codes_of(one)[:, :units], shrinkage=shrinkage) for one in tested]
    return -distance_table(statistics, distance)


def _rest_table(
    encoder: SiameseEncoder, tested: Sequence[SpeechFrames], known: Sequence[SpeechFrames]
) -> Float64[np.ndarray, "recordings recordings"]:
    """The units beyond the speaker's, summed up and mapped just as these."""
    config = encoder.config
    summaries, standard = (
        np.stack([summarize_codes(encoder.codes_of(one)[:, config.speaker_units :], config.summary) for one in part])
        for part in (tested, known)
    )
    mean, basis = summary_basis(standard, config.dim, config.whitening)
    return cosine_table((summaries - mean) @ basis)


# --- What each part of the code carries: linear probes. ---


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How it is measured what the parts of a code carry."""

    sounds: int = 32
    """Classes of sounds, which stand for phones: clusters of cepstra from which each recording's mean is taken."""
    frames: int = 200
    """Frames of each recording that take part, evenly out of all."""
    ridge: float = 1e-2
    """Of the least squares, times the number of frames; inputs have deviation 1."""
    seed: int = 0
    """Of the clustering."""

    def __post_init__(self) -> None:
        _checks.check_range("sounds", self.sounds, low=2)
        _checks.check_range("frames", self.frames, low=2)
        _checks.check_range("ridge", self.ridge, low=0.0, low_open=True)


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Shares of frames of unheard recordings that a linear map names rightly.

    Attributes:
      part: of the code, or the cepstra themselves.
      numbers: how many the map hears.
      speaker: the speaker, out of all.
      speaker_chance: the share that the most frequent speaker makes.
      sound: the class of sounds.
      sound_chance: likewise.
    """

    part: Part
    numbers: int
    speaker: float
    speaker_chance: float
    sound: float
    sound_chance: float


def probe_code(
    encoder: SiameseEncoder,
    manifest: Manifest,
    recordings: Sequence[SpeechFrames],
    config: ProbeConfig | None = None,
) -> tuple[ProbeResult, ...]:
    """How much of the speaker and of what is said each part of the code carries, frame by frame.

    A linear map to the classes is fitted by least squares to the frames of every other recording of each speaker, and
    tested on the rest.

    Args:
      encoder: the network.
      manifest: recordings; speakers of a single one take no part.
      recordings: what the front end makes of them.
      config: settings.
    """
    from sklearn.cluster import KMeans

    config = config or ProbeConfig()
    several = {speaker for speaker, own in manifest.by_speaker().items() if len(own) > 1}
    speakers = {speaker: number for number, speaker in enumerate(sorted(several))}
    taken = [(u.speaker, frames) for u, frames in zip(manifest, recordings, strict=True) if u.speaker in several]
    cepstra, sounding, codes, who, trained_on = [], [], [], [], []
    turns: dict[str, int] = {}
    for name, frames in taken:
        spoken = frames.cepstra[frames.speech]
        places = np.unique(np.linspace(0, len(spoken) - 1, config.frames).astype(int))
        turns[name] = turns.get(name, -1) + 1
        cepstra.append(spoken[places])
        sounding.append((spoken - spoken.mean(0))[places])
        codes.append(encoder.codes_of(frames)[places])
        who.append(np.full(len(places), speakers[name]))
        trained_on.append(np.full(len(places), turns[name] % 2 == 0))
    heard, speaker, fitted = np.concatenate(codes), np.concatenate(who), np.concatenate(trained_on)
    clusters = KMeans(config.sounds, n_init=3, random_state=config.seed).fit_predict(np.concatenate(sounding))
    units = encoder.config.speaker_units
    parts: dict[Part, np.ndarray] = {
        "speaker units": heard[:, :units],
        "rest units": heard[:, units:],
        "cepstra": np.concatenate(cepstra),
    }
    return tuple(
        ProbeResult(
            part,
            values.shape[1],
            *_linear_accuracy(values, speaker, fitted, config.ridge),
            *_linear_accuracy(values, clusters, fitted, config.ridge),
        )
        for part, values in parts.items()
        if values.shape[1]
    )


def _linear_accuracy(
    values: Float32[np.ndarray, "frames numbers"],
    classes: Int[np.ndarray, " frames"],
    fitted: np.ndarray,
    ridge: float,
) -> tuple[float, float]:
    """The share of the frames left out that is named rightly, and that of the most frequent class among them."""
    known = values[fitted].astype(np.float64)
    mean, deviation = known.mean(0), np.maximum(known.std(0), 1e-9)
    inputs = _with_one((known - mean) / deviation)
    wanted = np.eye(int(classes.max()) + 1)[classes[fitted]]
    gram = inputs.T @ inputs + ridge * len(inputs) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ wanted)
    said = np.argmax(_with_one((values[~fitted] - mean) / deviation) @ weights, axis=1)
    true = classes[~fitted]
    return float(np.mean(said == true)), float(np.bincount(true).max() / len(true))


def _with_one(values: Float[np.ndarray, "frames numbers"]) -> Float[np.ndarray, "frames more"]:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)
