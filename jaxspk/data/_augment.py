r"""Mixtures made more various: speed, level, rooms and noise, each draw a function of (seed, index).

Source by source the speed is changed (which moves pitch and formants, so that it makes new voices), the room is put
on and the level moved; then the sources are added, noise is added, and all is scaled to a peak of 0.9 again:

.. math::
    s_k = \gamma\, 10^{g_k / 20}\, (h_k * r_k(\alpha_k t)), \qquad
    x = \sum_k s_k + \gamma n, \qquad
    10 \log_{10} \frac{\lVert x - \gamma n \rVert^2}{\lVert \gamma n \rVert^2} = \text{SNR} .

A source is what its microphone would have heard of the voice alone, room included; noise belongs to no source.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from jaxspk import _checks
from jaxspk.data._effects import at_distance, change_speed, check_sounds, noise_at, reverberate
from jaxspk.data._manifest import Manifest
from jaxspk.data._mixtures import PEAK, Mixture, MixtureConfig, MixturePlan, Mixtures, MixtureSource, digest
from jaxspk.data._recordings import Recordings
from jaxspk.data._sounds import Sound


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How mixtures are varied; the default changes nothing."""

    speed: tuple[float, float] = (1.0, 1.0)
    """Range of each source's speed, drawn uniformly on a logarithmic scale; 1.1 is faster and higher."""
    level_db: float = 0.0
    """Each source's level is moved up or down by as much at most, on top of what the mixture has."""
    noise_share: float = 0.0
    """Share of the mixtures that get noise."""
    snr_db: tuple[float, float] = (5.0, 25.0)
    """Range of the level of the voices above that of the noise, drawn uniformly."""
    room_share: float = 0.0
    """Share of the mixtures whose voices stand in a room, all in the same one."""
    tail_db: tuple[float, float] = (-12.0, 0.0)
    """Range of the level of the room's echo against the recorded one, drawn for each source: nearer or farther."""

    def __post_init__(self) -> None:
        low, high = self.speed
        _checks.check_range("speed[0]", low, low=0.5, high=2.0)
        _checks.check_range("speed[1]", high, low=low, high=2.0)
        _checks.check_range("level_db", self.level_db, low=0.0, high=60.0)
        for name in ("noise_share", "room_share"):
            _checks.check_range(name, getattr(self, name), low=0.0, high=1.0)
        for name in ("snr_db", "tail_db"):
            low, high = getattr(self, name)
            _checks.check_range(f"{name}[0]", low, low=-120.0, high=120.0)
            _checks.check_range(f"{name}[1]", high, low=low, high=120.0)


