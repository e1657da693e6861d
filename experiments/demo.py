"""The main job, small: train on synthetic voices, separate real ones with the packaged weights, write a report.

python -m experiments.demo
"""

import dataclasses
import sys
from pathlib import Path

import tyro

from experiments.deep_clustering import Config, preset
from jaxspk import reports
from jaxspk.errors import JaxspkError
from jaxspk.reports import Section, Text
from jaxspk.systems import Separator, evaluate_separator, run_separation, sample_mixtures


def main(config: Config) -> None:
    """Runs both parts, prints two tables and where the report lies."""
    outcome = run_separation(config, config.workdir, say=lambda line: print(line, file=sys.stderr, flush=True))
    separator = Separator.load()
    mixtures = sample_mixtures(separator.config.features.sample_rate)
    scores = tuple(evaluate_separator(separator, mixtures))
    real = Section(
        "Real voices, packaged weights",
        (
            Text(
                "Read English of LibriSpeech speakers that the packaged network has never heard, "
                "separated by `jaxspk.Separator.load()`. Four mixtures show what it sounds like, not how good it is: "
                "see docs/results for that."
            ),
            reports.scores_table(scores, folded=False),
            *(reports.example_sounds(separator, mixture) for mixture in mixtures),
        ),
    )
    page = reports.write_separation_report(outcome, more=(real,))
    print("\nsynthetic voices, trained just now; test speakers unseen in training")
    print(reports.separation_summary(outcome.scores))
    print("\nreal voices (LibriSpeech test speakers), packaged weights: SDR in dB")
    for score in scores:
        print(f"  {score.name}: {score.sdr_input:.2f} -> {score.sdr_output:.2f} ({score.improvement('sdr'):+.2f})")
    print(f"\nreport: {page}")


if __name__ == "__main__":
    quick = dataclasses.replace(preset("quick"), workdir=Path("demo"))
    quick = dataclasses.replace(quick, data=dataclasses.replace(quick.data, synthetic=True))
    try:
        main(tyro.cli(Config, default=quick))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
