r"""Crops of one voice made more various: a room, noise, music, other voices behind it, its level.

With voice v, room h and what is laid under it, each at its own signal-to-noise ratio :math:`r_i`:

.. math::
    y = 10^{g / 20} \Bigl(v' + \sum_i \gamma_i n_i\Bigr), \qquad v' = h * v, \qquad
    10 \log_{10} \frac{\lVert v' \rVert^2}{\lVert \gamma_i n_i \rVert^2} = r_i .

Speeds are another matter: a voice played faster is another voice, so that they make new speakers
(:class:`jaxspk.data.SpeakerSource`).
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from jaxspk import _checks
from jaxspk.data._effects import check_sounds, equalize_randomly, noise_at, reverberate_crop
from jaxspk.data._sounds import Sound
from jaxspk.errors import ArgumentError

_SHARES = ("room_share", "noise_share", "music_share", "babble_share")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechAugmentConfig:
    """How recordings of speakers are varied; the default changes nothing."""

    room_share: float = 0.0
    """Share of the recordings that are put into a room."""
    noise_share: float = 0.0
    """Share of the recordings that get noise."""
    music_share: float = 0.0
    """Share of the recordings that get music."""
    babble_share: float = 0.0
    """Share of the recordings behind which other speakers talk."""
    one_of: bool = False
    """At most one of the four happens to a recording, instead of each by itself; their shares then add up to 1 at
    most."""
    tail_db: tuple[float, float] = (0.0, 0.0)
    """Range of the level of a room's echo against the recorded one: nearer or farther."""
    noise_snr_db: tuple[float, float] = (0.0, 15.0)
    """Range of the level of the voice above the noise, drawn uniformly."""
    music_snr_db: tuple[float, float] = (5.0, 15.0)
    """Range of the level of the voice above the music."""
    babble_snr_db: tuple[float, float] = (13.0, 20.0)
    """Range of the level of the voice above each single voice behind it."""
    babble_speakers: tuple[int, int] = (3, 7)
    """Fewest and most voices behind it."""
    equalizer_db: float = 0.0
    """Deviation of the gains of a random smooth filter that everything goes through at the end: microphones differ."""
    level_db: float = 0.0
    """The level is moved up or down by as much at most."""
    speeds: tuple[float, ...] = ()
    """Every speaker played at each of these speeds is one more speaker; 1.1 is faster and higher."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            _checks.check_range(name, getattr(self, name), low=0.0, high=1.0)
        total = sum(self.shares)
        if self.one_of and total > 1 + 1e-9:
            raise ArgumentError(f"the shares must add up to 1 at most where only one of them happens, got {total:g}.")
        for name in ("tail_db", "noise_snr_db", "music_snr_db", "babble_snr_db"):
            low, high = getattr(self, name)
            _checks.check_range(f"{name}[0]", low, low=-120.0, high=120.0)
            _checks.check_range(f"{name}[1]", high, low=low, high=120.0)
        fewest, most = self.babble_speakers
        _checks.check_range("babble_speakers[0]", fewest, low=1)
        _checks.check_range("babble_speakers[1]", most, low=fewest, high=100)
        _checks.check_range("equalizer_db", self.equalizer_db, low=0.0, high=60.0)
        _checks.check_range("level_db", self.level_db, low=0.0, high=60.0)
        for index, speed in enumerate(self.speeds):
            _checks.check_range(f"speeds[{index}]", speed, low=0.5, high=2.0)
        if 1.0 in self.speeds or len(set(self.speeds)) < len(self.speeds):
            raise ArgumentError(f"`speeds` must differ from each other and from 1, got {self.speeds}.")

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of room, noise, music and babble."""
        return tuple(getattr(self, name) for name in _SHARES)


