"""Measures what separation can and cannot do: one change a row, from easy mixtures to what no setting saves.

    python -m experiments.separation_limits --data.path SPEECH -o docs/results/separation_limits

Mixtures of test speakers, with noise and rooms that no training hears. Writes NAME.md, and beside it one CSV row a
mixture. docs/how-to/what-separation-can-do.md shows the tables.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.progress import track

from jaxspk import data, metrics, reports
from jaxspk.data import Manifest, Mixture, MixtureConfig, MixtureSource, Recordings, Sound
from jaxspk.errors import JaxspkError
from jaxspk.systems import (
    SeparationScore,
    Separator,
    Speech,
    SpeechConfig,
    evaluate_separator,
    load_speech,
    sounds_folder,
)

Change = Callable[[Mixture, np.random.Generator], Mixture]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure with."""

    data: SpeechConfig = SpeechConfig()
    """Its test speakers are mixed; none of them may have been trained on."""
    sounds: Path | None = None
    """Folder that holds `noise` and `rir`, as docs/data.md describes it; the folder of the speech by default."""
    model: Path | None = None
    """A model directory; the packaged weights by default."""
    mixtures: int = 30
    """Mixtures of each row."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/separation_limits")
    """Where to write, without the ending."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """A row: how mixtures are drawn, and what is done to each."""

    group: str
    name: str
    drawn: Mapping[str, Any]
    change: Change | None = None


def main(config: Config) -> None:
    """Measures row by row and writes the page."""
    separator, speech = Separator.load(config.model), load_speech(config.data)
    rate = separator.config.features.sample_rate
    folder = sounds_folder(config.data, config.sounds)
    noises = data.read_noises(folder / "noise", "test", rate)
    rooms = data.read_rooms(folder / "rir", "test", rate)
    recordings = Recordings(rate)
    rows: list[list[reports.Cell]] = []
    records: list[dict[str, object]] = []
    for condition in conditions(noises, rooms, rate):
        mixtures = _mixtures(condition, speech.test, config, recordings)
        scored = evaluate_separator(separator, mixtures)
        title = f"{condition.group}: {condition.name}"
        scores = list(track(scored, title, total=config.mixtures, disable=not sys.stderr.isatty()))
        rows.append(_summary(condition, scores))
        records += [{"group": condition.group, "condition": condition.name, **score.row()} for score in scores]
        print(f"{title}: {rows[-1][4]:.2f} dB", flush=True)
    data.write_table(config.output.with_suffix(".csv"), list(records[0]), records)
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "What separation can and cannot do",
        [_table(rows, config, speech), _alone(separator, speech.test, config, recordings)],
        reports.provenance(seed=config.seed),
    )
    print(f"written: {page}")


def conditions(noises: Sequence[Sound], rooms: Sequence[Sound], rate: int) -> tuple[Condition, ...]:
    """All rows, in the order of the table."""
    pair = {"genders": ("FM",)}
    return (
        Condition("Voices", "a woman and a man", pair),
        Condition("Voices", "two women", {"genders": ("FF",)}),
        Condition("Voices", "two men", {"genders": ("MM",)}),
        Condition("Voices", "three voices", {"speakers": 3}),
        Condition("Level", "equally loud", {**pair, "level_range_db": (0.0, 0.0)}),
        Condition("Level", "one 10 dB softer", {**pair, "level_range_db": (10.0, 10.0)}),
        Condition("Length", "4 s", {**pair, "seconds": 4.0}),
        Condition("Length", "2 s", {**pair, "seconds": 2.0}),
        Condition("Length", "1 s", {**pair, "seconds": 1.0}),
        *(Condition("Noise", f"{snr:g} dB below the voices", pair, _noisy(noises, snr)) for snr in (20.0, 10.0, 0.0)),
        *(
            Condition("Music (made by a program)", f"{snr:g} dB below the voices", pair, _with_music(snr, rate))
            for snr in (10.0, 0.0)
        ),
        *(Condition("Room", _ROOMS.get(room.name, room.name), pair, _in_room(room)) for room in rooms),
        Condition("Overload", "clipped 6 dB below the peak", pair, _clipped(6.0)),
        Condition("Overload", "clipped 18 dB below the peak", pair, _clipped(18.0)),
    )


_SECONDS = 8.0
"""Length of the mixtures where nothing else is said."""
_ROOMS = {"Basement": "a basement, echo of 0.5 s", "SpokaneWomansClub": "a hall, echo of 2 s"}


def _mixtures(condition: Condition, speakers: Manifest, config: Config, recordings: Recordings) -> Iterator[Mixture]:
    mixing = MixtureConfig(sample_rate=recordings.sample_rate, **{"seconds": _SECONDS, **condition.drawn})
    source = MixtureSource(speakers, mixing, seed=config.seed, size=config.mixtures, recordings=recordings)
    for index, mixture in enumerate(source):
        rng = np.random.default_rng((config.seed, index))
        yield condition.change(mixture, rng) if condition.change else mixture


def _noisy(noises: Sequence[Sound], snr_db: float) -> Change:
    def change(mixture: Mixture, rng: np.random.Generator) -> Mixture:
        noise = noises[int(rng.integers(len(noises)))].waveform
        return _added(mixture, noise, snr_db, rng.random())

    return change


def _with_music(snr_db: float, rate: int) -> Change:
    def change(mixture: Mixture, rng: np.random.Generator) -> Mixture:
        return _added(mixture, chords(mixture.mixture.size, rate, rng), snr_db, 0.0)

    return change


def _added(mixture: Mixture, sound: np.ndarray, snr_db: float, start: float) -> Mixture:
    """Something that is no voice, added; the voices are as they were."""
    noise = data.noise_at(mixture.mixture, sound, snr_db, start=start)
    return dataclasses.replace(mixture, mixture=mixture.mixture + noise)


def chords(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Triads of plucked strings, two a second, from a random key: harmonic, rhythmic, and free of anybody's rights."""
    time = np.arange(samples) / rate
    tune = np.zeros(samples)
    root = rng.uniform(110, 220)
    for number in range(int(2 * time[-1]) + 1):
        since = time - number / 2
        envelope = np.where(since >= 0, np.exp(-3 * np.maximum(since, 0)), 0)
        step = 2 ** (rng.choice([0, 5, 7, 9]) / 12)
        for interval in (1, 5 / 4, 3 / 2):
            pitch = root * step * interval
            for harmonic in range(1, int(0.45 * rate / pitch) + 1):
                tune += envelope * np.sin(2 * np.pi * harmonic * pitch * since) / harmonic**1.5
    return tune.astype(np.float32)


