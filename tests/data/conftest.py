"""Small made-up corpora: noise that comes and goes like syllables, another pitch for every speaker."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from jaxspk.audio import write_audio
from jaxspk.data import Manifest, Utterance

RATE = 8000


def voice(name: str, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Something like speech: harmonics under a syllable rhythm, the same for the same name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    time = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(80, 300)
    tone = sum(np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) / k for k in range(1, 6))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * time + rng.uniform(0, 6)), 0, None)
    return (0.1 * tone * syllables + 1e-4 * rng.normal(size=time.size)).astype(np.float32)


@pytest.fixture(scope="session")
def write_voice() -> Callable[..., Path]:
    """Writes a made-up recording and returns its path."""

    def write(path: Path, seconds: float = 2.0, rate: int = RATE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, voice(path.stem, seconds, rate), rate, subtype="PCM_16")
        return path

    return write


@pytest.fixture
def make_manifest(tmp_path, write_voice) -> Callable[..., Manifest]:
    """Writes recordings of some speakers (name to gender) and returns their manifest."""

    def make(
        speakers: Mapping[str, str | None], seconds: Sequence[float] = (2.0, 2.5), split: str | None = None
    ) -> Manifest:
        return Manifest(
            tuple(
                Utterance(
                    write_voice(tmp_path / name / f"{name}{number}.wav", length), name, length, gender, split=split
                )
                for name, gender in speakers.items()
                for number, length in enumerate(seconds)
            )
        )

    return make


@pytest.fixture
def people(make_manifest) -> Manifest:
    """Three women, three men and one of unknown gender, two recordings each."""
    return make_manifest({"ann": "F", "bea": "F", "cleo": "F", "dan": "M", "ed": "M", "fred": "M", "gil": None})
