r"""Mixtures of speakers: drawn at random from a manifest, or read from a list; then made the same way.

Source :math:`s_k` of recording :math:`r_k` with active level :math:`a_k` (ITU-T P.56, of the whole recording)
and gain :math:`g_k` in dB is :math:`s_k = \gamma\, 10^{g_k/20}\, r_k / a_k`; the mixture is their sum, and
:math:`\gamma` brings the largest sample of mixture and sources to 0.9. This is the recipe of the wsj0-mix
scripts.
"""

import abc
import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32

from jaxspk import _checks
from jaxspk.data._crops import CROP_TRIES, first_in_speech
from jaxspk.data._manifest import Manifest, Utterance
from jaxspk.data._recordings import Levels, Recording, Recordings
from jaxspk.errors import ArgumentError, AudioError, CorpusError

PEAK = 0.9

_DRAWS = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How mixtures are made."""

    speakers: int = 2
    """Voices per mixture, all different."""
    sample_rate: int = 8000
    """Hz; recordings are resampled to it."""
    level_range_db: tuple[float, float] = (0.0, 5.0)
    """Level of the loudest above the softest source, drawn uniformly; the others lie evenly between."""
    length: Literal["shortest", "longest"] = "shortest"
    """Cut all to the shortest source, or pad all with zeros to the longest."""
    seconds: float | None = None
    """Crop every source at random to this length before mixing, padding if shorter; None takes it whole."""
    genders: tuple[str, ...] = ()
    """Combinations of genders to draw, each equally often, for instance FM, or FF MM; empty draws anyone."""

    def __post_init__(self) -> None:
        _checks.check_range("speakers", self.speakers, low=1)
        _checks.check_range("sample_rate", self.sample_rate, low=1)
        low, high = self.level_range_db
        _checks.check_range("level_range_db[0]", low, low=0.0)
        _checks.check_range("level_range_db[1]", high, low=low, high=120.0)
        _checks.check_choice("length", self.length, ("shortest", "longest"))
        if self.seconds is not None:
            _checks.check_range("seconds", self.seconds, low=1 / self.sample_rate)
        for combination in self.genders:
            if not re.fullmatch(f"[FM]{{{self.speakers}}}", combination):
                raise ArgumentError(
                    f"`genders` must hold combinations of {self.speakers} letters F or M, one a speaker, "
                    f"got {combination!r}."
                )


@dataclasses.dataclass(frozen=True)
class MixturePlan:
    """What a mixture is made of, without its samples.

    Args:
      name: unique in its set; fit for a file name.
      utterances: one per source.
      gains_db: level of each source relative to its active level, or to what else the ``levels`` of its set say.
      starts: first sample taken of each recording, at the mixture's rate.
    """

    name: str
    utterances: tuple[Utterance, ...]
    gains_db: tuple[float, ...]
    starts: tuple[int, ...]

    @property
    def genders(self) -> str | None:
        """Sorted genders of the speakers, "FF", "FM" or "MM" for two; None where one is not known."""
        return gender_combination(self.utterances)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Voices at once, and each by itself.

    Args:
      mixture: the sum of the sources.
      sources: in no particular order; which is louder is random.
      sample_rate: in Hz.
      plan: what it is made of.
    """

    mixture: Float32[np.ndarray, " samples"]
    sources: Float32[np.ndarray, "speakers samples"]
    sample_rate: int
    plan: MixturePlan

    @property
    def name(self) -> str:
        """The name in its set."""
        return self.plan.name

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """The recordings it is made of, one per source."""
        return self.plan.utterances

    @property
    def genders(self) -> str | None:
        """Sorted genders of the speakers, "FF", "FM" or "MM" for two; None where one is not known."""
        return self.plan.genders

    @property
    def gains_db(self) -> tuple[float, ...]:
        """Level of each source relative to its active level, before the common scaling."""
        return self.plan.gains_db


class Mixtures(abc.ABC):
    """A numbered set of mixtures: ``mixtures[i]`` is always the same, in any order and from any thread.

    Args:
      config: rate and lengths.
      recordings: where samples come from; sets over the same files may share one.
    """

    levels: Levels = "active"
    """What the gains of its plans are relative to."""

    def __init__(self, config: MixtureConfig, recordings: Recordings | None) -> None:
        self.config = config
        self.recordings = recordings if recordings is not None else Recordings(config.sample_rate)
        if self.recordings.sample_rate != config.sample_rate:
            raise ArgumentError(
                f"`recordings` are at {self.recordings.sample_rate} Hz, the mixtures at "
                f"{config.sample_rate} Hz; give Recordings({config.sample_rate})."
            )

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of mixtures."""

    @abc.abstractmethod
    def plan(self, index: int) -> MixturePlan:
        """What mixture ``index`` is made of."""

    @property
    @abc.abstractmethod
    def held_out(self) -> tuple[str, ...]:
        """Speakers in it that are kept for testing."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Changes when a mixture changes; does not depend on the folder the files lie in."""

    def __getitem__(self, index: int) -> Mixture:
        """Makes mixture ``index``."""
        return mix(self.plan(index), self.config, self.recordings, levels=self.levels)

    def __iter__(self) -> Iterator[Mixture]:
        return (self[index] for index in range(len(self)))

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"mixture {index} of {len(self)}")
        return int(index)


