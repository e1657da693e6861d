"""Synthetic speakers: espeak-ng's voice variants, varied in pitch, vocal tract, accent and pace."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxspk.data._manifest import Gender
from jaxspk.errors import CorpusError

UNSUITABLE = re.compile(r"whisper|caleb|croak|demonic|robo|zac|grandpa|^klatt2?$|^fast$", re.IGNORECASE)
"""Variants that whisper, croak or breathe more than they voice; robots; a child; the plain voice, faster."""

ACCENTS = (
    "en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc", "en-029",
)  # fmt: skip

SPLIT_SHARES: Mapping[str, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}

_PLAIN_PITCH = (82.0, 118.0)
"""espeak-ng's own pitch range in Hz, where a variant names none."""
_FEMALE_FROM = 150.0
"""Mean pitch in Hz from which a variant of unstated gender counts as female."""
_PITCH_BOUNDS: Mapping[Gender, tuple[float, float]] = {"F": (165.0, 270.0), "M": (75.0, 140.0)}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of espeak-ng's voice variants.

    Args:
      name: its file's name.
      gender: as its file says, else by its pitch.
      pitch: low and high end in Hz.
      lines: its file, less what a speaker sets anew.
      formants: the numbers of each formant line, frequency (percent) first.
    """

    name: str
    gender: Gender
    pitch: tuple[float, float]
    lines: tuple[str, ...]
    formants: Mapping[int, tuple[float, ...]]

    @property
    def family(self) -> str:
        """Variants of one family (steph, steph2, steph3) sound alike and stay in one split."""
        return self.name.rstrip("0123456789").casefold()


@dataclasses.dataclass(frozen=True)
class Voice:
    """A synthetic speaker.

    Args:
      name: of the speaker, fit for a file name.
      gender: of the variant.
      split: "train", "validation" or "test"; no family of variants is in two of them.
      accent: language code of espeak-ng.
      definition: the text of a variant file of his own.
      rate: words a minute.
      range: how lively the intonation is, 0 to 100, 50 being espeak-ng's own.
    """

    name: str
    gender: Gender
    split: str
    accent: str
    definition: str
    rate: float
    range: int


def read_variants(folder: Path) -> list[Variant]:
    """The usable variants in a folder of variant files, by name."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not UNSUITABLE.search(file.name))
    if not files:
        raise CorpusError(f"{folder}: no voice variants of espeak-ng; reinstall espeakng-loader.")
    return [_parse(file.name, file.read_text(encoding="utf-8", errors="replace")) for file in files]


def choose_voices(variants: Sequence[Variant], speakers: int, *, seed: int) -> list[Voice]:
    """``speakers`` voices, half of them female, each split with both genders.

    The families of variants are dealt out to the splits at random; within a split each variant is used in
    turn.
    """
    voices = []
    for gender, count in (("F", speakers - speakers // 2), ("M", speakers // 2)):
        rng = np.random.default_rng((seed, ord(gender)))
        pools = _deal([variant for variant in variants if variant.gender == gender], rng)
        test, validation = (max(1, round(SPLIT_SHARES[part] * count)) for part in ("test", "validation"))
        sizes = {"train": count - test - validation, "validation": validation, "test": test}
        for split, size in sizes.items():
            pool = pools[split]
            for number in range(size):
                voices.append(_voice(pool[number % len(pool)], number // len(pool), split, rng))
    return voices


def _deal(variants: list[Variant], rng: np.random.Generator) -> dict[str, list[Variant]]:
    """Whole families of variants to the splits, the largest first, each to the split that lacks most."""
    families: dict[str, list[Variant]] = {}
    for variant in variants:
        families.setdefault(variant.family, []).append(variant)
    pools: dict[str, list[Variant]] = {split: [] for split in SPLIT_SHARES}
    names = sorted(families)
    for name in sorted((names[i] for i in rng.permutation(len(names))), key=lambda name: -len(families[name])):
        split = max(pools, key=lambda split: SPLIT_SHARES[split] * len(variants) - len(pools[split]))
        pools[split] += families[name]
    return {split: [pool[i] for i in rng.permutation(len(pool))] for split, pool in pools.items()}


def _voice(variant: Variant, number: int, split: str, rng: np.random.Generator) -> Voice:
    name = f"{re.sub(r'[^A-Za-z0-9]+', '-', variant.name)}-{number + 1}"
    low, high = _PITCH_BOUNDS[variant.gender]
    mean = sum(variant.pitch) / 2
    target = float(np.clip(mean * np.exp(rng.uniform(-0.15, 0.15)), low, high))
    # Vocal tracts differ in length, which moves all formants alike, and a little in shape.
    length = np.exp(rng.uniform(-0.06, 0.06))
    shape = np.exp(rng.uniform(-0.04, 0.04, size=9))
    formants = []
    for index in range(1, 9):
        frequency, *rest = variant.formants.get(index, (100.0, 100.0, 100.0))
        numbers = " ".join(f"{value:.0f}" for value in (frequency * length * shape[index], *rest))
        formants.append(f"formant {index} {numbers}")
    scale = target / mean
    definition = [
        "language variant",
        f"name {name}",
        f"gender {'female' if variant.gender == 'F' else 'male'}",
        f"pitch {variant.pitch[0] * scale:.0f} {variant.pitch[1] * scale:.0f}",
        *formants,
        *variant.lines,
    ]
    return Voice(
        name=name,
        gender=variant.gender,
        split=split,
        accent=ACCENTS[rng.integers(len(ACCENTS))],
        definition="\n".join(definition) + "\n",
        rate=float(rng.uniform(135, 185)),
        range=int(rng.integers(35, 76)),
    )


def _parse(name: str, text: str) -> Variant:
    stated: Gender | None = None
    pitch = _PLAIN_PITCH
    lines = []
    formants = {}
    for line in text.splitlines():
        key, *values = line.split("//")[0].split() or [""]
        if key == "gender" and values:
            stated = "F" if values[0].lower() == "female" else "M"
        elif key == "pitch" and len(values) >= 2:
            pitch = (float(values[0]), float(values[1]))
        elif key == "formant" and len(values) >= 2 and int(values[0]) >= 1:
            formants[int(values[0])] = tuple(float(value) for value in values[1:])
        elif key and key not in ("language", "name", "gender", "pitch", "maintainer", "status"):
            lines.append(" ".join((key, *values)))
    gender: Gender = stated or ("F" if sum(pitch) / 2 >= _FEMALE_FROM else "M")
    return Variant(name, gender, pitch, tuple(lines), formants)