class AugmentedMixtures(Mixtures):
    """A set of mixtures, each varied by draws of its own; random access, a pure function of (seed, index).

    With a speed above 1 a mixture gets shorter. Where all must be of one length, as in training, use
    :func:`augmented_source`, which draws them longer first.

    Args:
      mixtures: the set to vary.
      augment: how.
      seed: of the draws, apart from that of the mixtures.
      noises: to draw from; needed where ``augment.noise_share`` is positive.
      rooms: to draw from; needed where ``augment.room_share`` is positive.
      samples: cut or pad every mixture to this length.

    Raises:
      ArgumentError: noises or rooms are asked for and there are none.
    """

    def __init__(
        self,
        mixtures: Mixtures,
        augment: AugmentConfig,
        *,
        seed: int,
        noises: Sequence[Sound] = (),
        rooms: Sequence[Sound] = (),
        samples: int | None = None,
    ) -> None:
        super().__init__(mixtures.config, mixtures.recordings)
        _checks.check_range("seed", seed, low=0)
        for name, share, sounds in (("noises", augment.noise_share, noises), ("rooms", augment.room_share, rooms)):
            check_sounds(name, share, sounds)
        self.levels = mixtures.levels
        self._mixtures = mixtures
        self._augment = augment
        self._seed = seed
        self._noises, self._rooms = tuple(noises), tuple(rooms)
        self._samples = samples

    def __len__(self) -> int:
        return len(self._mixtures)

    @property
    def held_out(self) -> tuple[str, ...]:
        """Speakers in it that are kept for testing."""
        return self._mixtures.held_out

    @property
    def fingerprint(self) -> str:
        """Changes when a mixture changes; does not depend on the folder the files lie in."""
        sounds = [(sound.name, sound.waveform.size) for sound in (*self._noises, *self._rooms)]
        return digest(self._mixtures.fingerprint, self._augment, self._seed, self._samples, *sounds)

    def plan(self, index: int) -> MixturePlan:
        """What mixture ``index`` is made of, before it is varied."""
        return self._mixtures.plan(index)

    def __getitem__(self, index: int) -> Mixture:
        """Makes and varies mixture ``index``."""
        mixture = self._mixtures[self._checked(index)]
        # Not the stream that drew the mixture, should the seeds be the same.
        rng = np.random.default_rng((self._seed, index, 1))
        return self._varied(mixture, rng)

    def _varied(self, mixture: Mixture, rng: np.random.Generator) -> Mixture:
        augment, rate = self._augment, mixture.sample_rate
        # All drawn first and always, so that a share of one thing changes no draw of another.
        speakers = len(mixture.sources)
        slowest, fastest = np.log(augment.speed)
        speeds = np.exp(rng.uniform(slowest, fastest, size=speakers))
        gains_db = rng.uniform(-augment.level_db, augment.level_db, size=speakers)
        in_room, noisy = rng.random(2) < (augment.room_share, augment.noise_share)
        tails_db = rng.uniform(*augment.tail_db, size=speakers)
        snr_db = rng.uniform(*augment.snr_db)
        which_room, which_noise, where = rng.random(3)

        sources = [change_speed(source, speed, rate) for source, speed in zip(mixture.sources, speeds, strict=True)]
        if in_room:
            room = self._rooms[int(which_room * len(self._rooms))].waveform
            sources = [
                reverberate(source, at_distance(room, tail_db, rate))
                for source, tail_db in zip(sources, tails_db, strict=True)
            ]
        samples = self._samples or min(len(source) for source in sources)
        together = np.stack([_fitted(source, samples) for source in sources])
        together *= np.float32(10) ** (gains_db[:, None] / 20).astype(np.float32)
        mixed = together.sum(0)
        if noisy:
            noise = self._noises[int(which_noise * len(self._noises))].waveform
            mixed = mixed + noise_at(mixed, noise, snr_db, start=where)
        peak = max(float(np.abs(together).max()), float(np.abs(mixed).max()))
        scale = np.float32(PEAK / peak) if peak > 0 else np.float32(1)
        # The sum anew: that of the scaled sources, to the last bit, where there is no noise.
        together *= scale
        return Mixture(mixed * scale if noisy else together.sum(0), together, rate, mixture.plan)


class NoisyMixtures(AugmentedMixtures):
    """A set of mixtures with noise at one signal-to-noise ratio, its length and voices as they are; for tests.

    Args:
      mixtures: the set.
      noises: to draw from.
      snr_db: level of the voices above the noise.
      seed: of the draws.
    """

    def __init__(self, mixtures: Mixtures, noises: Sequence[Sound], *, snr_db: float, seed: int) -> None:
        augment = AugmentConfig(noise_share=1.0, snr_db=(snr_db, snr_db))
        super().__init__(mixtures, augment, seed=seed, noises=noises)


def augmented_source(
    manifest: Manifest,
    config: MixtureConfig,
    augment: AugmentConfig,
    *,
    seed: int,
    size: int = 20_000,
    noises: Sequence[Sound] = (),
    rooms: Sequence[Sound] = (),
    recordings: Recordings | None = None,
) -> AugmentedMixtures:
    """:class:`MixtureSource`, varied; crops are drawn so much longer that none lacks samples at the highest speed.

    Args:
      manifest: whom to draw from.
      config: how to mix.
      augment: how to vary.
      seed: of the mixtures and of what is done to them.
      size: number of mixtures.
      noises: as for :class:`AugmentedMixtures`.
      rooms: as for :class:`AugmentedMixtures`.
      recordings: where samples come from; sets over the same files may share one.

    Raises:
      CorpusError: there are too few speakers for ``config``.
      ArgumentError: noises or rooms are asked for and there are none.
    """
    samples = None
    if config.seconds is not None:
        samples = round(config.seconds * config.sample_rate)
        config = dataclasses.replace(config, seconds=config.seconds * max(1.0, augment.speed[1]))
    source = MixtureSource(manifest, config, seed=seed, size=size, recordings=recordings)
    return AugmentedMixtures(source, augment, seed=seed, noises=noises, rooms=rooms, samples=samples)


def _fitted(waveform: Float32[np.ndarray, " samples"], samples: int) -> Float32[np.ndarray, " fitted"]:
    cut = waveform[:samples]
    return np.pad(cut, (0, samples - len(cut)))
