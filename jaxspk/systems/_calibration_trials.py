"""Trials to calibrate with: the recordings of a corpus, cut to several durations, all against all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from jaxspk import audio, data
from jaxspk.data import Manifest
from jaxspk.errors import CorpusError
from jaxspk.systems._trial_scoring import CROP_SECONDS, PROTOCOLS, Embedder, score_pairs
from jaxspk.systems._verification import Protocol

_AT_ONCE = 32


class CalibrationTrials(NamedTuple):
    """Scored trials of known answers and durations."""

    scores: Float64[np.ndarray, " trials"]
    labels: Bool[np.ndarray, " trials"]
    speech_seconds: Float64[np.ndarray, " trials"]
    """Speech in the shorter of the two recordings."""


def calibration_trials(
    encoder: Embedder,
    manifest: Manifest,
    *,
    protocol: Protocol = "whole",
    durations: Sequence[float | None] = (2.0, 3.0, 5.0, 8.0, None),
    equalizer_db: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> CalibrationTrials:
    """Scores all recordings against all others, cut to one duration after the other, for :func:`fit_verification`.

    Pairs of one speaker are taken across sessions where the corpus has sessions (:func:`jaxspk.data.make_trials`).

    Args:
      encoder: what embeds.
      manifest: people that the encoder was not trained on and is not tested on.
      protocol: a key of :data:`jaxspk.systems.PROTOCOLS`.
      durations: seconds that recordings are cut to; longer ones only, at a random place. None takes them whole.
      equalizer_db: where positive, all is scored once more with each recording through a random filter whose gains
        deviate by so much (:func:`jaxspk.data.equalize_randomly`): few validation speakers were recorded with as many
        microphones as the recordings that somebody will compare.
      seed: of places and filters.
      progress: told how many recordings were embedded, all durations counted.

    Raises:
      CorpusError: the manifest holds speakers who are kept for testing, or has no trials of both kinds.
    """
    tested = [speaker for speaker, split in manifest.splits.items() if split == "test"]
    if tested:
        names = ", ".join(tested[:3]) + (", ..." if tested[3:] else "")
        raise CorpusError(
            f"{len(tested)} speakers are held out for testing ({names}); "
            "what is fitted to them says nothing about others: calibrate on other people."
        )
    trials = data.make_trials(manifest)
    heard = _Heard(encoder, manifest, protocol, progress)
    parts = [
        heard.score(trials, seconds, deviation_db, np.random.default_rng([seed, place, *number]))
        for number, deviation_db in (((), 0.0), ((1,), equalizer_db))
        for place, seconds in enumerate(durations)
        if deviation_db or not number
    ]
    return CalibrationTrials(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class _Heard:
    """Recordings of a manifest, embedded at one duration after the other."""

    def __init__(
        self, encoder: Embedder, manifest: Manifest, protocol: Protocol, progress: Callable[[int], None]
    ) -> None:
        self._encoder, self._protocol, self._progress = encoder, protocol, progress
        self._paths = [utterance.path for utterance in manifest]
        self._done = 0

    def score(
        self, trials: data.ManifestTrials, seconds: float | None, deviation_db: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, labels and speech of the trials whose recordings are long enough."""
        places: list[int] = []
        vectors: list[np.ndarray] = []
        speech: list[float] = []
        for start in range(0, len(self._paths), _AT_ONCE):
            batch = self._paths[start : start + _AT_ONCE]
            cuts = [self._cut(path, seconds, rng) for path in batch]
            if deviation_db:
                rate = self._encoder.sample_rate
                cuts = [cut if cut is None else data.equalize_randomly(cut, rng, deviation_db, rate) for cut in cuts]
            kept = [(start + place, cut) for place, cut in enumerate(cuts) if cut is not None]
            places += [place for place, _ in kept]
            vectors += self._embed([cut for _, cut in kept])
            rate = self._encoder.sample_rate
            speech += [audio.recording_quality(cut, rate).speech_seconds for _, cut in kept]
            self._done += len(batch)
            self._progress(self._done)
        rows = np.full(len(self._paths), -1)
        rows[places] = np.arange(len(places))
        enrol, test = rows[trials.enrol], rows[trials.test]
        long = (enrol >= 0) & (test >= 0)
        enrol, test = enrol[long], test[long]
        if not len(enrol):
            return np.zeros(0), np.zeros(0, bool), np.zeros(0)
        scores = score_pairs(np.stack(vectors), enrol, test, protocol=self._protocol)
        lengths = np.array(speech)
        return scores, trials.labels[long], np.minimum(lengths[enrol], lengths[test])

    def _cut(self, path: Path, seconds: float | None, rng: np.random.Generator) -> np.ndarray | None:
        """The recording or a piece of it; None where it is too short. One number is drawn, whatever the recording."""
        chance = rng.random()
        waveform, rate = audio.read_audio(path, sample_rate=self._encoder.sample_rate)
        if seconds is None:
            return waveform
        samples = round(seconds * rate)
        if len(waveform) < samples:
            return None
        start = int(chance * (len(waveform) - samples + 1))
        piece: np.ndarray = waveform[start : start + samples]
        return piece if piece.any() else None

    def _embed(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        crops = PROTOCOLS[self._protocol].crops
        if not waveforms:
            return []
        if crops == 1:
            return list(self._encoder.embed(waveforms, self._encoder.sample_rate)[:, None])
        return [
            self._encoder.embed_crops(one, self._encoder.sample_rate, seconds=CROP_SECONDS, count=crops)
            for one in waveforms
        ]
