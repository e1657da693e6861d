"""Measures how well the number of voices is counted, and fits the rule that counts them.

    python -m experiments.count_speakers --data.path SPEECH --fit     # fits the packaged model's rule first
    python -m experiments.count_speakers --data.path SPEECH -o docs/results/speaker_counting

Fitting draws mixtures of all speakers that are not kept for testing, measuring of those that are; with `--corpora` each
corpus by itself, as many mixtures of each. The network was trained on most of the former and tells them apart a little
better than strangers: how much surer than right that makes the rule is the last table of the page. Writes NAME.md, and
beside it one CSV row a mixture.
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.progress import track

from jaxspk import clustering, data, reports
from jaxspk.clustering import ClusterCount, CountingRule
from jaxspk.data import Manifest, MixtureConfig
from jaxspk.errors import ArgumentError, JaxspkError
from jaxspk.systems import (
    Separator,
    SpeechConfig,
    load_speech,
    packaged_model,
    possible_counts,
    save_counting_rule,
)

KINDS: dict[str, dict[str, Any]] = {
    "4 s": {"seconds": 4.0},
    "10 s": {"seconds": 10.0},
    "whole utterances": {"length": "longest"},
}
"""How mixtures are cut: the same for every number of voices, so that their length betrays nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to count in."""

    data: SpeechConfig = SpeechConfig()
    """Test speakers are measured on, all others are fitted to."""
    corpora: tuple[str, ...] = ()
    """Corpora to draw from one by one; none draws from all speakers together."""
    model: Path | None = None
    """A model directory; the packaged weights by default."""
    fit: bool = False
    """Fit the rule first, and keep it in the model directory."""
    counts: tuple[int, ...] = (1, 2, 3, 4)
    """Numbers of voices to tell apart."""
    fit_mixtures: int = 30
    """Mixtures of each number, kind and corpus to fit to."""
    penalty: float = 1.0
    """Of squared weights of the rule."""
    mixtures: int = 20
    """Mixtures of each number, kind and corpus to measure on."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/speaker_counting")
    """Where to write, without the ending."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A mixture, its number of voices and its statistics."""

    corpus: str
    kind: str
    name: str
    genders: str
    speakers: int
    statistics: np.ndarray


def main(config: Config) -> None:
    """Fits where asked to, measures, writes the page."""
    if not set(config.counts) <= set(range(1, clustering.MOST_CLUSTERS)):
        raise ArgumentError(f"--counts must lie in 1..{clustering.MOST_CLUSTERS - 1}, got {config.counts}.")
    folder = config.model or packaged_model("deep_clustering")
    separator, speech = Separator.load(folder), load_speech(config.data)
    if config.fit:
        others = Manifest((*speech.train, *speech.validation))
        cases = list(_cases(separator, others, config, config.fit_mixtures, config.seed + 1, "fitting"))
        rule = clustering.fit_counting_rule(
            np.array([case.statistics for case in cases]),
            np.array([case.speakers for case in cases]),
            penalty=config.penalty,
        )
        print(f"fitted to {len(cases)} mixtures: {save_counting_rule(folder, rule)}")
        separator = dataclasses.replace(separator, counting=rule)
    cases = list(_cases(separator, speech.test, config, config.mixtures, config.seed, "counting"))
    told = _Told(separator.counting, tuple(cases))
    auto = tuple(count for count in possible_counts("auto", separator.counting) if count in config.counts)
    tables = [
        _confusion(told, auto, _caption(separator, speech.test, told.within(auto))),
        *([_confusion(told, config.counts, "The same for all numbers.")] if auto != config.counts else []),
        _by_range(told, auto, config.counts),
        _by_kind(told, auto),
        *([_reliability(told, auto)] if separator.counting else []),
    ]
    rows = [_row(case, separator.counting, config.counts) for case in cases]
    data.write_table(config.output.with_suffix(".csv"), list(rows[0]), rows)
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "Counting voices",
        tables,
        reports.provenance(seed=config.seed),
        introduction="Of `jaxspk separate --speakers auto`. Nobody in these mixtures was heard in training, nor when "
        "the rule was fitted (the same command with `--fit` fits it, to all other speakers).",
    )
    print(f"right in {told.accuracy(told.within(auto), auto):.1f} % of the mixtures of {auto} voices; written: {page}")


@dataclasses.dataclass(frozen=True)
class _Told:
    """What a rule says about cases, whatever numbers it may choose from."""

    rule: CountingRule | None
    cases: tuple[Case, ...]

    def within(self, counts: Sequence[int]) -> list[Case]:
        """The cases whose number is among some."""
        return [case for case in self.cases if case.speakers in counts]

    def count(self, case: Case, counts: Sequence[int]) -> ClusterCount:
        """What is said, of some possible numbers."""
        return clustering.count_clusters(case.statistics, counts, self.rule)

    def accuracy(self, cases: Sequence[Case], counts: Sequence[int]) -> float:
        """How often it is right, in %."""
        return 100 * float(np.mean([case.speakers == self.count(case, counts).clusters for case in cases]))

    def unfitted(self) -> "_Told":
        """The same without a rule."""
        return dataclasses.replace(self, rule=None)