def _in_room(room: Sound) -> Change:
    """Both voices far from the microphone; what is to be found are the voices as they arrive there."""

    def change(mixture: Mixture, rng: np.random.Generator) -> Mixture:
        sources = np.stack([data.reverberate(source, room.waveform) for source in mixture.sources])
        return dataclasses.replace(mixture, mixture=sources.sum(0), sources=sources)

    return change


def _clipped(below_db: float) -> Change:
    def change(mixture: Mixture, rng: np.random.Generator) -> Mixture:
        ceiling = np.abs(mixture.mixture).max() * np.float32(10 ** (-below_db / 20))
        return dataclasses.replace(mixture, mixture=np.clip(mixture.mixture, -ceiling, ceiling))

    return change


def _summary(condition: Condition, scores: Sequence[SeparationScore]) -> list[reports.Cell]:
    sdr, si_sdr = ([score.improvement(measure) for score in scores] for measure in ("sdr", "si_sdr"))
    error = float(np.std(sdr, ddof=1) / np.sqrt(len(sdr))) if len(sdr) > 1 else None
    return [
        f"{condition.group}: {condition.name}",
        len(scores),
        float(np.mean([score.sdr_input for score in scores])),
        float(np.mean([score.sdr_output for score in scores])),
        float(np.mean(sdr)),
        error,
        float(np.mean(si_sdr)),
        float(np.mean([score.improvement("sdr", of="ideal") for score in scores])),
    ]


def _table(rows: Sequence[Sequence[reports.Cell]], config: Config, speech: Speech) -> reports.Table:
    return reports.Table(
        [
            "What is mixed",
            "Mixtures",
            "Before: SDR (dB)",
            "After: SDR (dB)",
            "Improvement (dB)",
            "standard error (dB)",
            "SI-SDR improvement (dB)",
            "Ideal binary mask (dB)",
        ],
        rows,
        f"{len(speech.test.speakers)} test speakers, {config.mixtures} mixtures a row, of {_SECONDS:g} s and with 0 to "
        "5 dB between the voices where nothing else is said; below the first rows always a woman and a man, so that a "
        f"row shows one change. Noise is of kinds that no training hears ({', '.join(data.TEST_NOISES)}). In noise and "
        "overload the references are the undisturbed voices, in rooms the voices with their echo. Improvements are "
        "over the mixture as it is heard.",
    )


def _alone(separator: Separator, speakers: Manifest, config: Config, recordings: Recordings) -> reports.Table:
    """What becomes of a single voice when two are asked for."""
    shares, kept, counts = [], [], []
    mixing = MixtureConfig(speakers=1, sample_rate=recordings.sample_rate)
    source = MixtureSource(speakers, mixing, seed=config.seed, size=config.mixtures, recordings=recordings)
    for mixture in source:
        voices = separator.separate(mixture.mixture, recordings.sample_rate, 2, seed=config.seed)
        energies = np.square(voices, dtype=np.float64).sum(1)
        shares.append(float(energies[1] / energies.sum()))
        kept.append(float(metrics.si_sdr(mixture.sources[:1].astype(np.float64), voices[:1].astype(np.float64))[0]))
        counts.append(separator.count_speakers(mixture.mixture, recordings.sample_rate, seed=config.seed).clusters)
    rows: list[list[reports.Cell]] = [
        ["energy that goes to the second file (%)", 100 * float(np.mean(shares)), 100 * float(np.max(shares))],
        ["SI-SDR of the first file against the recording (dB)", float(np.mean(kept)), float(np.min(kept))],
        ["--speakers auto finds one voice (%)", 100 * float(np.mean(np.array(counts) == 1)), None],
    ]
    return reports.Table(
        ["One voice alone, separated into two", "Mean", "Worst"],
        rows,
        f"{config.mixtures} recordings of one test speaker each. Separation with a number of voices that is not there "
        "tears a voice apart.",
        formats={"Mean": ".1f", "Worst": ".1f"},
    )


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.separation_limits"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
