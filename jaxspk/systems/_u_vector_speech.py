"""The speech of a u-vector experiment: a fixed amount of some speakers, cut, pseudo-labelled, the truth kept apart."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from jaxspk import _checks, data
from jaxspk.data import Manifest, Protocol, PseudoLabelled, SegmentConfig, Segments, Sound, SpeakerTruth
from jaxspk.errors import ArgumentError, CorpusError
from jaxspk.systems._speech import SpeechConfig, load_speech, sounds_folder
from jaxspk.systems._u_vector_training import hold_out_frames
from jaxspk.training import may_change

TRANSDUCTIVE = "transductive: their recordings were trained on, without labels"
"""What is to be said where speakers that are kept for testing are clustered by what was trained on them."""

_GENERATED_NOISES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class UVectorSpeech:
    """Whose recordings are trained on and clustered, and what is known of them."""

    data: SpeechConfig = dataclasses.field(default_factory=SpeechConfig)
    """The speech. There are no validation speakers here: theirs count as training speakers'."""
    held_out: bool = False
    """Take the speakers that are kept for testing, not the others. Training hears them, so results are transductive."""
    speakers: int | None = 25
    """How many, drawn from those who have enough segments; None takes all of them."""
    segments: int = 10
    """Of each, the first ones."""
    fewest: int | None = None
    """Who has fewer segments than this is left out; None asks for all ``segments``."""
    protocol: Protocol = "as_described"
    """Whether pseudo-labels are made of segments, or, as in the published code, of the speakers' names."""
    impurity: float = 0.0
    """Share of the frames whose pseudo-labels are permuted."""
    apart: Literal["segment", "recording"] = "segment"
    """What the cannot-links of pairs are between; "recording" believes that one speaker made each recording."""
    more: bool = False
    """Also train, without labels, on the recordings of all other speakers of the same part."""
    hop_seconds: float | None = None
    """From one training frame to the next; None lets them follow each other as the paper does."""
    hold_out: int = 0
    """Last frames of each segment (or group) that are not trained on: the best model is chosen by them, label-free.
    0 trains on all and takes the last model."""
    noises: Path | None = may_change(None)
    """Folder with ``noise.csv``; None takes that beside the speech, or else noise is generated."""
    seed: int = 0
    """Of the draw of speakers, the impurity and the groups."""

    def __post_init__(self) -> None:
        _checks.check_range("segments", self.segments, low=2)
        if self.speakers is not None:
            _checks.check_range("speakers", self.speakers, low=2)
        if self.fewest is not None:
            _checks.check_range("fewest", self.fewest, low=1, high=self.segments)
        _checks.check_choice("protocol", self.protocol, data.PROTOCOL_NOTES)
        _checks.check_range("impurity", self.impurity, low=0.0, high=1.0)
        _checks.check_choice("apart", self.apart, ("segment", "recording"))
        if self.protocol == "as_released" and (self.more or self.hop_seconds is not None or self.apart != "segment"):
            raise ArgumentError(
                "`protocol` 'as_released' deals whole frames of the clustered speakers into groups: leave `more`, "
                "`hop_seconds` and `apart` as they are."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class UVectorData:
    """Speech ready for an experiment. Training gets ``labelled`` and ``held_out_frames``, nothing else.

    Attributes:
      name: of the corpus.
      segments: what is clustered.
      truth: who speaks in it.
      labelled: what is trained on.
      held_out_frames: to choose a model by; None where nothing is held out.
      scored: the whole frames of what is clustered, with their pseudo-labels.
      scored_speakers: who speaks in each of them, a number in ``truth.speakers``.
      unheard: which of them were held out.
      others: segments of other speakers whom training does not hear, and who they are; None where there are too few.
      noises: to mix in.
      transductive: whether these are speakers that are kept for testing.
    """

    name: str
    segments: Segments
    truth: SpeakerTruth
    labelled: PseudoLabelled
    held_out_frames: PseudoLabelled | None
    scored: PseudoLabelled
    scored_speakers: Int[np.ndarray, " frames"]
    unheard: Bool[np.ndarray, " frames"]
    others: tuple[Segments, SpeakerTruth] | None
    noises: Sequence[Sound]
    transductive: bool

    def describe(self) -> str:
        """One line: how much there is, and how it is labelled."""
        recordings = len(np.unique(self.segments.recordings))
        parts = [
            f"{self.name}: {len(self.truth.speakers)} speakers, {len(self.segments)} segments from {recordings} "
            f"recordings",
            f"{self.labelled.classes} pseudo-classes, {self.labelled.note}",
        ]
        if self.labelled.impurity:
            parts.append(f"{self.labelled.impurity:.0%} of the labels permuted")
        if self.transductive:
            parts.append(f"speakers kept for testing, {TRANSDUCTIVE}")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class SpeakerSegments:
    """The first segments of all speakers of a part of a corpus; what experiments of several sizes draw from."""

    name: str
    segments: Segments
    truth: SpeakerTruth
    folder: Path | None
    """Where noises may lie."""


def read_speaker_segments(config: UVectorSpeech, segments: SegmentConfig) -> SpeakerSegments:
    """Reads and cuts the recordings of a part of the speech.

    Args:
      config: which speech and part, and how many segments of a speaker.
      segments: how to cut.

    Raises:
      CorpusError: there is no usable speech, or nobody has a whole segment.
    """
    name, manifest = speech_part(config)
    # A cut of test speakers is for what is called transductive everywhere; nothing is chosen by it.
    cut, truth = data.cut_first_segments(manifest, config.segments, segments, allow_held_out=config.held_out)
    try:
        folder = sounds_folder(config.data)
    except CorpusError:
        folder = None
    return SpeakerSegments(name, cut, truth, folder)


def speech_part(config: UVectorSpeech) -> tuple[str, Manifest]:
    """Name and recordings of the part of the speech that an experiment is about."""
    speech = load_speech(config.data)
    if config.held_out:
        return speech.name, speech.test
    return speech.name, Manifest((*speech.train, *speech.validation))


def prepare_u_vector_data(config: UVectorSpeech, there: SpeakerSegments) -> UVectorData:
    """Draws the speakers of an experiment and makes pseudo-labels of their segments.

    Args:
      config: what is wanted.
      there: of :func:`read_speaker_segments`, with at least as many segments of a speaker.

    Raises:
      CorpusError: there are too few speakers with enough segments.
      ArgumentError: too much is held out.
    """
    most, fewest = config.segments, config.fewest or config.segments
    chosen = data.first_of_each_speaker(there.truth, most, fewest=fewest, speakers=config.speakers, seed=config.seed)
    segments, truth = there.segments.select(chosen), there.truth.select(chosen)
    rest = np.flatnonzero(~np.isin(there.truth.labels, np.unique(there.truth.labels[chosen])))
    labelled, held_out, scored, speakers, unheard = _labelled(config, segments, truth, there.segments.select(rest))
    return UVectorData(
        name=there.name,
        segments=segments,
        truth=truth,
        labelled=labelled,
        held_out_frames=held_out,
        scored=scored,
        scored_speakers=speakers,
        unheard=unheard,
        others=None if config.more else _other_speakers(there, rest, fewest, len(truth.speakers)),
        noises=_noises(config, there.folder, segments.config.sample_rate),
        transductive=config.held_out,
    )


_Labelled = tuple[
    PseudoLabelled, PseudoLabelled | None, PseudoLabelled, Int[np.ndarray, " frames"], Bool[np.ndarray, " frames"]
]


def _labelled(config: UVectorSpeech, segments: Segments, truth: SpeakerTruth, rest: Segments) -> _Labelled:
    """What is trained on, what is held out, what is scored, who speaks in it, and which of it was held out."""
    if config.protocol == "as_released":
        groups, speakers = data.group_by_speaker(segments, truth, impurity=config.impurity, seed=config.seed)
        held = np.zeros(len(groups), bool)
        if not config.hold_out:
            return groups, None, groups, speakers.labels, held
        kept, aside = hold_out_frames(groups, config.hold_out)
        held[aside] = True
        return groups.select(kept), groups.select(aside), groups, speakers.labels, held
    each = segments.frames.shape[1]
    if config.hold_out > max(0, each - 2) or config.hold_out == 1:
        raise ArgumentError(
            f"`hold_out` must be 0, or at least 2 and leave two of the {each} frames of a segment, "
            f"got {config.hold_out}."
        )
    scored = data.label_segments(segments, impurity=config.impurity, seed=config.seed)
    heard = data.join_segments([segments, rest]) if config.more else segments
    train = _frames(heard, slice(0, each - config.hold_out))
    if config.hop_seconds is not None:
        train = train.overlapping(max(1, round(config.hop_seconds * segments.config.sample_rate)))
    labelled = data.label_segments(train, apart=config.apart, impurity=config.impurity, seed=config.seed)
    held_out = None
    if config.hold_out:
        last = _frames(segments, slice(each - config.hold_out, each))
        held_out = data.label_segments(last, apart=config.apart, impurity=config.impurity, seed=config.seed)
    unheard = np.tile(np.arange(each) >= each - config.hold_out, len(segments))
    return labelled, held_out, scored, truth.of_frames(each), unheard


def _frames(segments: Segments, kept: slice) -> Segments:
    return dataclasses.replace(segments, frames=segments.frames[:, kept])


def _other_speakers(
    there: SpeakerSegments, rest: Int[np.ndarray, " rest"], fewest: int, most: int
) -> tuple[Segments, SpeakerTruth] | None:
    """As many of those who were not drawn as were, at most."""
    enough = np.bincount(there.truth.labels, minlength=len(there.truth.speakers)) >= fewest
    names = np.unique(there.truth.labels[rest])
    names = names[enough[names]][:most]
    if len(names) < 2:
        return None
    chosen = rest[np.isin(there.truth.labels[rest], names)]
    return there.segments.select(chosen), there.truth.select(chosen)


def _noises(config: UVectorSpeech, folder: Path | None, sample_rate: int) -> Sequence[Sound]:
    if config.noises is not None:
        return data.read_noises(config.noises, "training", sample_rate)
    if folder is not None and (folder / "noise" / "noise.csv").is_file():
        return data.read_noises(folder / "noise", "training", sample_rate)
    return data.generated_noises(_GENERATED_NOISES, sample_rate, seed=config.seed)
