"""The real mixtures that come with the package: two voices each, with the voices by themselves."""

import csv
from importlib import resources
from pathlib import Path

import numpy as np

from jaxspk import audio
from jaxspk.data import Mixture, MixturePlan, Utterance

SAMPLES_TABLE = "samples.csv"


def samples_folder() -> Path:
    """Where the packaged recordings lie: ``mixtures/``, ``references/``, ``samples.csv`` and their attribution."""
    return Path(str(resources.files("jaxspk") / "samples"))


def sample_mixtures(sample_rate: int) -> list[Mixture]:
    """The packaged mixtures with their references, resampled.

    The speakers are among those held out of every training of the packaged weights.

    Args:
      sample_rate: in Hz.
    """
    with (samples_folder() / SAMPLES_TABLE).open(encoding="utf-8", newline="") as stream:
        return [_mixture(row, sample_rate) for row in csv.DictReader(stream)]


def _mixture(row: dict[str, str], sample_rate: int) -> Mixture:
    name = row["name"]
    files = [samples_folder() / "references" / f"{name}-{number}.flac" for number in (1, 2)]
    sources = np.stack([audio.read_audio(file, sample_rate=sample_rate)[0] for file in files])
    utterances = tuple(
        Utterance(
            path=file,
            speaker=row[f"speaker_{number}"],
            seconds=sources.shape[1] / sample_rate,
            gender="F" if row[f"gender_{number}"] == "F" else "M",
            split="test",
        )
        for number, file in enumerate(files, 1)
    )
    gains = tuple(float(row[f"gain_db_{number}"]) for number in (1, 2))
    return Mixture(sources.sum(0), sources, sample_rate, MixturePlan(name, utterances, gains, (0, 0)))