class MixtureSource(Mixtures):
    """Mixtures of random utterances at random levels, each a pure function of (seed, index).

    Speakers are drawn uniformly, then an utterance of each. Recordings that cannot be decoded or hold no
    speech are passed over (see ``recordings.unusable``). With ``config.seconds``, crops that are mostly
    pause are avoided, and so are utterances shorter than a crop where their speaker has longer ones.

    Args:
      manifest: whom to draw from.
      config: how to mix.
      seed: non-negative; another seed gives other mixtures.
      size: number of mixtures.
      recordings: where samples come from; sets over the same files may share one.

    Raises:
      CorpusError: there are too few speakers for ``config``.

    Example:
      ``MixtureSource(parts["train"], MixtureConfig(seconds=0.824), seed=0)[17].sources``
    """

    def __init__(
        self,
        manifest: Manifest,
        config: MixtureConfig,
        *,
        seed: int,
        size: int = 20_000,
        recordings: Recordings | None = None,
    ) -> None:
        super().__init__(config, recordings)
        _checks.check_range("seed", seed, low=0)
        _checks.check_range("size", size, low=1)
        self.manifest = manifest
        self.seed = seed
        self._size = size
        self._utterances = _long_enough(manifest, config.seconds or 0.0)
        self._groups = _groups(manifest)
        _check_enough_speakers(self._groups, config)

    def __len__(self) -> int:
        return self._size

    @property
    def held_out(self) -> tuple[str, ...]:
        """Speakers in it that are kept for testing."""
        return self.manifest.where(split="test").speakers

    @property
    def fingerprint(self) -> str:
        """Changes when a mixture changes; does not depend on the folder the files lie in."""
        files = ((u.speaker, u.path.name, round(u.seconds, 3), u.gender) for u in self.manifest)
        return digest(self.config, self.seed, *files)

    def plan(self, index: int) -> MixturePlan:
        """What mixture ``index`` is made of."""
        index = self._checked(index)
        rng = np.random.default_rng((self.seed, index))
        for _ in range(_DRAWS):
            utterances = self._draw(rng)
            gains_db = _draw_gains(rng, self.config)
            try:
                recordings = [self.recordings.get(utterance.path) for utterance in utterances]
            except AudioError as error:
                reason = str(error)
                continue
            starts = tuple(_draw_start(rng, recording, self.config) for recording in recordings)
            speakers = "_".join(re.sub(r"[^\w.-]+", "-", utterance.speaker) for utterance in utterances)
            return MixturePlan(f"{index:05d}_{speakers}", utterances, gains_db, starts)
        raise CorpusError(f"no usable speech in {_DRAWS} draws of {self.config.speakers} utterances; {reason}")

    def _draw(self, rng: np.random.Generator) -> tuple[Utterance, ...]:
        """One utterance of each of several different speakers, in random order."""
        combinations = self.config.genders
        groups = Counter(combinations[rng.integers(len(combinations))] if combinations else "*" * self.config.speakers)
        speakers = [
            self._groups[gender][position]
            for gender, count in groups.items()
            for position in rng.choice(len(self._groups[gender]), count, replace=False)
        ]
        order = rng.permutation(len(speakers))
        choices = (self._utterances[speakers[position]] for position in order)
        return tuple(choice[rng.integers(len(choice))] for choice in choices)


class MixtureList(Mixtures):
    """Mixtures by their plans, as read from a list.

    Args:
      plans: one per mixture.
      config: rate and lengths.
      recordings: where samples come from; sets over the same files may share one.
      levels: what the gains are relative to: ``"active"`` levels, those ``"active_above_200_hz"``, or the recordings
        as ``"recorded"``.
    """

    def __init__(
        self,
        plans: Sequence[MixturePlan],
        config: MixtureConfig,
        recordings: Recordings | None = None,
        *,
        levels: Levels = "active",
    ) -> None:
        super().__init__(config, recordings)
        _checks.check_choice("levels", levels, get_args(Levels))
        self._plans = tuple(plans)
        self.levels = levels

    def __len__(self) -> int:
        return len(self._plans)

    def plan(self, index: int) -> MixturePlan:
        """What mixture ``index`` is made of."""
        return self._plans[self._checked(index)]

    @property
    def held_out(self) -> tuple[str, ...]:
        """Speakers in it that are kept for testing."""
        return tuple(sorted({u.speaker for plan in self._plans for u in plan.utterances if u.split == "test"}))

    @property
    def fingerprint(self) -> str:
        """Changes when a mixture changes; does not depend on the folder the files lie in."""
        files = ((p.name, p.gains_db, p.starts, *(u.path.name for u in p.utterances)) for p in self._plans)
        return digest(self.config, *files, *([] if self.levels == "active" else [self.levels]))


