"""Pseudo-labels of frames, made without anybody's name; who really spoke is kept in an object of its own.

What a training gets is :class:`PseudoLabelled`, which holds sounds and numbers and neither names nor paths. Under the
protocol ``"as_described"`` it is made of :class:`Segments` alone. Under ``"as_released"``, which repeats what the code
published with the paper does, it takes :class:`SpeakerTruth`: such training uses labels, and ``uses_labels`` says so.
"""

import dataclasses
import functools
import zlib
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int

from jaxspk import _checks
from jaxspk.data._manifest import Manifest
from jaxspk.data._mixtures import digest
from jaxspk.data._pipeline import refuse_held_out
from jaxspk.data._recordings import Recordings
from jaxspk.data._segments import SegmentConfig, Segments, cut_segments
from jaxspk.errors import ArgumentError, CorpusError

Protocol = Literal["as_described", "as_released"]

PROTOCOL_NOTES: Mapping[str, str] = {
    "as_described": "without labels: frames of one segment belong together",
    "as_released": "USES SPEAKER LABELS: frames of one speaker are dealt into groups",
}
"""What is to stand wherever a result of a protocol is shown."""


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoLabelled:
    """All that a training may see.

    Attributes:
      frames: sounds.
      labels: pseudo-class of each, from 0 on without gaps.
      apart: for each pseudo-class, the group whose members may be one speaker: cannot-links are between groups. As
        the paper has it each class is a group of its own.
      protocol: how they were made.
      impurity: the share of frames whose labels were permuted.
    """

    frames: Float32[np.ndarray, "frames samples"]
    labels: Int[np.ndarray, " frames"]
    apart: Int[np.ndarray, " classes"]
    protocol: Protocol
    impurity: float = 0.0

    def __post_init__(self) -> None:
        _checks.check_shape("labels", self.labels, (len(self.frames),), "one a frame")
        _checks.check_shape("apart", self.apart, (int(self.labels.max(initial=-1)) + 1,), "one a pseudo-class")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def uses_labels(self) -> bool:
        """Whether the names of the speakers went into it."""
        return self.protocol == "as_released"

    @property
    def note(self) -> str:
        """What is to be said of it wherever its results are shown."""
        return PROTOCOL_NOTES[self.protocol]

    @property
    def classes(self) -> int:
        """How many pseudo-classes."""
        return len(self.apart)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes when a frame or a label does."""
        sums = (zlib.crc32(np.ascontiguousarray(array).data) for array in (self.frames, self.labels, self.apart))
        return digest(self.protocol, self.frames.shape, *sums)

    def select(self, chosen: Int[np.ndarray, " chosen"]) -> "PseudoLabelled":
        """Some of the frames, in the order given, with the labels they have."""
        return dataclasses.replace(self, frames=self.frames[chosen], labels=self.labels[chosen])


@dataclasses.dataclass(frozen=True, eq=False)
class SpeakerTruth:
    """Who really speaks in some segments: for scores, and for the protocol that uses labels.

    Attributes:
      speakers: names, sorted.
      labels: of each segment, a number in ``speakers``.
    """

    speakers: tuple[str, ...]
    labels: Int[np.ndarray, " segments"]

    @classmethod
    def of(cls, segments: Segments, manifest: Manifest) -> "SpeakerTruth":
        """The speakers of segments, by the recordings they are cut from.

        Raises:
          CorpusError: a recording is not in the manifest.
        """
        by_path = {utterance.path: utterance.speaker for utterance in manifest}
        unknown = [path for path in segments.paths if path not in by_path]
        if unknown:
            raise CorpusError(f"{unknown[0]}: not in the manifest; give the one whose recordings were cut.")
        names = np.array([by_path[path] for path in segments.paths])
        speakers, labels = np.unique(names[segments.recordings], return_inverse=True)
        return cls(tuple(speakers.tolist()), labels)

    def of_frames(self, frames: int) -> Int[np.ndarray, " frames"]:
        """The speaker of each frame, where each segment has so many, in the order of :class:`PseudoLabelled`."""
        return np.repeat(self.labels, frames)

    def select(self, chosen: Int[np.ndarray, " chosen"]) -> "SpeakerTruth":
        """That of some of the segments; speakers without one are dropped."""
        kept, labels = np.unique(self.labels[chosen], return_inverse=True)
        return SpeakerTruth(tuple(self.speakers[number] for number in kept), labels)


def cut_corpus(
    manifest: Manifest,
    config: SegmentConfig | None = None,
    *,
    recordings: Recordings | None = None,
    allow_held_out: bool = False,
) -> tuple[Segments, SpeakerTruth]:
    """Segments of a corpus, and apart from them who speaks.

    Args:
      manifest: whose recordings to cut.
      config: how.
      recordings: where samples come from.
      allow_held_out: take speakers that are kept for testing, for an evaluation or, without labels, for u-vectors of
        these very recordings; results are then to be called transductive.

    Raises:
      CorpusError: a speaker is held out for testing, or no recording has a whole segment.
    """
    if not allow_held_out:
        refuse_held_out(manifest.where(split="test").speakers, "this manifest")
    segments = cut_segments([utterance.path for utterance in manifest], config, recordings=recordings)
    return segments, SpeakerTruth.of(segments, manifest)


def first_of_each_speaker(
    truth: SpeakerTruth, most: int, *, fewest: int = 1, speakers: int | None = None, seed: int = 0
) -> Int[np.ndarray, " chosen"]:
    """The first segments of each speaker, in their order, as experiments on a fixed amount of speech take them.

    Args:
      truth: of the segments.
      most: segments of a speaker.
      fewest: speakers with fewer are left out.
      speakers: draw so many of them; None takes all. Of one seed, fewer speakers are among more.
      seed: of that.

    Returns:
      Numbers of segments, ascending.

    Raises:
      CorpusError: there are too few such speakers.
    """
    _checks.check_range("most", most, low=1)
    _checks.check_range("fewest", fewest, low=1, high=most)
    eligible = np.flatnonzero(np.bincount(truth.labels, minlength=len(truth.speakers)) >= fewest)
    wanted = len(eligible) if speakers is None else speakers
    if wanted > len(eligible) or not len(eligible):
        raise CorpusError(
            f"{len(eligible)} speakers have at least {fewest} segments, {wanted} are asked for; "
            f"ask for fewer speakers or segments."
        )
    chosen = np.random.default_rng(seed).permutation(eligible)[:wanted]
    order = np.argsort(truth.labels, kind="stable")
    labels = truth.labels[order]
    rank = np.arange(len(order)) - np.searchsorted(labels, labels)
    taken: np.ndarray = np.sort(order[(rank < most) & np.isin(labels, chosen)])
    return taken


def label_segments(
    segments: Segments,
    *,
    belong: Literal["segment", "recording"] = "segment",
    apart: Literal["segment", "recording"] = "segment",
    impurity: float = 0.0,
    seed: int = 0,
) -> PseudoLabelled:
    """The protocol as the paper describes it: each segment is a class of its own, and nobody's name is looked at.

    Args:
      segments: whose frames.
      belong: what must-links are within. ``"recording"`` also believes that one speaker made each recording.
      apart: what cannot-links are between. ``"recording"`` never parts two segments of one recording.
      impurity: as for :func:`permute_some`.
      seed: of the impurity.
    """
    _checks.check_choice("belong", belong, ("segment", "recording"))
    _checks.check_choice("apart", apart, ("segment", "recording"))
    count, each, samples = segments.frames.shape
    of_segment = np.arange(count) if belong == "segment" else np.unique(segments.recordings, return_inverse=True)[1]
    classes, first = np.unique(of_segment, return_index=True)
    return PseudoLabelled(
        frames=segments.frames.reshape(count * each, samples),
        labels=permute_some(np.repeat(of_segment, each), impurity, seed=seed),
        apart=classes if apart == "segment" else segments.recordings[first],
        protocol="as_described",
        impurity=impurity,
    )


def group_by_speaker(
    segments: Segments, truth: SpeakerTruth, *, size: int = 5, impurity: float = 0.0, seed: int = 0
) -> tuple[PseudoLabelled, SpeakerTruth]:
    """The protocol of the published code: each speaker's frames are dealt at random into groups. IT USES LABELS.

    The frames of a group come from anywhere in a speaker's recordings, so must-links span sentences and sessions.
    What is left when a speaker's frames do not divide is dropped.

    Args:
      segments: whose frames; of one frame each, as the code cuts them, or of several.
      truth: of the segments.
      size: frames in a group.
      impurity: as for :func:`permute_some`.
      seed: of the deal and the impurity.

    Returns:
      The groups, and the speaker of each of their frames.

    Raises:
      CorpusError: no speaker has a whole group.
    """
    _checks.check_range("size", size, low=2)
    rng = np.random.default_rng(seed)
    count, each, samples = segments.frames.shape
    speakers = truth.of_frames(each)
    shuffled = rng.permutation(len(speakers))
    order = shuffled[np.argsort(speakers[shuffled], kind="stable")]
    sorted_speakers = speakers[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_speakers, sorted_speakers)
    whole = np.bincount(speakers, minlength=len(truth.speakers)) // size * size
    kept = order[rank < whole[sorted_speakers]]
    if not len(kept):
        raise CorpusError(f"no speaker has {size} frames, a whole group; add speech or take smaller groups.")
    labels = np.repeat(np.arange(len(kept) // size), size)
    grouped = PseudoLabelled(
        frames=segments.frames.reshape(count * each, samples)[kept],
        labels=permute_some(labels, impurity, seed=seed),
        apart=np.arange(len(kept) // size),
        protocol="as_released",
        impurity=impurity,
    )
    return grouped, SpeakerTruth(truth.speakers, speakers).select(kept)


def permute_some(labels: Int[np.ndarray, " frames"], impurity: float, *, seed: int) -> Int[np.ndarray, " frames"]:
    """Labels of which a share, drawn at random, is permuted among itself: classes keep their sizes.

    Some of the chosen get their own label back by luck, so that the share of wrong ones is ``impurity`` at most.

    Args:
      labels: of any kind.
      impurity: the share, in [0, 1]; of n labels ``floor(impurity * n)`` are chosen.
      seed: of the choice and the permutation.

    Example:
      >>> permute_some(np.arange(4), 0.0, seed=0).tolist()
      [0, 1, 2, 3]
    """
    _checks.check_range("impurity", impurity, low=0.0, high=1.0)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    # The tenth of 1000 is 100, whatever the product of two binary fractions says.
    chosen = rng.permutation(len(labels))[: int(impurity * len(labels) + 1e-9)]
    permuted = labels.copy()
    permuted[chosen] = labels[rng.permutation(chosen)]
    return permuted


def true_impurity(labels: Int[np.ndarray, " frames"], pure: Int[np.ndarray, " frames"]) -> float:
    """The share of labels that are not what they were."""
    if not len(labels):
        raise ArgumentError("`labels` must hold at least one label, got none.")
    return float(np.mean(labels != pure))
