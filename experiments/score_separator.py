"""Scores a separator on mixtures of test speakers, corpus by corpus, and writes the result for the docs.

    python -m experiments.score_separator --data.path SPEECH -o docs/results/separation
    python -m experiments.score_separator --data.path SPEECH --corpora LibriSpeech speechocean762 --snr 20 10
    python -m experiments.score_separator --data.path WSJ0 --lists mix_2_spk_tt.txt

The packaged weights by default. Writes NAME.md, and beside it one CSV row a mixture and the list of mixtures of
each corpus, from which anyone with the speech can make the very same ones. With `--snr` every corpus is also scored
with noise of kinds that no training hears, the same mixtures and the same stretches of noise at each level.
"""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import track

from jaxspk import data, reports
from jaxspk.data import Mixture, MixtureConfig, Mixtures, NoisyMixtures, Recordings
from jaxspk.errors import JaxspkError
from jaxspk.reports import Table
from jaxspk.systems import (
    SeparationScore,
    Separator,
    SpeechConfig,
    evaluate_separator,
    load_speech,
    sounds_folder,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to score on what."""

    data: SpeechConfig = SpeechConfig()
    """Its test speakers are mixed; none of them may have been trained on."""
    corpora: tuple[str, ...] = ()
    """Corpora to score one by one; none takes all test speakers together."""
    lists: tuple[Path, ...] = ()
    """Score these lists instead: our own, of wsj0-2mix, wsj0-3mix or LibriMix; their paths are below `--data.path`."""
    model: Path | None = None
    """A model directory; the packaged weights by default."""
    mixtures: int = 200
    """Mixtures of each corpus."""
    speakers: int = 2
    """Voices of a mixture."""
    snr: tuple[float, ...] = ()
    """Score with added noise too, at these levels of the voices above it, in dB."""
    sounds: Path | None = None
    """Folder that holds `noise`, as docs/data.md describes it; the folder of the speech by default."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/separation")
    """Where to write, without the ending."""


@dataclasses.dataclass(frozen=True)
class ScoredSet:
    """Mixtures to score."""

    name: str
    mixtures: Mixtures
    caption: str


@dataclasses.dataclass(frozen=True)
class Condition:
    """A set of mixtures, with or without noise, and its scores."""

    corpus: str
    snr_db: float | None
    scores: tuple[SeparationScore, ...]


def main(config: Config) -> None:
    """Scores every corpus and writes the page."""
    separator = Separator.load(config.model)
    tables: list[Table] = []
    files: list[str] = []
    conditions: list[Condition] = []
    for scored in scored_sets(config, separator.config.features.sample_rate):
        stem = f"{config.output.name}_{scored.name.replace(' ', '_').lower()}"
        for condition in score_conditions(config, separator, scored):
            conditions.append(condition)
            name = stem if condition.snr_db is None else f"{stem}_noise_{condition.snr_db:g}db"
            rows = [score.row() for score in condition.scores]
            data.write_table(config.output.with_name(f"{name}.csv"), list(rows[0]), rows)
            files.append(f"{name}.csv")
            title = scored.name if condition.snr_db is None else f"{scored.name}, noise at {condition.snr_db:g} dB"
            print(f"\n{title}\n{reports.separation_summary(condition.scores)}")
            if condition.snr_db is None:
                tables.append(reports.summary_table(condition.scores, caption=scored.caption))
        data.write_mixture_list(config.output.with_name(f"{stem}_mixtures.csv"), scored.mixtures, root=config.data.path)
        files.append(f"{stem}_mixtures.csv")
    if config.snr:
        tables.append(noise_table(conditions))
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "Separation of two voices" if config.speakers == 2 else f"Separation of {config.speakers} voices",
        tables,
        reports.provenance(seed=config.seed),
    )
    print(f"\nwritten: {page} and {', '.join(files)}")


def scored_sets(config: Config, sample_rate: int) -> Iterator[ScoredSet]:
    """The lists that are named, else mixtures of the test speakers of each corpus."""
    for path in config.lists:
        listed = data.read_mixture_list(path, root=config.data.path, recordings=Recordings(sample_rate))
        about = f"{path.name}: {len(listed)} mixtures of {listed.config.speakers} voices. Means over mixtures."
        yield ScoredSet(path.stem, listed, about)
    for corpus in () if config.lists else config.corpora or (None,):
        speech = load_speech(dataclasses.replace(config.data, corpus=corpus))
        mixing = MixtureConfig(speakers=config.speakers, sample_rate=sample_rate)
        mixtures = data.MixtureSource(speech.test, mixing, seed=config.seed, size=config.mixtures)
        kept = "held out of every training" if speech.held_out_by_corpus else "kept for testing"
        about = (
            f"{speech.name}: {config.mixtures} mixtures of {config.speakers} voices, {len(speech.test.speakers)} "
            f"speakers {kept}. Means over mixtures."
        )
        yield ScoredSet(speech.name, mixtures, about)


def score_conditions(config: Config, separator: Separator, scored: ScoredSet) -> Iterator[Condition]:
    """The mixtures as they are, then with noise."""
    mixtures = scored.mixtures
    folder = sounds_folder(config.data, config.sounds) / "noise" if config.snr else Path()
    noises = data.read_noises(folder, "test", mixtures.config.sample_rate) if config.snr else ()
    for snr_db in (None, *config.snr):
        heard: Iterable[Mixture] = (
            mixtures if snr_db is None else NoisyMixtures(mixtures, noises, snr_db=snr_db, seed=config.seed)
        )
        what = f"scoring {scored.name}" + ("" if snr_db is None else f" at {snr_db:g} dB")
        scores = evaluate_separator(separator, heard)
        yield Condition(scored.name, snr_db, tuple(track(scores, what, total=len(mixtures))))


def noise_table(conditions: Iterable[Condition]) -> Table:
    """One row a corpus and level of noise."""
    rows = [
        reports.improvement_row(
            [condition.corpus, "none" if condition.snr_db is None else f"{condition.snr_db:g} dB"], condition.scores
        )
        for condition in conditions
    ]
    kinds = ", ".join(data.TEST_NOISES)
    return Table(
        ("Corpus", "Noise", *reports.IMPROVEMENT_COLUMNS),
        rows,
        f"The same mixtures with noise ({kinds}), so much softer than the voices together. No training heard these "
        "kinds. References are the voices without noise; improvements are over the noisy mixture.",
    )


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.score_separator"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
