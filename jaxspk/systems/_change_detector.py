"""ChangeDetector: from a recording to the moments at which the speaker changes."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from jaxspk import _checks, audio
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems._changes import ChangeConfig, ChangeMethod, Changes, find_changes
from jaxspk.systems._packaged import packaged_model
from jaxspk.systems._recording import checked_waveform
from jaxspk.systems._regularized_siamese import SYSTEM as SIAMESE_SYSTEM
from jaxspk.systems._regularized_siamese import SiameseEncoder
from jaxspk.systems._speaker_encoder import SpeakerEncoder
from jaxspk.systems._speaker_model import SYSTEM as ENCODER_SYSTEM
from jaxspk.systems._speech_stream import Blocks, SpeechStream, hear_speech
from jaxspk.systems._storage import load_model
from jaxspk.systems._timeline import TimelineConfig
from jaxspk.systems._trial_scoring import Embedder

# Seconds of speech described at once by cepstra.
_CEPSTRA_AT_ONCE = 30.0
# Share of the work that finding the speech takes, about.
_HEARD = 0.2
_EMBEDDED_AT_ONCE = 128
_FEWEST_EMBEDDED = 32


@dataclasses.dataclass(frozen=True)
class SpeechVectors:
    """What makes vectors of speech, one every ``hop`` samples.

    Attributes:
      describe: makes ``1 + (samples - span) // hop`` vectors ``[vectors, units]`` of at least ``span`` samples.
      sample_rate: in Hz, of what it hears.
      hop: samples from one vector to the next.
      span: samples that a vector is made of.
      at_once: vectors that are made at once.
      windowed: whether a vector tells of all its samples alike, as embeddings do, not of their middle.
    """

    describe: Callable[[Float32[np.ndarray, " samples"]], Float[np.ndarray, "vectors units"]]
    sample_rate: int
    hop: int
    span: int
    at_once: int
    windowed: bool = False

    @property
    def tells_of(self) -> int:
        """Samples that a vector may not share with the other side of a change."""
        return self.span if self.windowed else self.hop

    def of(self, speech: SpeechStream) -> Iterator[Float[np.ndarray, "_ units"]]:
        """The vectors of a recording's speech, in blocks."""
        for block in speech.blocks((self.at_once - 1) * self.hop + self.span, self.at_once * self.hop):
            if len(block) >= self.span:
                yield self.describe(block)


