"""``jaxspk metrics``."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from jaxspk.errors import ArgumentError, CorpusError

if TYPE_CHECKING:
    from jaxspk.metrics import VerificationSummary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure scored trials: equal error rate with its interval, detection costs, costs of likelihood ratios.

    A file holds a trial a line, `A B SCORE LABEL`, as `jaxspk score` writes it: two names, a number that is higher for
    more similar voices, and 1 or target for one speaker, 0 or nontarget for two. The name of a speaker is not in it, so
    that the interval takes trials for independent; it is too narrow where few speakers make many trials.

    Example: jaxspk metrics scores.txt
    """

    scores: tyro.conf.Positional[tuple[Path, ...]]
    """Files of scored trials."""
    resamples: int = 1000
    """Of the bootstrap for the interval; 0 for none."""
    seed: int = 0
    """Of the bootstrap."""
    report: Path | None = None
    """Also write one HTML page here, with the DET curves, histograms of the scores and their calibration."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Measures every file."""
    if not options.scores:
        raise ArgumentError("name at least one file of scored trials: jaxspk metrics SCORES.")
    from jaxspk import data
    from jaxspk.metrics import summarize_verification

    measured = {}
    trials = {}
    for path in options.scores:
        scored = data.read_scores(path)
        if scored.trials.labels is None:
            raise CorpusError(f"{path}: has no labels, so that nothing can be measured; write `A B SCORE LABEL`.")
        try:
            measured[str(path)] = summarize_verification(
                scored.scores, scored.trials.labels, resamples=options.resamples, seed=options.seed
            )
        except ArgumentError as error:
            raise CorpusError(f"{path}: {error}") from None
        trials[str(path)] = (scored.scores, scored.trials.labels)
    if options.report is not None:
        from jaxspk.reports import verification_report, write_report

        write_report(options.report, verification_report(trials, measured))
    if options.json:
        print(json.dumps({name: summary.to_dict() for name, summary in measured.items()}, indent=2))
    else:
        print("\n\n".join(describe(name, summary) for name, summary in measured.items()))
    return 0


def describe(name: str, summary: "VerificationSummary") -> str:
    """The numbers of one file as lines."""
    return f"{name}: {summary.targets:,} trials of one speaker, {summary.nontargets:,} of two\n{numbers(summary)}"


def numbers(summary: "VerificationSummary") -> str:
    """The numbers as lines."""
    lines = [
        f"  equal error rate  {100 * summary.eer:.2f} %{_interval(summary)}, at score {summary.eer_threshold:.4f}",
    ]
    lines += [f"  minDCF at {p_target:<7g} {cost:.4f}" for p_target, cost in summary.min_dcf.items()]
    lines.append(
        f"  Cllr              {summary.cllr:.4f} bits as log-likelihood ratios; {summary.min_cllr:.4f} at best"
    )
    return "\n".join(lines)


def _interval(summary: "VerificationSummary") -> str:
    if summary.eer_interval is None:
        return ""
    return f" (95 % interval {100 * summary.eer_interval.low:.2f} to {100 * summary.eer_interval.high:.2f} %)"
