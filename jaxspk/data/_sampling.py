"""Batches of speakers: several crops of each of many different speakers, as metric learning wants them."""

import bisect
import dataclasses
import functools
import itertools
import math
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from jaxspk import _checks
from jaxspk.data._crops import CROP_TRIES, crop, draw_starts, first_in_speech, wrap
from jaxspk.data._effects import change_speed, samples_to_play
from jaxspk.data._epochs import Epoch, count_batches, count_groups, draw_epoch
from jaxspk.data._manifest import Manifest, Utterance
from jaxspk.data._mixtures import digest
from jaxspk.data._pipeline import Batch, Batches, batches, refuse_held_out
from jaxspk.data._recordings import Recordings
from jaxspk.data._sounds import Sound
from jaxspk.data._speech_augment import SpeechAugment, SpeechAugmentConfig
from jaxspk.errors import ArgumentError, AudioError, CorpusError

# More than anybody trains; the source is numbered and endless.
_ENDLESS = 2**40

# What a stream of random numbers is for.
_PLAN, _CROPS, _AUGMENT = range(3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakerBatchConfig:
    """How batches of speakers are drawn."""

    speakers: int = 100
    """Speakers in a batch, all different."""
    utterances: int = 2
    """Utterances of each speaker in a batch."""
    utterance_cap: int = 100
    """Utterances of a speaker in an epoch, at most."""
    seconds: float = 2.0
    """Length of the crops; shorter recordings wrap round."""
    single_utterance: Literal["apart", "crops", "skip"] = "apart"
    """What is done with a speaker of fewer utterances than a batch takes: several crops of one, which do not overlap
    where it is long enough ("apart") or lie anywhere ("crops"), or nothing ("skip")."""
    avoid_pauses: bool = True
    """Draw crops again that are mostly a pause."""

    def __post_init__(self) -> None:
        _checks.check_range("speakers", self.speakers, low=1)
        _checks.check_range("utterances", self.utterances, low=1)
        _checks.check_range("utterance_cap", self.utterance_cap, low=self.utterances)
        _checks.check_range("seconds", self.seconds, low=0.01, high=3600.0)
        _checks.check_choice("single_utterance", self.single_utterance, ("apart", "crops", "skip"))


class SpeakerClass(NamedTuple):
    """What a network learns to tell from others: a speaker at one speed."""

    name: str
    """The speaker, or "speaker@speed" where it is not 1."""
    speaker: str
    speed: float
    utterances: tuple[Utterance, ...]


class SpeakerSource:
    """Batches of speakers by number: ``source[i]`` is always the same, in any order and from any thread.

    Batch i is batch ``i % batches_per_epoch`` of epoch ``i // batches_per_epoch``. In an epoch each speaker has as
    many groups of ``config.utterances`` utterances as there are, up to the cap, and at least one; each group comes
    once. A group whose speaker is in the batch already waits for a later one; places that stay empty at an epoch's
    end go to further groups, drawn anew. Every epoch leaves other utterances out and takes other crops of those that
    come. A file that cannot be used (see ``recordings.unusable``) is replaced by another of the same speaker.

    Args:
      manifest: whom to draw from.
      config: how to draw.
      seed: of everything random, 0 to 2**32 - 1.
      augment: how crops are varied, and at which speeds speakers become others.
      sample_rate: in Hz.
      noises: as for :class:`SpeechAugment`.
      music: as for :class:`SpeechAugment`.
      rooms: as for :class:`SpeechAugment`.
      recordings: where samples come from; sources over the same files may share one.
      shard_index: which part of every batch this process makes.
      shard_count: into how many equal parts the batches are divided.

    Raises:
      CorpusError: there are too few speakers for ``config``, or two classes of one name.
      ArgumentError: sounds are asked for and there are none, the rates differ, or the parts would not be equal.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: SpeakerBatchConfig,
        *,
        seed: int,
        augment: SpeechAugmentConfig | None = None,
        sample_rate: int = 16_000,
        noises: Sequence[Sound] = (),
        music: Sequence[Sound] = (),
        rooms: Sequence[Sound] = (),
        recordings: Recordings | None = None,
        shard_index: int = 0,
        shard_count: int = 1,
    ) -> None:
        _checks.check_range("seed", seed, low=0, high=2**32 - 1)
        _checks.check_range("sample_rate", sample_rate, low=1)
        _checks.check_range("shard_count", shard_count, low=1)
        _checks.check_range("shard_index", shard_index, low=0, high=shard_count - 1)
        if config.speakers % shard_count:
            raise ArgumentError(
                f"{config.speakers} speakers in a batch cannot be divided into {shard_count} equal parts; "
                f"take a multiple of {shard_count}."
            )
        augment = SpeechAugmentConfig() if augment is None else augment
        self.manifest, self.config, self.seed, self.sample_rate = manifest, config, seed, sample_rate
        self.recordings = Recordings(sample_rate) if recordings is None else recordings
        if self.recordings.sample_rate != sample_rate:
            raise ArgumentError(
                f"`recordings` are at {self.recordings.sample_rate} Hz, the batches at {sample_rate} Hz; "
                f"give Recordings({sample_rate})."
            )
        self._augment = SpeechAugment(augment, sample_rate=sample_rate, noises=noises, music=music, rooms=rooms)
        self._classes = speaker_classes(manifest, config, augment)
        _check_enough_classes(self._classes, manifest, config, augment)
        self._available = np.array([len(one.utterances) for one in self._classes])
        groups = count_groups(self._available, config.utterances, config.utterance_cap)
        self.batches_per_epoch = count_batches(groups, config.speakers)
        self._by_speaker = manifest.by_speaker()
        self._samples = round(config.seconds * sample_rate)
        share = config.speakers // shard_count
        self._rows = range(shard_index * share, (shard_index + 1) * share)
        self._epochs: dict[int, Epoch] = {}
        self._lock = threading.Lock()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what "speaker" numbers in a batch, sorted."""
        return tuple(one.name for one in self._classes)

    @property
    def held_out(self) -> tuple[str, ...]:
        """Speakers in it that are kept for testing."""
        return self.manifest.where(split="test").speakers

    @property
    def fingerprint(self) -> str:
        """Changes when a batch changes; depends neither on the folder the files lie in nor on the shard."""
        files = ((u.speaker, u.path.name, round(u.seconds, 3)) for u in self.manifest)
        sounds = ((sound.name, sound.waveform.size) for sound in self._augment.sounds)
        return digest(self.config, self._augment.config, self.seed, self.sample_rate, *files, *sounds)

    def __len__(self) -> int:
        return _ENDLESS

    def plan(self, index: int) -> tuple[Int[np.ndarray, " speakers"], tuple[tuple[Utterance, ...], ...]]:
        """Who is in batch ``index``, of all shards, and which of their utterances."""
        number, step = divmod(index, self.batches_per_epoch)
        epoch = self._epoch(number)
        chosen = (
            tuple(self._classes[which].utterances[member] for member in members)
            for which, members in zip(epoch.classes[step], epoch.members[step], strict=True)
        )
        return epoch.classes[step], tuple(chosen)

    def __getitem__(self, index: int) -> Batch:
        """Makes this shard's part of batch ``index``; :func:`speaker_batches` says what is in it."""
        number, step = divmod(index, self.batches_per_epoch)
        epoch = self._epoch(number)
        waveforms = np.empty((len(self._rows), self.config.utterances, self._samples), np.float32)
        for place, row in enumerate(self._rows):
            one = self._classes[epoch.classes[step, row]]
            crops = self._crops(one, epoch.members[step, row], self._generator(_CROPS, index, row))
            for column, voice in enumerate(crops):
                rng = self._generator(_AUGMENT, index, row, column)
                others = functools.partial(self._others, one.speaker)
                waveforms[place, column] = self._augment(voice, rng, others)
        return {"waveform": waveforms, "speaker": epoch.classes[step, self._rows.start : self._rows.stop].copy()}

    def _generator(self, *numbers: int) -> np.random.Generator:
        # Not (seed, *numbers) as entropy: that would not tell numbers from the same with a 0 behind.
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=numbers))

    def _epoch(self, number: int) -> Epoch:
        with self._lock:
            if number not in self._epochs:
                # Workers are at most at two epochs at once.
                self._epochs = {kept: epoch for kept, epoch in self._epochs.items() if kept == number - 1}
                self._epochs[number] = draw_epoch(
                    self._available,
                    speakers=self.config.speakers,
                    utterances=self.config.utterances,
                    cap=self.config.utterance_cap,
                    rng=self._generator(_PLAN, number),
                )
            return self._epochs[number]

    def _crops(
        self, one: SpeakerClass, members: Int[np.ndarray, " utterances"], rng: np.random.Generator
    ) -> list[Float32[np.ndarray, " samples"]]:
        """A crop of each utterance; those of one recording are drawn together."""
        usable = [self._usable(one.utterances, int(member)) for member in members]
        taken = samples_to_play(self._samples, one.speed, self.sample_rate)
        crops: list[Float32[np.ndarray, " samples"] | None] = [None] * len(usable)
        for member, count in Counter(number for number, _ in usable).items():
            columns = [column for column, (number, _) in enumerate(usable) if number == member]
            waveform = wrap(usable[columns[0]][1], taken)
            for column, start in zip(columns, self._starts(waveform, taken, count, rng), strict=True):
                played = change_speed(waveform[start : start + taken], one.speed, self.sample_rate)
                crops[column] = played[: self._samples]
        return [piece for piece in crops if piece is not None]

    def _starts(
        self,
        waveform: Float32[np.ndarray, " samples"],
        samples: int,
        count: int,
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " count"]:
        apart = self.config.single_utterance == "apart"
        tries = CROP_TRIES if self.config.avoid_pauses else 1
        candidates = (draw_starts(len(waveform), samples, count, rng, apart=apart) for _ in range(tries))
        # Not the level of the active part, which takes longer to measure than the rest of all this.
        level = math.sqrt(float(np.dot(waveform, waveform)) / len(waveform))
        return first_in_speech(waveform, level, candidates, samples)

    def _usable(self, utterances: Sequence[Utterance], member: int) -> tuple[int, Float32[np.ndarray, " samples"]]:
        """The utterance and its samples, or the next one of the speaker that can be used."""
        for number in (*range(member, len(utterances)), *range(member)):
            try:
                return number, self.recordings.waveform(utterances[number].path)
            except AudioError as error:
                reason = str(error)
        speaker = utterances[member].speaker
        raise CorpusError(f"speaker {speaker!r} has no usable recording; leave him out ({reason})")

    def _others(self, speaker: str, count: int, rng: np.random.Generator) -> list[Float32[np.ndarray, " samples"]]:
        """Crops of so many other speakers, or of all there are."""
        own = bisect.bisect_left(self.manifest.speakers, speaker)
        others = len(self.manifest.speakers) - 1
        chosen = rng.choice(others, min(count, others), replace=False)
        crops = []
        for which, member in zip(chosen, rng.random(len(chosen)), strict=True):
            utterances = self._by_speaker[self.manifest.speakers[which + (which >= own)]]
            _, waveform = self._usable(utterances, int(member * len(utterances)))
            crops.append(crop(waveform, self._samples, rng))
        return crops


