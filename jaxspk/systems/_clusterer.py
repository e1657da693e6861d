"""SpeakerClusterer: who speaks when in recordings, without any label."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from jaxspk import _checks
from jaxspk.data import Turn
from jaxspk.errors import AudioError, ModelError
from jaxspk.systems import _u_vectors
from jaxspk.systems._back_end import without_back_end
from jaxspk.systems._heard_recording import (
    HeardRecording,
    RecordingSource,
    WindowConfig,
    WindowModel,
    hear_recording,
)
from jaxspk.systems._packaged import packaged_model
from jaxspk.systems._recording_encoder import RecordingEncoder
from jaxspk.systems._speaker_encoder import SpeakerEncoder, load_encoder
from jaxspk.systems._speaker_model import SYSTEM
from jaxspk.systems._storage import load_model
from jaxspk.systems._turn_tracking import Windowed, track_turns
from jaxspk.systems._u_vectors import UVectorConfig, UVectorModel, load_u_vectors
from jaxspk.systems._voice_clusters import EvidenceConfig, VoiceCount, cluster_windows, unit_rows, voice_counts
from jaxspk.systems._voice_names import NamedVoice, name_voices
from jaxspk.systems._voice_space import VoiceSpace, load_voice_space
from jaxspk.systems._voice_store import VoiceStore

LEAST_SPEECH_SECONDS = 2.0
"""With less speech in all there is nothing to cluster."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusteredSpeaker:
    """A voice that was found.

    Attributes:
      cluster: its number, from "1" on in the order in which voices are first heard.
      name: of the enrolled person it is taken for, if any.
      probability: that it is this person; None without a name.
      seconds: how long it speaks in all.
      turns: how often.
    """

    cluster: str
    name: str | None
    probability: float | None
    seconds: float
    turns: int

    @property
    def label(self) -> str:
        """What to call it: the name, or the number."""
        return self.name or f"Speaker {self.cluster}"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClusteredRecording:
    """Who speaks when in a recording.

    Attributes:
      recording: its path, or "recording" for a waveform.
      source: the recording itself.
      seconds: its length.
      turns: in order of time, none over another; ``speaker`` is the number of the voice.
      outline: how loud it is from the beginning to the end.
    """

    recording: str
    source: RecordingSource
    seconds: float
    turns: tuple[Turn, ...]
    outline: Float32[np.ndarray, " columns"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clustering:
    """Who speaks when in recordings that were clustered together.

    Attributes:
      recordings: one each, in the order given.
      speakers: the voices, numbered over all recordings.
      estimated: whether their number was.
    """

    recordings: tuple[ClusteredRecording, ...]
    speakers: tuple[ClusteredSpeaker, ...]
    estimated: bool

    def label(self, cluster: str) -> str:
        """What to call a voice."""
        return next(speaker.label for speaker in self.speakers if speaker.cluster == cluster)


@dataclasses.dataclass(frozen=True)
class SpeakerClusterer:
    """Says who speaks when in recordings of any length, without any label.

    A recording is divided into speech and pauses, the speech into overlapping windows of a second and a half, each
    window becomes a vector, the vectors of all recordings become voices, and every tenth of a second goes to one of
    them. Where two speak at once, one of them is heard.

    Attributes:
      model: makes the vectors.
      space: in which voices are compared; None compares directions.
      adapted: a second model, that learned from the recordings themselves; its vectors stand beside the first one's.
      naming: an encoder whose voices people are enrolled with, and its model directory; None knows nobody.
      windows: how speech is found and cut.
      evidence: how the number of voices is found.

    Example:
      >>> import jaxspk
      >>> clusterer = jaxspk.SpeakerClusterer.load()  # doctest: +SKIP
      >>> [recording] = clusterer.cluster("meeting.wav").recordings  # doctest: +SKIP
      >>> [(turn.start, turn.end, turn.speaker) for turn in recording.turns]  # doctest: +SKIP
    """

    model: WindowModel
    space: VoiceSpace | None = None
    adapted: WindowModel | None = None
    naming: tuple[RecordingEncoder, Path] | None = None
    windows: WindowConfig = dataclasses.field(default_factory=WindowConfig)
    evidence: EvidenceConfig = dataclasses.field(default_factory=EvidenceConfig)

    @classmethod
    def load(cls, path: str | Path | None = None) -> "SpeakerClusterer":
        """Reads a model directory of a speaker encoder or of u-vectors; without a path, the packaged encoder.

        Raises:
          ModelError: the directory is missing, damaged or holds a model of no such system.
        """
        folder = packaged_model(SYSTEM) if path is None else Path(path)
        if load_model(folder).system == _u_vectors.SYSTEM:
            return cls(UVectorWindows(*load_u_vectors(folder)), load_voice_space(folder))
        encoder = load_encoder(folder)
        return cls(EncoderWindows.of(encoder), load_voice_space(folder), naming=(encoder, folder))

    def cluster(
        self,
        recordings: RecordingSource | Sequence[RecordingSource],
        speakers: VoiceCount = "auto",
        *,
        people: VoiceStore | None = None,
        channel: int | Literal["mean"] = "mean",
        progress: Callable[[float], None] = lambda share: None,
    ) -> Clustering:
        """Who speaks when; voices are shared over all recordings, so that "1" is the same in each.

        Args:
          recordings: a file, or a pair of a waveform and its rate; or several of them.
          speakers: how many voices there are in all: a number, the fewest and the most, or "auto" (one to eight).
          people: whose voices are known by name.
          channel: of files with several: one of them, or their mean.
          progress: told the share of the work that is done.

        Raises:
          AudioError: a recording cannot be decoded, nobody speaks in it, or there is too little speech in all.
          ArgumentError: no such number of voices, or more than windows of speech.
          ModelError: ``people`` cannot be compared with voices of this model.
        """
        voice_counts(speakers)
        several = isinstance(recordings, Sequence) and not isinstance(recordings, str | tuple)
        sources: list[RecordingSource] = list(recordings) if several else [recordings]  # type: ignore[list-item, arg-type]
        heard = [
            self.hear(
                source,
                channel=channel,
                progress=lambda share, done=done: progress(0.98 * (done + share) / len(sources)),  # type: ignore[misc]
            )
            for done, source in enumerate(sources)
        ]
        found = self.tell_apart(heard, speakers, people=people, channel=channel)
        progress(1.0)
        return found

    def hear(
        self,
        recording: RecordingSource,
        *,
        channel: int | Literal["mean"] = "mean",
        progress: Callable[[float], None] = lambda share: None,
    ) -> HeardRecording:
        """The first half of :meth:`cluster`: the speech of one recording, as vectors of windows.

        Raises:
          AudioError: it cannot be decoded, or nobody speaks in it.
        """
        model = self.model if self.adapted is None else JoinedWindows(self.model, self.adapted)
        return hear_recording(recording, model, self.windows, channel=channel, progress=progress)

    def tell_apart(
        self,
        heard: Sequence[HeardRecording],
        speakers: VoiceCount = "auto",
        *,
        people: VoiceStore | None = None,
        channel: int | Literal["mean"] = "mean",
    ) -> Clustering:
        """The second half of :meth:`cluster`: the voices of recordings that were heard, and their turns.

        Raises:
          AudioError: there is too little speech in all.
          ArgumentError: no such number of voices, or more than windows of speech.
          ModelError: ``people`` cannot be compared with voices of this model.
        """
        _check_speech(heard)
        vectors = np.concatenate([one.vectors for one in heard])
        follows = np.concatenate([one.follows for one in heard])
        found = cluster_windows(
            vectors[:, : self.model.dim],
            follows,
            speakers,
            space=self.space,
            evidence=self.evidence,
            beside=None if self.adapted is None else vectors[:, self.model.dim :],
        )
        ends = list(itertools.accumulate(len(one.vectors) for one in heard))
        windowed = [
            Windowed(one.stretches, one.spans, found.points[end - len(one.vectors) : end])
            for one, end in zip(heard, ends, strict=True)
        ]
        tracked = track_turns(windowed, found.centres, heard[0].sample_rate)
        rank = {voice: number for number, voice in enumerate(dict.fromkeys(t[2] for one in tracked for t in one), 1)}
        recordings = tuple(
            ClusteredRecording(
                recording=one.name,
                source=one.source,
                seconds=one.seconds,
                turns=tuple(
                    Turn(start / one.sample_rate, min(end / one.sample_rate, one.seconds), str(rank[voice]))
                    for start, end, voice in turns
                ),
                outline=one.outline,
            )
            for one, turns in zip(heard, tracked, strict=True)
        )
        names = self._names(recordings, people, channel)
        return Clustering(
            recordings=recordings,
            speakers=tuple(_speaker(str(number), recordings, names) for number in range(1, len(rank) + 1)),
            estimated=len(voice_counts(speakers)) > 1,
        )

    def _names(
        self, recordings: Sequence[ClusteredRecording], people: VoiceStore | None, channel: int | Literal["mean"]
    ) -> dict[str, NamedVoice]:
        if people is None:
            return {}
        if self.naming is None:
            raise ModelError(
                f"{people.path}: this model cannot hear its people, for they are enrolled with a speaker encoder."
            )
        encoder, folder = self.naming
        return name_voices([(one.source, one.turns) for one in recordings], encoder, folder, people, channel=channel)


@dataclasses.dataclass(frozen=True)
class JoinedWindows:
    """Two models side by side.

    Attributes:
      first: the one.
      second: the other, at the same rate.

    Raises:
      ArgumentError: the rates differ.
    """

    first: WindowModel
    second: WindowModel

    def __post_init__(self) -> None:
        _checks.check_choice("second.sample_rate", self.second.sample_rate, (self.first.sample_rate,))

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.first.sample_rate

    @property
    def dim(self) -> int:
        """Of both."""
        return self.first.dim + self.second.dim

    def embed_windows(self, windows: Float32[np.ndarray, "windows samples"]) -> Float[np.ndarray, "windows dim"]:
        """The vectors of both, each of unit length."""
        made: np.ndarray = np.hstack([unit_rows(model.embed_windows(windows)) for model in (self.first, self.second)])
        return made


@dataclasses.dataclass(frozen=True)
class EncoderWindows:
    """A speaker encoder as it hears windows.

    Attributes:
      encoder: makes one vector a recording.
    """

    encoder: RecordingEncoder

    @classmethod
    def of(cls, encoder: RecordingEncoder) -> "EncoderWindows":
        """The encoder without its back end, which was fitted to whole recordings; windows have a space of their own."""
        return cls(without_back_end(encoder) if isinstance(encoder, SpeakerEncoder) else encoder)

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.encoder.sample_rate

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.encoder.dim

    def embed_windows(self, windows: Float32[np.ndarray, "windows samples"]) -> Float32[np.ndarray, "windows dim"]:
        """A vector of each window; of silence, which nobody speaks in, zeros."""
        loud = np.flatnonzero(windows.any(1))
        vectors = np.zeros((len(windows), self.encoder.dim), np.float32)
        if len(loud):
            vectors[loud] = self.encoder.embed(list(windows[loud]), self.sample_rate)
        return vectors


@dataclasses.dataclass(frozen=True)
class UVectorWindows:
    """U-vectors as they hear windows: the mean of the vectors of their frames.

    Attributes:
      config: of the network.
      network: makes one vector a frame.
    """

    config: UVectorConfig
    network: UVectorModel

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.config.segments.sample_rate

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.config.network.dim

    def embed_windows(self, windows: Float32[np.ndarray, "windows samples"]) -> Float[np.ndarray, "windows dim"]:
        """A vector of each window; frames that it has no room for are left out."""
        samples = self.config.segments.frame_samples
        each = max(1, windows.shape[1] // samples)
        frames = np.resize(windows, (len(windows), samples)) if windows.shape[1] < samples else windows
        frames = np.ascontiguousarray(frames[:, : each * samples]).reshape(-1, samples)
        vectors = self.network.embed(frames)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        mean: np.ndarray = (vectors / lengths).reshape(len(windows), each, -1).mean(1)
        return mean


def _check_speech(heard: Sequence[HeardRecording]) -> None:
    spoken, seconds = (sum(values) for values in zip(*((h.spoken_seconds, h.seconds) for h in heard), strict=True))
    if spoken < LEAST_SPEECH_SECONDS:
        raise AudioError(
            f"{heard[0].name if len(heard) == 1 else f'{len(heard)} recordings'}: {spoken:.1f} s of speech in "
            f"{seconds:.1f} s of sound, at least {LEAST_SPEECH_SECONDS:g} s are needed to tell speakers apart; give a "
            "longer recording."
        )


def _speaker(cluster: str, recordings: Sequence[ClusteredRecording], names: dict[str, NamedVoice]) -> ClusteredSpeaker:
    turns = [turn for one in recordings for turn in one.turns if turn.speaker == cluster]
    named = names.get(cluster)
    return ClusteredSpeaker(
        cluster=cluster,
        name=named.name if named else None,
        probability=named.probability if named else None,
        seconds=sum(turn.end - turn.start for turn in turns),
        turns=len(turns),
    )
