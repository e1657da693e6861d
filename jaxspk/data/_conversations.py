r"""Conversations made of recordings of single speakers, whose turns are known.

Speakers take turns, nobody twice in a row. A turn is a recording, or a stretch of one, from its first speech to its
last; long pauses in it end a turn of the reference and begin another. Between turns there is a pause or, where overlap
is asked for, the next speaker begins before the last has ended; three never speak at once.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from jaxspk import _checks, audio
from jaxspk.data._effects import at_distance, check_sounds, noise_at, reverberate
from jaxspk.data._manifest import Manifest, Utterance
from jaxspk.data._mixtures import digest
from jaxspk.data._recordings import Recordings
from jaxspk.data._rttm import Turn
from jaxspk.data._sounds import Sound
from jaxspk.errors import AudioError, CorpusError

_TRIES = 50

# What a cut leaves of a stretch of speech is left out if it is shorter.
_SCRAP_SECONDS = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversationConfig:
    """How conversations are made; the default is clean, near and without overlap."""

    speakers: int = 2
    """Different voices."""
    seconds: float = 60.0
    """Length of each, at least; the last turn is finished."""
    sample_rate: int = 16_000
    """Hz."""
    turn_seconds: tuple[float, float] = (1.0, 8.0)
    """Range of the length of a turn; recordings that are shorter stay so."""
    pause_seconds: tuple[float, float] = (0.1, 0.8)
    """Range of the pause between turns without overlap."""
    overlap: float = 0.0
    """Share of the time with speech in which two speak at once, on average."""
    longest_pause: float = 0.5
    """Pauses within a turn that are longer are none of it in the reference."""
    level_range_db: float = 3.0
    """Each speaker's level is up to so much above or below the others' mean."""
    level_dbfs: float = -26.0
    """Level of active speech of the whole, against full scale; recordings of meetings have -30 to -45."""
    snr_db: tuple[float, float] | None = None
    """Range of the level of the voices above that of noise; None adds none."""
    room_share: float = 0.0
    """Share of the conversations that take place in a room."""
    tail_db: tuple[float, float] = (-6.0, 3.0)
    """Range of the level of the room's echo against the recorded one, for each speaker: nearer or farther."""

    def __post_init__(self) -> None:
        _checks.check_range("speakers", self.speakers, low=1)
        _checks.check_range("sample_rate", self.sample_rate, low=1)
        _checks.check_range("seconds", self.seconds, low=1.0, high=86_400.0)
        _checks.check_range("overlap", self.overlap, low=0.0, high=0.4 if self.speakers > 1 else 0.0)
        _checks.check_range("longest_pause", self.longest_pause, low=0.05, high=60.0)
        _checks.check_range("level_range_db", self.level_range_db, low=0.0, high=40.0)
        _checks.check_range("level_dbfs", self.level_dbfs, low=-90.0, high=-10.0)
        _checks.check_range("room_share", self.room_share, low=0.0, high=1.0)
        for name, lowest in (("turn_seconds", 0.2), ("pause_seconds", 0.0), ("tail_db", -120.0)):
            low, high = getattr(self, name)
            _checks.check_range(f"{name}[0]", low, low=lowest)
            _checks.check_range(f"{name}[1]", high, low=low, high=3600.0)
        if self.snr_db is not None:
            _checks.check_range("snr_db[0]", self.snr_db[0], low=-40.0)
            _checks.check_range("snr_db[1]", self.snr_db[1], low=self.snr_db[0], high=120.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Conversation:
    """A conversation and who speaks in it when.

    Attributes:
      waveform: of all.
      sample_rate: Hz.
      turns: in order of time.
      name: of the conversation.
      seconds: its length.
    """

    waveform: Float32[np.ndarray, " samples"]
    sample_rate: int
    turns: tuple[Turn, ...]
    name: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.waveform) / self.sample_rate