def speaker_classes(
    manifest: Manifest, config: SpeakerBatchConfig, augment: SpeechAugmentConfig | None = None
) -> tuple[SpeakerClass, ...]:
    """What "speaker" numbers in a batch: the speakers, and each of them at every other speed, sorted by name.

    Args:
      manifest: whose speakers.
      config: leaves speakers of too few utterances out where ``single_utterance`` is "skip".
      augment: names the speeds.

    Raises:
      CorpusError: a speaker is called as another one at some speed.
    """
    fewest = config.utterances if config.single_utterance == "skip" else 1
    speeds = (1.0, *(() if augment is None else augment.speeds))
    classes = sorted(
        SpeakerClass(speaker if speed == 1 else f"{speaker}@{speed:g}", speaker, speed, utterances)
        for speaker, utterances in manifest.by_speaker().items()
        for speed in speeds
        if len(utterances) >= fewest
    )
    for one, following in itertools.pairwise(classes):
        if one.name == following.name:
            raise CorpusError(f"two classes are called {one.name!r}; give the speaker of this name another.")
    return tuple(classes)


def speaker_batches(
    manifest: Manifest,
    config: SpeakerBatchConfig,
    *,
    seed: int = 0,
    augment: SpeechAugmentConfig | None = None,
    sample_rate: int = 16_000,
    noises: Sequence[Sound] = (),
    music: Sequence[Sound] = (),
    rooms: Sequence[Sound] = (),
    recordings: Recordings | None = None,
    workers: int = 2,
    prefetch: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    allow_held_out: bool = False,
) -> Batches:
    """Batches of speakers without end: the batches of :class:`SpeakerSource` in their order, made ahead of time.

    The stream depends neither on ``workers`` and ``prefetch`` nor, put together, on ``shard_count``; a place in it
    is the number of the batch, so that a run can be resumed with more or fewer processes.

    Args:
      manifest: whom to draw from.
      config: how to draw.
      seed: as for :class:`SpeakerSource`, and so are the arguments not named here.
      augment: how crops are varied; None leaves them as they are.
      sample_rate: in Hz.
      noises: to draw from.
      music: to draw from.
      rooms: to draw from.
      recordings: where samples come from.
      workers: threads that make batches ahead of time; 0 makes each when it is asked for.
      prefetch: batches made ahead, twice ``workers`` if None.
      shard_index: which part of every batch this process makes.
      shard_count: into how many equal parts the batches are divided.
      allow_held_out: take speakers that are kept for testing.

    Returns:
      An iterator over {"waveform": float32 [speakers, utterances, samples], "speaker": int32 [speakers]}; the latter
      index :func:`speaker_classes`. Of a shard, its ``config.speakers / shard_count`` speakers.

    Raises:
      CorpusError: a speaker is held out for testing, or there are too few.
      ArgumentError: as for :class:`SpeakerSource`.
    """
    source = SpeakerSource(
        manifest,
        config,
        seed=seed,
        augment=augment,
        sample_rate=sample_rate,
        noises=noises,
        music=music,
        rooms=rooms,
        recordings=recordings,
        shard_index=shard_index,
        shard_count=shard_count,
    )
    if not allow_held_out:
        refuse_held_out(source.held_out, "this manifest")
    made = batches(source, _only, batch_size=1, seed=seed, shuffle=False, workers=workers, prefetch=prefetch)
    made.shard_count = shard_count
    return made


def _only(made: Sequence[Batch]) -> Batch:
    (batch,) = made
    return batch


def _check_enough_classes(
    classes: Sequence[SpeakerClass], manifest: Manifest, config: SpeakerBatchConfig, augment: SpeechAugmentConfig
) -> None:
    if len(classes) < config.speakers:
        skipped = len(manifest.speakers) - len({one.speaker for one in classes})
        without = f" ({skipped} left out, of fewer than {config.utterances} utterances)" if skipped else ""
        raise CorpusError(
            f"a batch needs {config.speakers} different speakers, here are {len(classes)}{without}; "
            f"add speakers or ask for fewer in a batch."
        )
    if augment.babble_share > 0 and len(manifest.speakers) < 2:
        raise CorpusError("babble needs other speakers, here is one; add speakers or set babble_share to 0.")
