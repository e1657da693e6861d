"""Pairs of segments of speech frames, of one speaker or of two: balanced, numbered, resumed exactly."""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int

from jaxspk import _checks
from jaxspk.audio import SpeechFrames
from jaxspk.data._mixtures import digest
from jaxspk.data._pipeline import Batch, Batches, batches
from jaxspk.errors import ArgumentError, CorpusError

# More than anybody trains; the source is numbered and endless.
_ENDLESS = 2**40

# What a stream of random numbers is for.
_SAME, _DIFFERENT, _BATCH, _FILTER = range(4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentPairConfig:
    """How pairs are drawn."""

    pairs: int = 64
    """In a batch; even, half of them of one speaker."""
    frames: int = 100
    """T_B: frames of speech in a segment, one behind the other but for the pauses left out."""
    context: int = 0
    """Neighbours that each frame brings along, on either side."""
    single_recording: Literal["apart", "skip"] = "apart"
    """Whether a speaker of one recording makes pairs of one speaker: two segments of it, which share a room and a
    microphone too, or only pairs with others."""
    filter_deviation: float = 0.0
    """Each segment is heard through a stationary filter of its own: a constant added to its cepstra, normal, of this
    share of the deviation between recordings; 0 for none. Pairs of one recording then differ by more than chance."""

    def __post_init__(self) -> None:
        _checks.check_range("pairs", self.pairs, low=2)
        if self.pairs % 2:
            raise ArgumentError(f"`pairs` must be even, half of them of one speaker, got {self.pairs}.")
        _checks.check_range("frames", self.frames, low=2)
        _checks.check_range("context", self.context, low=0)
        _checks.check_choice("single_recording", self.single_recording, ("apart", "skip"))
        _checks.check_range("filter_deviation", self.filter_deviation, low=0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class SpokenRecording:
    """A recording as a source of segments.

    Attributes:
      speaker: who speaks.
      frames: cepstra, and which of them are speech.
      changed: whether it is another recording played at another speed.
    """

    speaker: str
    frames: SpeechFrames
    changed: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentPairs:
    """Which segments meet in a batch.

    Attributes:
      recordings: of the first and the second segment of each pair, their numbers.
      starts: of the segments, among their recordings' frames of speech.
      same_speaker: the first half of the pairs.
    """

    recordings: Int[np.ndarray, "pairs 2"]
    starts: Int[np.ndarray, "pairs 2"]
    same_speaker: Bool[np.ndarray, " pairs"]


class SegmentPairSource:
    """Batches of pairs by number: ``source[i]`` is always the same, from any thread.

    Speakers come in a random order, all of them before any comes again. The two segments of a pair of one speaker are
    of different recordings where he has several, and else lie apart in the one he has, as far as it is long enough.
    The two speakers of every other pair differ.

    Args:
      recordings: to cut from; those with fewer frames of speech than a segment are left out.
      config: how to draw.
      seed: of everything random.

    Raises:
      CorpusError: fewer than two speakers have a recording of a segment's length, or nobody has two where
        ``single_recording`` is "skip".
    """

    def __init__(self, recordings: Sequence[SpokenRecording], config: SegmentPairConfig, *, seed: int) -> None:
        self.config, self.seed = config, seed
        self.recordings = tuple(one for one in recordings if len(one.frames.speech) >= config.frames)
        self.speakers = tuple(sorted({one.speaker for one in self.recordings}))
        if len(self.speakers) < 2:
            raise CorpusError(
                f"pairs need two speakers with {config.frames} frames of speech in a recording, here are "
                f"{len(self.speakers)}; give longer recordings or take shorter segments."
            )
        numbers = {name: number for number, name in enumerate(self.speakers)}
        self._speaker = np.array([numbers[one.speaker] for one in self.recordings])
        self._of_speaker = [np.flatnonzero(self._speaker == number) for number in range(len(self.speakers))]
        fewest = 2 if config.single_recording == "skip" else 1
        self._paired = np.array([number for number, own in enumerate(self._of_speaker) if len(own) >= fewest])
        if not len(self._paired):
            raise CorpusError("nobody has two recordings of a segment's length; set `single_recording` to 'apart'.")
        self._lengths = np.array([len(one.frames.speech) for one in self.recordings])
        means = np.stack([one.frames.cepstra[one.frames.speech].mean(0) for one in self.recordings])
        self._filter = config.filter_deviation * means.std(0)

    @property
    def fingerprint(self) -> str:
        """Changes when a batch changes."""
        sums = [[one.speaker, zlib.crc32(np.ascontiguousarray(one.frames.cepstra).data)] for one in self.recordings]
        return digest("segment pairs", self.config, self.seed, zlib.crc32(repr(sums).encode()))

    def __len__(self) -> int:
        return _ENDLESS

    def plan(self, index: int) -> SegmentPairs:
        """Which segments meet in batch ``index``."""
        rng = _generator(self.seed, _BATCH, index)
        half = self.config.pairs // 2
        same = self._paired[self._next(len(self._paired), half, _SAME, index)]
        anchors = self._next(len(self.speakers), half, _DIFFERENT, index)
        # Anybody but oneself, each equally likely.
        others = (anchors + 1 + rng.integers(len(self.speakers) - 1, size=half)) % len(self.speakers)
        sides = np.concatenate([same, anchors]), np.concatenate([same, others])
        chosen = [self._two_recordings(int(one), int(other), rng) for one, other in zip(*sides, strict=True)]
        recordings = np.array(chosen)
        starts = np.array([self._starts(pair, rng) for pair in chosen])
        return SegmentPairs(recordings, starts, np.arange(self.config.pairs) < half)

    def __getitem__(self, index: int) -> Batch:
        """Makes batch ``index``; :func:`segment_pair_batches` says what is in it."""
        plan = self.plan(index)
        first, second = (self._cut(plan.recordings[:, side], plan.starts[:, side]) for side in (0, 1))
        if self.config.filter_deviation:
            rng = _generator(self.seed, _FILTER, index)
            first, second = self._filtered(first, rng), self._filtered(second, rng)
        speakers = self._speaker[plan.recordings].astype(np.int32)
        return {
            "frames_1": first,
            "frames_2": second,
            "same_speaker": plan.same_speaker,
            "speaker_1": speakers[:, 0],
            "speaker_2": speakers[:, 1],
        }

    def _next(self, size: int, count: int, what: int, index: int) -> Int[np.ndarray, " count"]:
        """The next ``count`` of so many in the order of their round, and of later rounds where one does not do."""
        first = index * count
        rounds = range(first // size, (first + count - 1) // size + 1)
        orders = [_generator(self.seed, what, number).permutation(size) for number in rounds]
        return np.concatenate(orders)[first % size :][:count]

    def _two_recordings(self, one: int, other: int, rng: np.random.Generator) -> tuple[int, int]:
        """One of each speaker; of one speaker, two that differ where there are two."""
        if one != other:
            return int(rng.choice(self._of_speaker[one])), int(rng.choice(self._of_speaker[other]))
        own = self._of_speaker[one]
        if len(own) == 1:
            return int(own[0]), int(own[0])
        first, second = rng.choice(own, 2, replace=False)
        return int(first), int(second)

    def _starts(self, pair: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        frames, room = self.config.frames, self._lengths[list(pair)] - self.config.frames
        if pair[0] != pair[1]:
            return int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
        # Apart, uniformly over all places that are; sorted and moved apart, uniform draws stay uniform.
        apart = min(frames, int(room[0]))
        low, high = np.sort(rng.integers(int(room[0]) - apart + 1, size=2))
        both = (int(low), int(high) + apart)
        return both if rng.random() < 0.5 else both[::-1]

    def _cut(
        self, recordings: Int[np.ndarray, " pairs"], starts: Int[np.ndarray, " pairs"]
    ) -> Float32[np.ndarray, "pairs frames inputs"]:
        context, length = self.config.context, self.config.frames
        cut = []
        for number, start in zip(recordings, starts, strict=True):
            frames = self.recordings[number].frames
            cut.append(frames.with_context(context, frames.speech[start : start + length]))
        return np.stack(cut)

    def _filtered(
        self, segments: Float32[np.ndarray, "pairs frames inputs"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "pairs frames inputs"]:
        drawn = rng.standard_normal((len(segments), 1, len(self._filter))) * self._filter
        return segments + np.tile(drawn, 2 * self.config.context + 1).astype(np.float32)


def segment_pair_batches(source: SegmentPairSource, *, workers: int = 2, prefetch: int | None = None) -> Batches:
    """Batches of pairs without end, made ahead of time and resumed exactly; the stream does not depend on ``workers``.

    Returns:
      An iterator over {"frames_1": float32 [pairs, frames, inputs], "frames_2": likewise, "same_speaker": bool [pairs],
      "speaker_1": int32 [pairs], "speaker_2": likewise}; the speakers index ``source.speakers``.
    """
    return batches(source, _only, batch_size=1, seed=source.seed, shuffle=False, workers=workers, prefetch=prefetch)


def _generator(seed: int, *numbers: int) -> np.random.Generator:
    # Not (seed, *numbers) as entropy: that would not tell numbers from the same with a 0 behind.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=numbers))


def _only(made: Sequence[Batch]) -> Batch:
    (batch,) = made
    return batch
