"""Scores a separator on mixtures of test speakers, corpus by corpus, and writes the result for the docs.

    python -m experiments.score_separator --data.path SPEECH -o docs/results/separation

The packaged weights by default. Writes NAME.md, and beside it one CSV row a mixture and the list of mixtures of
each corpus, from which anyone with the speech can make the very same ones.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import track

from jaxspk import data, reports
from jaxspk.data import MixtureConfig
from jaxspk.errors import JaxspkError
from jaxspk.systems import SeparationScore, Separator, SpeechConfig, evaluate_separator, load_speech


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to score on what."""

    data: SpeechConfig = SpeechConfig()
    """Its test speakers are mixed; none of them may have been trained on."""
    corpora: tuple[str, ...] = ()
    """Corpora to score one by one; none takes all test speakers together."""
    model: Path | None = None
    """A model directory; the packaged weights by default."""
    mixtures: int = 200
    """Mixtures of each corpus."""
    speakers: int = 2
    """Voices of a mixture."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/separation")
    """Where to write, without the ending."""


def main(config: Config) -> None:
    """Scores every corpus and writes the page."""
    separator = Separator.load(config.model)
    tables, files = [], []
    for corpus in config.corpora or (None,):
        speech = load_speech(dataclasses.replace(config.data, corpus=corpus))
        mixing = MixtureConfig(speakers=config.speakers, sample_rate=separator.config.features.sample_rate)
        mixtures = data.MixtureSource(speech.test, mixing, seed=config.seed, size=config.mixtures)
        scored = evaluate_separator(separator, mixtures)
        scores: list[SeparationScore] = list(track(scored, f"scoring {speech.name}", total=len(mixtures)))
        kept = "held out of every training" if speech.held_out_by_corpus else "kept for testing"
        caption = (
            f"{speech.name}: {len(scores)} mixtures of {config.speakers} voices, {len(speech.test.speakers)} speakers"
            f" {kept}. Means over mixtures."
        )
        tables.append(reports.summary_table(scores, caption=caption))
        print(f"\n{speech.name}\n{reports.separation_summary(scores)}")
        stem = f"{config.output.name}_{speech.name.replace(' ', '_').lower()}"
        rows = [score.row() for score in scores]
        data.write_table(config.output.with_name(f"{stem}.csv"), list(rows[0]), rows)
        data.write_mixture_list(config.output.with_name(f"{stem}_mixtures.csv"), mixtures, root=config.data.path)
        files += [f"{stem}.csv", f"{stem}_mixtures.csv"]
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "Separation of two voices" if config.speakers == 2 else f"Separation of {config.speakers} voices",
        tables,
        reports.provenance(seed=config.seed),
    )
    print(f"\nwritten: {page} and {', '.join(files)}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.score_separator"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
