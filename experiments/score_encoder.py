"""Scores a speaker encoder on all trials of the test speakers, beside baselines, and writes the result for the docs.

    python -m experiments.score_encoder --data.path SPEECH -o docs/results/speaker_verification

The packaged weights by default. Writes NAME.md, and beside it NAME.csv, a row a group of trials and system. Nothing is
chosen or fitted here: scores are calibrated by what lies beside the weights, which validation speakers decided.
"""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro
from flax import nnx

from jaxspk import data, metrics, reports
from jaxspk.errors import JaxspkError
from jaxspk.reports import Table
from jaxspk.systems import (
    POOLED,
    SpeakerEncoder,
    SpeakerModel,
    SpeechConfig,
    Verification,
    VerificationScores,
    calibrated_ratios,
    cepstral_baseline,
    evaluate_verification,
    load_speech,
    load_verification,
    packaged_model,
    without_back_end,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to score on what."""

    data: SpeechConfig = SpeechConfig()
    """Its test speakers are compared; none of them may have been trained on."""
    model: Path | None = None
    """A model directory; the packaged weights by default."""
    resamples: int = 1000
    """Of the bootstrap of speakers behind the intervals."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/speaker_verification")
    """Where to write, without the ending."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """A system and its scores of the test speakers."""

    name: str
    scores: VerificationScores
    rules: tuple[Verification, ...] = ()
    protocol: str = "whole"


def main(config: Config) -> None:
    """Scores encoder and baselines, and writes the page."""
    folder = packaged_model("metric_learning") if config.model is None else config.model
    speech = load_speech(config.data)
    systems = list(scored_systems(config, folder, speech.test))
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "Speaker verification",
        [error_table(systems), cost_table(systems)],
        reports.provenance(seed=config.seed),
        introduction=f"{len(speech.test)} recordings of {len(speech.test.speakers)} speakers of {speech.name}, "
        f"{'held out of every training' if speech.held_out_by_corpus else 'kept for testing'}: all against all, no two "
        "of one session of a speaker. What was trained, and on whom, says the model's `MODEL_CARD.md`.",
    )
    rows = [row for system in systems for row in csv_rows(system)]
    data.write_table(config.output.with_suffix(".csv"), list(rows[0]), rows)
    print(f"\nwritten: {page} and {config.output.with_suffix('.csv').name}")


def scored_systems(config: Config, folder: Path, speakers: data.Manifest) -> Iterator[Scored]:
    """The encoder by both protocols, its network alone, itself before any training, and no network at all."""
    encoder = SpeakerEncoder.load(folder)
    rules = tuple(load_verification(folder).values())
    for protocol, name in (("whole", "encoder, cosine"), ("ten_crops", "encoder, ten crops of 4 s")):
        print(f"scoring {name}", file=sys.stderr)
        scores = evaluate_verification(
            encoder, speakers, protocol=protocol, resamples=config.resamples, seed=config.seed
        )
        yield Scored(name, scores, rules, protocol)
    if encoder.config.back_end is not None:
        print("scoring the network alone", file=sys.stderr)
        alone = evaluate_verification(without_back_end(encoder), speakers, resamples=config.resamples, seed=config.seed)
        yield Scored("its network without the back end", alone)
    print("scoring baselines", file=sys.stderr)
    yield Scored("MFCC statistics", cepstral_baseline(speakers, resamples=config.resamples, seed=config.seed))
    untrained = SpeakerEncoder(encoder.config, SpeakerModel(encoder.config, rngs=nnx.Rngs(config.seed)))
    yield Scored(
        "the network untrained",
        evaluate_verification(untrained, speakers, resamples=config.resamples, seed=config.seed),
    )


def error_table(systems: list[Scored]) -> Table:
    """Equal error rates of every group."""
    groups = list(systems[0].scores.groups)
    rows = []
    for system in systems:
        cells: list[str | float] = [system.name]
        for name in groups:
            summary = system.scores.groups[name].summary
            interval = summary.eer_interval
            spread = "" if interval is None else f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
            cells.append(f"{100 * summary.eer:.2f}{spread}")
        rows.append([*cells, 100 * system.scores.identification])
    counts = "; ".join(
        f"{name}: {scored.summary.targets:,} of one speaker, {scored.summary.nontargets:,} of two"
        for name, scored in systems[0].scores.groups.items()
    )
    return Table(
        ["System", *(f"EER (%), {name}" for name in groups), "Named rightly (%)"],
        rows,
        "Equal error rate with the 95 % interval of a bootstrap of speakers, and the share of recordings nearest to "
        f"their own speaker's others. Trials: {counts}.",
    )


def cost_table(systems: list[Scored]) -> Table:
    """Detection costs, and how well scores are calibrated."""
    rows: list[list[str | float | None]] = []
    for system in systems:
        pooled = system.scores.groups[POOLED]
        ratios = calibrated_ratios(system.rules, system.scores, protocol=system.protocol)
        cost = None if ratios is None else metrics.cllr(ratios, pooled.group.labels)
        summary = pooled.summary
        rows.append([system.name, summary.min_dcf[0.01], summary.min_dcf[0.05], cost, summary.min_cllr])
    return Table(
        ["System", "minDCF 0.01", "minDCF 0.05", "Cllr, calibrated (bits)", "Least Cllr (bits)"],
        rows,
        "All trials together. Scores are calibrated by trials of validation speakers; the least Cllr is that of the "
        "best increasing map, chosen with the answers known.",
        formats=dict.fromkeys(("minDCF 0.01", "minDCF 0.05", "Cllr, calibrated (bits)", "Least Cllr (bits)"), ".3f"),
    )


def csv_rows(system: Scored) -> Iterator[dict[str, str | int | float]]:
    """One row a group of trials, fractions unrounded."""
    for name, scored in system.scores.groups.items():
        summary = scored.summary
        interval = summary.eer_interval
        yield {
            "system": system.name,
            "trials": name,
            "same": summary.targets,
            "different": summary.nontargets,
            "eer": summary.eer,
            "eer_low": "" if interval is None else interval.low,
            "eer_high": "" if interval is None else interval.high,
            **{f"min_dcf_{share:g}": cost for share, cost in summary.min_dcf.items()},
            "min_cllr": summary.min_cllr,
        }


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.score_encoder"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