@dataclasses.dataclass(frozen=True)
class ChangeDetector:
    """Finds when the speaker changes, in recordings of any length.

    The recording is divided into speech and pauses by its energy; vectors are made of the speech without its pauses,
    and :func:`find_changes` compares those before with those after each moment. A change near a pause is put into it.

    Attributes:
      vectors: of the speech.
      config: how changes are found in them.
      speech: how speech is found; None takes pauses from a tenth of a second on.
      pause_seconds: a change with no more speech than that between it and a pause is put into the pause's middle.
      least_speech_seconds: with less, a recording is refused.

    Example:
      >>> import jaxspk
      >>> detector = jaxspk.systems.ChangeDetector.load()  # doctest: +SKIP
      >>> detector.find(waveform, sample_rate).times  # doctest: +SKIP
    """

    vectors: SpeechVectors
    config: ChangeConfig
    speech: TimelineConfig | None = None
    pause_seconds: float = 0.7
    least_speech_seconds: float = 2.0

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        method: ChangeMethod = "distance",
        sensitivity: float = 1.0,
    ) -> "ChangeDetector":
        """The detector of a model directory, or without one that of the packaged speaker encoder.

        Args:
          path: a model directory: a speaker encoder, whose embeddings of short windows are compared, or a regularized
            siamese network, of whose codes it is mean and covariance.
          method: "bic" needs no model: the Bayesian information criterion on cepstra.
          sensitivity: more than 1 finds weaker changes, less than 1 only stronger ones.

        Raises:
          ModelError: the directory is missing, damaged or holds another system's model.
          ArgumentError: a model is named and not used.
        """
        _checks.check_choice("method", method, ("distance", "bic"))
        if method == "bic":
            if path is not None:
                raise ArgumentError("the method 'bic' hears cepstra and no model; name a model, or this method.")
            vectors, config = cepstral_vectors(), CEPSTRAL_BIC
        else:
            folder = packaged_model(ENCODER_SYSTEM) if path is None else Path(path)
            if load_model(folder).system == SIAMESE_SYSTEM:
                vectors, config = siamese_vectors(SiameseEncoder.load(folder)), SIAMESE_CODES
            else:
                vectors, config = embedding_vectors(SpeakerEncoder.load(folder)), EMBEDDINGS
        return cls(vectors, config.with_sensitivity(sensitivity))

    @property
    def sample_rate(self) -> int:
        """In Hz, of what is heard; recordings are resampled to it."""
        return self.vectors.sample_rate

    def find(self, waveform: np.ndarray, sample_rate: int) -> Changes:
        """When the speaker changes in a recording.

        Args:
          waveform: ``[samples]``, floating, any level and length.
          sample_rate: in Hz.

        Raises:
          ArgumentError: no recording, or one that is silent or not finite.
          AudioError: it holds too little speech.
        """
        waveform = checked_waveform(waveform, sample_rate, 0.1)
        return self._find(lambda: [waveform], sample_rate)

    def find_file(
        self,
        path: str | os.PathLike[str],
        *,
        channel: int | Literal["mean"] = "mean",
        progress: Callable[[float], None] = lambda share: None,
    ) -> Changes:
        """:meth:`find` in a file of any format, rate and number of channels, decoded twice and never held as a whole.

        Args:
          path: the recording.
          channel: the mean of all, or the number of one, from 0.
          progress: told the share of the work that is done, from 0 to 1.

        Raises:
          AudioError: the file cannot be decoded, or holds too little speech; names the file.
        """
        info = audio.audio_info(path)
        try:
            return self._find(functools.partial(_blocks, path, channel), info.sample_rate, progress, info.seconds)
        except ArgumentError as error:
            raise AudioError(f"{os.fspath(path)}: {error}") from None
        except AudioError as error:
            name = os.fspath(path)
            raise AudioError(str(error) if str(error).startswith(name) else f"{name}: {error}") from None

    def _find(
        self,
        open_blocks: Blocks,
        from_rate: int,
        progress: Callable[[float], None] = lambda share: None,
        seconds: float = 1.0,
    ) -> Changes:
        speech = hear_speech(
            open_blocks,
            from_rate,
            self.sample_rate,
            self.speech,
            lambda heard: progress(_HEARD * min(heard / max(seconds, 1e-9), 1)),
        )
        counted = _counted(self.vectors.of(speech), -(-speech.spoken // self.vectors.hop), progress)
        found = self.changes_in(speech, counted)
        progress(1.0)
        return found

    def changes_in(
        self,
        speech: SpeechStream,
        vectors: Float[np.ndarray, "vectors units"] | Iterable[Float[np.ndarray, "_ units"]],
    ) -> Changes:
        """What :meth:`find` does once a recording is heard.

        Args:
          speech: of a recording.
          vectors: what ``self.vectors`` makes of it.

        Raises:
          AudioError: there is too little speech.
        """
        rate = self.sample_rate
        spoken = speech.spoken / rate
        needed = max(self.least_speech_seconds, 2 * self.config.window_seconds)
        if spoken < needed:
            raise AudioError(
                f"{spoken:.1f} s of speech in {speech.seconds:.1f} s of sound, at least {needed:g} s are needed to "
                "hear a change of speaker; give a longer recording."
            )
        found = find_changes(
            vectors,
            frame_seconds=self.vectors.hop / rate,
            span_seconds=self.vectors.tells_of / rate,
            config=self.config,
        )
        # Of vectors that tell of the middle of their samples, the moment between two is the mean of both middles.
        shift = (self.vectors.span - self.vectors.tells_of) / 2
        positions, joints = found.times * rate + shift, speech.joints
        if len(joints) and len(positions):
            after = np.clip(np.searchsorted(joints, positions), 1, max(len(joints) - 1, 1))
            before, behind = joints[after - 1], joints[np.minimum(after, len(joints) - 1)]
            nearest = np.where(positions - before <= behind - positions, before, behind)
            positions = np.where(np.abs(positions - nearest) <= self.pause_seconds * rate, nearest, positions)
        # Of changes in one pause the strongest stays.
        by_strength = np.argsort(-found.strengths, kind="stable")
        kept = by_strength[np.unique(positions[by_strength], return_index=True)[1]]
        return Changes(
            speech.times(positions[kept]),
            found.strengths[kept],
            speech.times(found.moments * rate + shift),
            found.curve,
        )


def cepstral_vectors(config: audio.MelConfig | None = None, *, coefficients: int = 20) -> SpeechVectors:
    """MFCC frames, by default every 10 ms at 16 kHz, the level (the 0th coefficient) among them."""
    mel = dataclasses.replace(config or audio.MelConfig(), padding="none")
    at_once = round(_CEPSTRA_AT_ONCE * mel.sample_rate) // mel.hop_length
    whole = (at_once - 1) * mel.hop_length + mel.n_fft

    def describe(speech: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "vectors units"]:
        vectors = 1 + (len(speech) - mel.n_fft) // mel.hop_length
        # One length is compiled.
        padded = np.pad(speech[:whole], (0, max(0, whole - len(speech))))
        return np.asarray(_cepstra(padded, mel, coefficients))[:vectors]

    return SpeechVectors(describe, mel.sample_rate, mel.hop_length, mel.n_fft, at_once)


def embedding_vectors(encoder: Embedder, *, window_seconds: float = 1.0, hop_seconds: float = 0.2) -> SpeechVectors:
    """Embeddings of overlapping windows; their length is a multiple of their distance."""
    hop = round(hop_seconds * encoder.sample_rate)
    span = round(window_seconds / hop_seconds) * hop

    def describe(speech: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "vectors units"]:
        windows = np.lib.stride_tricks.sliding_window_view(speech, span)[::hop]
        # A few numbers of windows are compiled, not each.
        count = max(_FEWEST_EMBEDDED, 1 << (len(windows) - 1).bit_length())
        filled = [windows[index % len(windows)] for index in range(count)]
        return encoder.embed(filled, encoder.sample_rate)[: len(windows)]

    return SpeechVectors(describe, encoder.sample_rate, hop, span, _EMBEDDED_AT_ONCE, windowed=True)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _cepstra(waveform: Float[Array, " samples"], mel: audio.MelConfig, coefficients: int) -> Float[Array, "frames _"]:
    return audio.mfcc(jnp.asarray(waveform), mel, num_coefficients=coefficients)


def _blocks(path: str | os.PathLike[str], channel: int | Literal["mean"]) -> Iterator[np.ndarray]:
    with audio.open_audio(path, channel=channel) as stream:
        yield from stream.blocks


def _counted(blocks: Iterator[np.ndarray], frames: int, progress: Callable[[float], None]) -> Iterator[np.ndarray]:
    """Tells how far it is."""
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        progress(_HEARD + (1 - _HEARD) * min(done / max(frames, 1), 1) * 0.999)


def siamese_vectors(encoder: SiameseEncoder) -> SpeechVectors:
    """The speaker's units of the codes of all frames."""
    features, rate = encoder.config.features, encoder.sample_rate
    hop = features.mel.hop_length
    # Frames whose window or neighbours reach beyond what is given are left out.
    border = -(-features.mel.n_fft // (2 * hop)) + features.context

    def describe(speech: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "vectors units"]:
        heard = audio.speech_frames(speech, features)
        inside = np.arange(border, len(speech) // hop - border + 1)
        return encoder.codes_of(heard._replace(speech=inside))[:, : encoder.config.speaker_units]

    return SpeechVectors(describe, rate, hop, 2 * border * hop, round(_CEPSTRA_AT_ONCE * rate) // hop)


CEPSTRAL_BIC = ChangeConfig(method="bic", penalty=1.8, window_seconds=3.0)
"""Growing windows of cepstra. All of these settings were chosen on training speakers: experiments/score_changes.py."""
SIAMESE_CODES = ChangeConfig(distance="trace", covariance="diagonal", shrinkage=0.1, window_seconds=2.5, threshold=50.0)
"""Gaussians of the speaker's units of codes."""
EMBEDDINGS = ChangeConfig(distance="cosine", window_seconds=1.4, step_seconds=0.2, threshold=0.2, apart_seconds=0.4)
"""Of windows embedded by a speaker encoder."""