def _cases(
    separator: Separator, speakers: Manifest, config: Config, size: int, seed: int, title: str
) -> Iterator[Case]:
    rate = separator.config.features.sample_rate
    recordings = data.Recordings(rate)
    corpora = {name: speakers.where(corpus=name) for name in config.corpora} or {"all": speakers}
    sources = [
        (corpus, kind, count, data.MixtureSource(among, mixing, seed=seed, size=size, recordings=recordings))
        for corpus, among in corpora.items()
        for kind, drawn in KINDS.items()
        for count in config.counts
        for mixing in [MixtureConfig(speakers=count, sample_rate=rate, **drawn)]
    ]
    for corpus, kind, count, source in track(sources, title, disable=not sys.stderr.isatty()):
        for mixture in source:
            statistics = separator.speaker_statistics(mixture.mixture, rate, seed=config.seed)
            yield Case(corpus, kind, mixture.name, mixture.genders or "?", count, statistics)


def _caption(separator: Separator, speakers: Manifest, cases: Sequence[Case]) -> str:
    how = "the rule fitted to this network" if separator.counting else "eigenvalues: this network has no fitted rule"
    return (
        f"{len(cases)} mixtures of 0 to 5 dB between the loudest and the softest of {len(speakers.speakers)} test "
        f"speakers, counted by {how}. A row is a true number of voices, a column what was said, in % of the row."
    )


def _confusion(told: _Told, counts: Sequence[int], caption: str) -> reports.Table:
    rows: list[list[reports.Cell]] = []
    for truth in counts:
        said = [told.count(case, counts) for case in told.within([truth])]
        shares = [100 * float(np.mean([count.clusters == number for count in said])) for number in counts]
        confidence = float(np.mean([count.confidence for count in said]))
        rows.append([f"{truth} voice{'s' * (truth > 1)}", len(said), *shares, confidence])
    columns = ["True", "Mixtures", *(f"said {number}" for number in counts), "Mean confidence"]
    return reports.Table(columns, rows, caption, formats={f"said {number}": ".1f" for number in counts})


def _by_range(told: _Told, auto: Sequence[int], counts: Sequence[int]) -> reports.Table:
    """How often the number is right by what it may be."""
    rows: list[list[reports.Cell]] = []
    for fewest, most in itertools.combinations(counts, 2):
        range_ = tuple(range(fewest, most + 1))
        cases = told.within(range_)
        name = f"{fewest}..{most}" + (" (auto)" if range_ == tuple(auto) else "")
        rows.append([name, len(cases), told.accuracy(cases, range_), told.unfitted().accuracy(cases, range_)])
    columns = ["--speakers", "Mixtures", "Right (%)", "Right by eigenvalues (%)"]
    return reports.Table(
        columns,
        rows,
        "By the range that is asked for, over mixtures of these numbers of voices. Counting large eigenvalues needs no "
        "fitting; it stands in where a model has no rule.",
        formats={name: ".1f" for name in columns[2:]},
    )


def _by_kind(told: _Told, auto: Sequence[int]) -> reports.Table:
    cases = told.within(auto)
    groups = {"all": cases}
    groups |= {kind: [case for case in cases if case.kind == kind] for kind in KINDS}
    corpora = dict.fromkeys(case.corpus for case in cases)
    if len(corpora) > 1:
        groups |= {corpus: [case for case in cases if case.corpus == corpus] for corpus in corpora}
    rows: list[list[reports.Cell]] = []
    for name, members in groups.items():
        alone = [(case.speakers == 1) == (told.count(case, auto).clusters == 1) for case in members]
        rows.append([name, len(members), told.accuracy(members, auto), 100 * float(np.mean(alone))])
    columns = ["Mixtures of", "Number", "Right (%)", "One or several right (%)"]
    return reports.Table(
        columns,
        rows,
        "By length and corpus. The last column asks only whether there is one voice or several.",
        formats={name: ".1f" for name in columns[2:]},
    )


def _reliability(told: _Told, auto: Sequence[int]) -> reports.Table:
    """What the confidences are worth."""
    cases = told.within(auto)
    found = [told.count(case, auto) for case in cases]
    confidences = np.array([count.confidence for count in found])
    right = np.array([case.speakers == count.clusters for case, count in zip(cases, found, strict=True)])
    rows: list[list[reports.Cell]] = []
    error = 0.0
    for low, high in itertools.pairwise([0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]):
        inside = (confidences > low) & (confidences <= high)
        if inside.any():
            said, true = float(confidences[inside].mean()), float(right[inside].mean())
            error += inside.mean() * abs(said - true)
            rows.append([f"{low:.1f} to {high:.1f}", int(inside.sum()), said, true])
    truth = np.array([count.shares[case.speakers] for case, count in zip(cases, found, strict=True)])
    surprise, of_nothing = float(-np.mean(np.log(truth))), np.log(len(auto))
    return reports.Table(
        ["Confidence", "Mixtures", "Mean confidence", "Share that was right"],
        rows,
        "What a confidence is worth on voices that are new to it: where it is a probability the last two columns "
        f"agree. Mean difference {error:.3f}; {surprise:.2f} nats of surprise a mixture (who knows nothing has "
        f"{of_nothing:.2f}).",
    )


def _row(case: Case, rule: CountingRule | None, counts: Sequence[int]) -> dict[str, object]:
    shares = clustering.count_clusters(case.statistics, counts, rule).shares
    return {
        "corpus": case.corpus,
        "kind": case.kind,
        "name": case.name,
        "genders": case.genders,
        "speakers": case.speakers,
        **{f"share_{count}": round(share, 4) for count, share in shares.items()},
        **{name: round(float(value), 4) for name, value in zip(clustering.STATISTICS, case.statistics, strict=True)},
    }


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.count_speakers"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