def one_of_five_augment(*, music: bool = True) -> SpeechAugmentConfig:
    """The recipe of the encoders called V2: nothing, a room, noise, music or babble, with equal chance.

    Args:
      music: False leaves music out where there is none; the other four then come with equal chance.

    References:
      Heo et al., *Clova baseline system for the VoxCeleb Speaker Recognition Challenge 2020* (arXiv:2009.14153); the
      signal-to-noise ratios are those of the code published with it.
    """
    share = 1 / 5 if music else 1 / 4
    return SpeechAugmentConfig(
        room_share=share, noise_share=share, music_share=share if music else 0.0, babble_share=share, one_of=True
    )


class SpeechAugment:
    """Varies crops; each is a function of the crop and the generator it is given.

    Args:
      config: how.
      sample_rate: of the crops and sounds, in Hz.
      noises: to draw from; needed where ``config.noise_share`` is positive.
      music: to draw from; needed where ``config.music_share`` is positive.
      rooms: to draw from; needed where ``config.room_share`` is positive.

    Raises:
      ArgumentError: something is asked for and there is none.
    """

    def __init__(
        self,
        config: SpeechAugmentConfig,
        *,
        sample_rate: int,
        noises: Sequence[Sound] = (),
        music: Sequence[Sound] = (),
        rooms: Sequence[Sound] = (),
    ) -> None:
        for name, share, sounds in (
            ("noises", config.noise_share, noises),
            ("music", config.music_share, music),
            ("rooms", config.room_share, rooms),
        ):
            check_sounds(name, share, sounds)
        self.config = config
        self._sample_rate = sample_rate
        self._noises, self._music, self._rooms = tuple(noises), tuple(music), tuple(rooms)

    @property
    def sounds(self) -> tuple[Sound, ...]:
        """All it draws from."""
        return (*self._noises, *self._music, *self._rooms)

    def __call__(
        self,
        voice: Float32[np.ndarray, " samples"],
        rng: np.random.Generator,
        others: Callable[[int, np.random.Generator], Sequence[Float32[np.ndarray, " samples"]]],
    ) -> Float32[np.ndarray, " samples"]:
        """Varies one crop.

        Args:
          voice: the crop; it is not written to.
          rng: decides all.
          others: crops, as long as ``voice``, of so many other speakers, drawn by the generator.
        """
        config = self.config
        # All drawn first and always, so that a share of one thing changes no draw of another.
        in_room, noisy, musical, babbling = self._happen(rng.random(len(_SHARES)))
        tail_db = rng.uniform(*config.tail_db)
        noise_db, music_db = rng.uniform(*config.noise_snr_db), rng.uniform(*config.music_snr_db)
        gain_db = rng.uniform(-config.level_db, config.level_db)
        which_room, which_noise, which_music, noise_start, music_start = rng.random(5)

        varied = voice
        if in_room:
            room = _pick(self._rooms, which_room)
            varied = reverberate_crop(voice, room, tail_db=tail_db, sample_rate=self._sample_rate)
        behind = []
        if noisy:
            noise = _pick(self._noises, which_noise).waveform
            behind.append(noise_at(varied, noise, noise_db, start=noise_start))
        if musical:
            music = _pick(self._music, which_music).waveform
            behind.append(noise_at(varied, music, music_db, start=music_start))
        if babbling:
            voices = others(int(rng.integers(*config.babble_speakers, endpoint=True)), rng)
            levels_db = rng.uniform(*config.babble_snr_db, size=len(voices))
            behind += [noise_at(varied, other, db, start=0.0) for other, db in zip(voices, levels_db, strict=True)]
        if behind:
            varied = varied + np.sum(behind, axis=0)
        if config.equalizer_db:
            varied = equalize_randomly(varied, rng, config.equalizer_db, self._sample_rate)
        return varied * np.float32(10 ** (gain_db / 20)) if gain_db else varied

    def _happen(self, chances: np.ndarray) -> Sequence[bool]:
        shares = np.array(self.config.shares)
        if not self.config.one_of:
            return [bool(happens) for happens in chances < shares]
        chosen = int(np.searchsorted(np.cumsum(shares), chances[0], side="right"))
        return [number == chosen for number in range(len(shares))]


def _pick(sounds: Sequence[Sound], chance: float) -> Sound:
    return sounds[int(chance * len(sounds))]