class ConversationSource:
    """Conversations by number: ``source[i]`` is always the same, in any order and from any thread.

    Args:
      manifest: whom to draw from; recordings of one speaker each.
      config: how.
      seed: of everything random.
      size: how many.
      noises: to draw from; needed where ``config.snr_db`` is not None.
      rooms: to draw from; needed where ``config.room_share`` is positive.
      recordings: where samples come from.

    Raises:
      CorpusError: there are fewer speakers than in a conversation.
      ArgumentError: noises or rooms are asked for and there are none, or the rates differ.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: ConversationConfig,
        *,
        seed: int,
        size: int,
        noises: Sequence[Sound] = (),
        rooms: Sequence[Sound] = (),
        recordings: Recordings | None = None,
    ) -> None:
        _checks.check_range("seed", seed, low=0)
        _checks.check_range("size", size, low=1)
        check_sounds("noises", float(config.snr_db is not None), noises)
        check_sounds("rooms", config.room_share, rooms)
        if len(manifest.speakers) < config.speakers:
            raise CorpusError(
                f"a conversation has {config.speakers} speakers, here are {len(manifest.speakers)}; "
                f"add speakers or ask for fewer."
            )
        self.manifest, self.config, self.seed, self.size = manifest, config, seed, size
        self.recordings = recordings or Recordings(config.sample_rate)
        _checks.check_choice("recordings.sample_rate", self.recordings.sample_rate, (config.sample_rate,))
        self._noises, self._rooms = tuple(noises), tuple(rooms)
        self._by_speaker = manifest.by_speaker()

    @property
    def fingerprint(self) -> str:
        """Changes when a conversation changes."""
        files = ((u.speaker, u.path.name, round(u.seconds, 3)) for u in self.manifest)
        sounds = ((sound.name, sound.waveform.size) for sound in (*self._noises, *self._rooms))
        return digest(self.config, self.seed, *files, *sounds)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Conversation:
        """Makes conversation ``index``."""
        if not 0 <= index < self.size:
            raise IndexError(f"conversation {index} of {self.size}")
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index,)))
        config = self.config
        names = self.manifest.speakers
        speakers = [names[number] for number in rng.permutation(len(names))[: config.speakers]]
        said = self._said(speakers, rng)
        voices, turns = self._voices(speakers, said)
        waveform = self._together(voices, rng)
        return Conversation(waveform, config.sample_rate, turns, f"conversation-{config.speakers}-{index}")

    def _said(self, speakers: Sequence[str], rng: np.random.Generator) -> list["_Said"]:
        """Turns one after the other until the time is over and everybody has spoken."""
        config, rate = self.config, self.config.sample_rate
        unused = {speaker: rng.permutation(len(self._by_speaker[speaker])).tolist() for speaker in speakers}
        waiting: list[str] = []
        said: list[_Said] = []
        end, last = 0, ""
        while end < config.seconds * rate or waiting:
            if not waiting:
                # In rounds, so that all speak about as often; nobody twice in a row.
                waiting = [speakers[number] for number in rng.permutation(len(speakers))]
                if waiting[0] == last:
                    waiting.append(waiting.pop(0))
            speaker = last = waiting.pop(0)
            length = round(rng.uniform(*config.turn_seconds) * rate)
            voice, stretches = self._turn(speaker, unused[speaker], length, rng)
            pause = round(rng.uniform(*config.pause_seconds) * rate)
            start = end + pause
            if config.overlap and said:
                # Of turns that each lie over the one before by a share q of their length, q / (1 - q) of the time is
                # doubled; never more than half of the one before, so that three do not meet.
                share = config.overlap / (1 + config.overlap) * rng.uniform(0.5, 1.5)
                start = end - min(round(share * len(voice)), len(said[-1].voice) // 2)
            said.append(_Said(speaker, start, voice, stretches))
            end = start + len(voice)
        return said

    def _turn(
        self, speaker: str, unused: list[int], length: int, rng: np.random.Generator
    ) -> tuple[Float32[np.ndarray, " samples"], np.ndarray]:
        """A stretch of one of the speaker's recordings about so long, and where in it there is speech."""
        utterances = self._by_speaker[speaker]
        for _ in range(_TRIES):
            if not unused:
                unused.extend(rng.permutation(len(utterances)).tolist())
            found = self._spoken(utterances[unused.pop()])
            if found is None:
                continue
            waveform, stretches = found
            # From the start of a stretch of speech after which enough is left, to the end of one or the limit.
            possible = np.flatnonzero(stretches[-1, 1] - stretches[:, 0] >= length)
            kept = stretches[int(rng.choice(possible)) if len(possible) else 0 :]
            begin, limit = int(kept[0, 0]), int(kept[0, 0]) + length
            kept = np.minimum(kept[kept[:, 0] < limit], limit)
            if len(kept) > 1 and kept[-1, 1] - kept[-1, 0] < _SCRAP_SECONDS * self.config.sample_rate:
                kept = kept[:-1]
            return waveform[begin : int(kept[-1, 1])], kept - begin
        raise CorpusError(f"speaker {speaker!r} has no usable recording; leave him out.")

    def _spoken(self, utterance: Utterance) -> tuple[Float32[np.ndarray, " samples"], np.ndarray] | None:
        """The recording at the level of its speech, and its stretches of speech without the long pauses."""
        try:
            recording = self.recordings.get(utterance.path)
        except AudioError:
            return None
        rate = self.config.sample_rate
        found = audio.active_intervals(
            recording.waveform, threshold_db=30.0, frame_length=round(0.05 * rate), hop_length=round(0.01 * rate)
        )
        if not len(found):
            return None
        long = np.flatnonzero(found[1:, 0] - found[:-1, 1] > self.config.longest_pause * rate)
        starts = found[np.concatenate([[0], long + 1]), 0]
        ends = found[np.concatenate([long, [len(found) - 1]]), 1]
        return recording.waveform / np.float32(recording.level), np.stack([starts, ends], axis=1)

    def _voices(
        self, speakers: Sequence[str], said: Sequence["_Said"]
    ) -> tuple[Float32[np.ndarray, "speakers samples"], tuple[Turn, ...]]:
        """Each speaker by himself, and the turns."""
        rate = self.config.sample_rate
        voices = np.zeros((len(speakers), max(one.start + len(one.voice) for one in said)), np.float32)
        turns = []
        for one in said:
            voices[speakers.index(one.speaker), one.start : one.start + len(one.voice)] += one.voice
            turns += [
                Turn(float(one.start + start) / rate, float(one.start + end) / rate, one.speaker)
                for start, end in one.stretches
            ]
        return voices, tuple(sorted(turns))

    def _together(
        self, voices: Float32[np.ndarray, "speakers samples"], rng: np.random.Generator
    ) -> Float32[np.ndarray, " samples"]:
        """The sum of the voices, each at its level and place in the room, with noise."""
        config = self.config
        # All drawn first and always, so that one thing changes no draw of another.
        gains_db = rng.uniform(-config.level_range_db, config.level_range_db, len(voices))
        in_room, which_room, which_noise, where, snr = rng.random(5)
        tails_db = rng.uniform(*config.tail_db, size=len(voices))
        if in_room < config.room_share:
            room = self._rooms[int(which_room * len(self._rooms))].waveform
            responses = [at_distance(room, float(tail_db), config.sample_rate) for tail_db in tails_db]
            voices = np.stack([reverberate(voice, response) for voice, response in zip(voices, responses, strict=True)])
        # Voices have an active level of 1.
        levels = 10 ** ((gains_db + config.level_dbfs) / 20)
        mixed: np.ndarray = levels.astype(np.float32) @ voices
        if config.snr_db is not None:
            low, high = config.snr_db
            noise = self._noises[int(which_noise * len(self._noises))].waveform
            mixed = mixed + noise_at(mixed, noise, low + snr * (high - low), start=where)
        peak = float(np.abs(mixed).max())
        return mixed if peak <= 1 else mixed / np.float32(peak)


@dataclasses.dataclass(frozen=True, eq=False)
class _Said:
    """A turn at its place."""

    speaker: str
    start: int
    voice: Float32[np.ndarray, " samples"]
    stretches: np.ndarray
    """First sample of its speech, and the one after the last, from the start of the turn on."""


def overlapped_share(turns: Sequence[Turn]) -> float:
    """Share of the time with speech in which more than one speaks.

    Example:
      >>> overlapped_share([Turn(0.0, 3.0, "ann"), Turn(2.0, 4.0, "bob")])
      0.25
    """
    times = np.unique([edge for turn in turns for edge in turn[:2]])
    middles, lengths = (times[:-1] + times[1:]) / 2, np.diff(times)
    speaking = np.zeros(len(middles), int)
    for turn in turns:
        speaking += (turn.start < middles) & (middles < turn.end)
    spoken = float(lengths[speaking > 0].sum())
    return float(lengths[speaking > 1].sum()) / spoken if spoken else 0.0