def mix(plan: MixturePlan, config: MixtureConfig, recordings: Recordings, *, levels: Levels = "active") -> Mixture:
    """Makes a mixture: levels, crops, cut or padded, peak at 0.9 (see the formula at the head of this file).

    Gains may be relative to other ``levels``; to those ``"recorded"``, they are factors and nothing else scales.

    Raises:
      AudioError: a recording cannot be decoded or holds no active speech.
    """
    parts = []
    for utterance, gain_db, start in zip(plan.utterances, plan.gains_db, plan.starts, strict=True):
        recording = recordings.get(utterance.path)
        scale = np.float32(10 ** (gain_db / 20) / recordings.level(utterance.path, levels))
        parts.append(scale * recording.waveform[start : start + (_crop_samples(config) or len(recording.waveform))])
    lengths = [len(part) for part in parts]
    samples = _crop_samples(config) or (min if config.length == "shortest" else max)(lengths)
    sources = np.zeros((len(parts), samples), np.float32)
    for source, part in zip(sources, parts, strict=True):
        source[: len(part)] = part[:samples]
    if levels != "recorded":
        peak = max(float(np.abs(sources).max()), float(np.abs(sources.sum(0)).max()))
        # A cut can leave nothing but digital silence; there is nothing to scale then.
        sources *= np.float32(PEAK / peak) if peak > 0 else np.float32(1)
    return Mixture(sources.sum(0), sources, config.sample_rate, plan)


def gender_combination(utterances: tuple[Utterance, ...]) -> str | None:
    """Sorted genders of the speakers, for instance "FM"; None where one is not known."""
    genders = [utterance.gender for utterance in utterances]
    return None if None in genders else "".join(sorted(str(gender) for gender in genders))


# --- Draws ------------------------------------------------------------------------------------------------


def _draw_gains(rng: np.random.Generator, config: MixtureConfig) -> tuple[float, ...]:
    """Evenly spaced from x to -x, 2x uniform in the range, dealt out at random: (x, -x), (x, 0, -x), ..."""
    half = rng.uniform(*config.level_range_db) / 2
    return tuple(rng.permutation(np.linspace(half, -half, config.speakers)).tolist())


def _draw_start(rng: np.random.Generator, recording: Recording, config: MixtureConfig) -> int:
    """Start of a random crop that is not mostly pause; of the loudest tried where all are."""
    samples = _crop_samples(config)
    if samples is None:
        return 0
    # All drawn at once, so that what is drawn next does not depend on the recording.
    fractions = rng.random(CROP_TRIES)
    room = len(recording.waveform) - samples
    if room <= 0:
        return 0
    candidates = (fractions * (room + 1)).astype(int)[:, None]
    return int(first_in_speech(recording.waveform, recording.level, candidates, samples)[0])


def _crop_samples(config: MixtureConfig) -> int | None:
    return None if config.seconds is None else round(config.seconds * config.sample_rate)


def _long_enough(manifest: Manifest, seconds: float) -> dict[str, tuple[Utterance, ...]]:
    """Each speaker's utterances of at least ``seconds``, or all of them where he has none so long."""
    return {
        speaker: tuple(utterance for utterance in utterances if utterance.seconds >= seconds) or utterances
        for speaker, utterances in manifest.by_speaker().items()
    }


def _groups(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Speakers by gender, and all of them under "*"."""
    of = {gender: tuple(s for s, known in manifest.genders.items() if known == gender) for gender in ("F", "M")}
    return {"*": manifest.speakers, **of}


def _check_enough_speakers(groups: Mapping[str, tuple[str, ...]], config: MixtureConfig) -> None:
    for combination in config.genders or ("*" * config.speakers,):
        for gender, count in Counter(combination).items():
            if len(groups[gender]) < count:
                kind = {"*": "", "F": "female ", "M": "male "}[gender]
                raise CorpusError(
                    f"mixtures need {count} different {kind}speakers, here are {len(groups[gender])}; "
                    f"add speakers{'' if gender == '*' else ', or tell their gender'}."
                )


def digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]
