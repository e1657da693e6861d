"""A made-up corpus with sexes, large enough for every grid."""

import numpy as np
import pytest

from jaxspk import audio
from jaxspk.systems import SpeechConfig


def voice(pitch, seed, seconds=1.3):
    """Harmonics under a syllable rhythm."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(8000 * seconds)) / 8000
    phase = 2 * np.pi * pitch * (time + 0.01 * np.sin(2 * np.pi * 3 * time + seed))
    envelope = np.clip(np.sin(2 * np.pi * (1.5 + rng.random()) * time + seed) + 0.6, 0, 1)
    tone = sum(np.sin(k * phase) / k for k in range(1, 8))
    return (0.1 * envelope * tone + 1e-4 * rng.standard_normal(time.size)).astype(np.float32)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory):
    """Sixteen speakers of four recordings each, half of them women."""
    folder = tmp_path_factory.mktemp("spoken")
    rows = ["speaker,gender"]
    for number in range(16):
        gender = "FM"[number % 2]
        name = f"speaker{number:02d}"
        rows.append(f"{name},{gender}")
        (folder / name).mkdir()
        for take in range(4):
            waveform = voice((190 if gender == "F" else 100) + 6 * number, 10 * number + take)
            audio.write_audio(folder / name / f"take{take}.wav", waveform, 8000)
    (folder / "speakers.csv").write_text("\n".join(rows) + "\n")
    return SpeechConfig(path=folder, validation=0.25, test=0.25)


@pytest.fixture(scope="session")
def noises(tmp_path_factory):
    """A folder of sounds with one noise for tests and one for training."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "noise").mkdir()
    rng = np.random.default_rng(0)
    for name in ("rain", "wind"):
        audio.write_audio(folder / "noise" / f"{name}.wav", 0.1 * rng.normal(size=4000).astype(np.float32), 8000)
    (folder / "noise" / "noise.csv").write_text("path,kind,licence\nnoise/rain.wav,rain,CC0\nnoise/wind.wav,wind,CC0\n")
    return folder
