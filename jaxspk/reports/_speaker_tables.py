"""The tables of a comparison of objectives, with published figures beside ours."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxspk.reports._tables import Cell, Table, format_cell
from jaxspk.systems import CEPSTRAL, COMPARED, OBJECTIVES, POOLED, UNTRAINED, ComparisonResult

Published = Sequence[Mapping[str, str]]
"""Rows of a table of published equal error rates, by heading."""

_FAST = "Fast ResNet-34"
_FIGURES: Mapping[str, tuple[str, str]] = {
    "am_softmax": ("issue 32", "AM-softmax and AAM-softmax"),
    "aam_softmax": ("issue 32", "AM-softmax and AAM-softmax"),
    "angular_prototypical": ("commit f51bab8", "angular prototypical"),
    "softmax_prototypical": ("commit f51bab8", "softmax + angular prototypical"),
}
"""Where the published figure of an objective stands: how its source and its name of the objective begin."""

_AGAINST = "softmax"
_SPREAD = "Mean ± standard deviation over the seeds."

Measure = Callable[[ComparisonResult], float | None]


def comparison_tables(results: Sequence[ComparisonResult], published: Published = ()) -> list[Table]:
    """Equal error rates, detection costs, identification and calibration, trainings, and what others report.

    Args:
      results: of :func:`jaxspk.systems.read_comparison`; what is missing is left out.
      published: figures of others.
    """
    groups = _groups(results)
    return [
        _error_table(results, groups, published),
        _cost_table(results, groups),
        _other_table(results),
        _trainings_table(results),
        *([_published_table(published)] if published else []),
    ]


def comparison_rows(results: Sequence[ComparisonResult]) -> tuple[list[str], list[list[Cell]]]:
    """Everything the tables rest on: one row an objective, seed and group of trials, fractions unrounded."""
    measures = ("eer", "min_dcf_0.01", "min_dcf_0.05", "min_cllr")
    columns = ["objective", "seed", "trials", "same", "different", *measures]
    columns += ["calibrated_cllr", "identification", "steps", "minutes"]
    rows: list[list[Cell]] = []
    for result in results:
        for name, errors in result.errors.items():
            of_all: list[Cell] = [None] * 4
            if name == POOLED:
                record = result.record
                of_all = [record["calibrated_cllr"], result.identification, record.get("steps"), record.get("minutes")]
            counts = [int(errors[kind]) for kind in ("same", "different")]
            rows.append([result.name, result.seed, name, *counts, *(errors[of] for of in measures), *of_all])
    return columns, rows


def comparison_lines(results: Sequence[ComparisonResult]) -> str:
    """Pooled equal error rate and identification as lines of plain text, for a terminal."""
    lines = [f"{'objective':<34}{'seeds':>6}{'EER (%)':>16}{'named rightly (%)':>22}"]
    for name in _names(results):
        of_name = [result for result in results if result.name == name]
        spread = [_spread(of_name, measure) or "" for measure in (_errors(POOLED, "eer", 100.0), _identified)]
        lines.append(f"{_title(name):<34}{len(of_name):>6}{spread[0]:>16}{spread[1]:>22}")
    return "\n".join(lines)


def _error_table(results: Sequence[ComparisonResult], groups: Sequence[str], published: Published) -> Table:
    counts = "; ".join(f"{name}: {_count(results, name)}" for name in groups)
    rows: list[list[Cell]] = [
        [
            _title(name),
            *(_spread(_of(results, name), _errors(group, "eer", 100.0)) for group in groups),
            *([_figure(name, published)] if published else []),
        ]
        for name in _names(results)
    ]
    columns = ("Objective", *(_heading(group) for group in groups), *(["published, VoxCeleb1-O"] if published else []))
    caption = f"Equal error rate in %. {_SPREAD} Trials of one and of two speakers: {counts}."
    if published:
        caption += (
            f" Published: {_FAST} trained on 5,994 speakers of VoxCeleb2 for angular prototypical, other networks for "
            "the others (the last table names them); other speech and many times the data, so it says where figures "
            "tend, not what ours should be."
        )
    return Table(columns, rows, caption)


def _cost_table(results: Sequence[ComparisonResult], groups: Sequence[str]) -> Table:
    wanted = [(POOLED, "min_dcf_0.01"), *((group, "min_dcf_0.05") for group in groups)]
    rows: list[list[Cell]] = [
        [_title(name), *(_spread(_of(results, name), _errors(*which), ".3f") for which in wanted)]
        for name in _names(results)
    ]
    headings = (f"{_heading(group)}, minDCF {measure.removeprefix('min_dcf_')}" for group, measure in wanted)
    caption = f"Normalised minimal detection cost, for so large a share of trials of one speaker. {_SPREAD}"
    return Table(("Objective", *headings), rows, caption)


def _other_table(results: Sequence[ComparisonResult]) -> Table:
    rows: list[list[Cell]] = [
        [
            _title(name),
            _spread(_of(results, name), _identified),
            _spread(_of(results, name), lambda result: result.record["calibrated_cllr"], ".3f"),
            _spread(_of(results, name), _errors(POOLED, "min_cllr"), ".3f"),
            _difference(results, name),
        ]
        for name in _names(results)
    ]
    columns = (
        "Objective",
        "Named rightly (%)",
        "Cllr (bits)",
        "Least Cllr (bits)",
        f"EER less {_AGAINST}'s (% points)",
    )
    caption = (
        "Closed-set identification: each recording of the test speakers is given to the speaker whose other recordings "
        "are most like it on average. Cost of the scores as likelihood ratios, calibrated by the validation speakers, "
        f"and after the best increasing map. Last, the difference of pooled equal error rates, seed by seed. {_SPREAD}"
    )
    return Table(columns, rows, caption)


def _trainings_table(results: Sequence[ComparisonResult]) -> Table:
    rows: list[list[Cell]] = [
        [
            _title(result.name),
            result.seed,
            f"{result.record['speakers']} × {result.record['utterances']}",
            int(result.record["steps"]),
            float(result.record["minutes"]),
            int(result.record["best_step"]),
            100 * float(result.record["validation_eer"]),
            str(result.record["stopped"]),
        ]
        for result in results
        if "steps" in result.record
    ]
    columns = (
        "Training", "Seed", "Speakers × utterances", "Steps", "Minutes", "Best step", "Validation EER (%)", "Ended by",
    )  # fmt: skip
    return Table(columns, rows, "All trainings behind these figures.")


def _published_table(published: Published) -> Table:
    rows: list[list[Cell]] = [
        [row["model"], row["objective"], row["test_list"], row["evaluation_crops"], row["EER_percent"], row["source"]]
        for row in published
    ]
    columns = ("Network", "Objective", "Trials", "Scored by", "EER (%)", "Source")
    caption = (
        "Published figures of the paper's authors and users, all of VoxCeleb1; the paper's own table is not among them."
    )
    return Table(columns, rows, caption)


def _groups(results: Sequence[ComparisonResult]) -> list[str]:
    """All groups of trials, in the order of the results."""
    return list(dict.fromkeys(group for result in results for group in result.errors))


def _names(results: Sequence[ComparisonResult]) -> list[str]:
    there = {result.name for result in results}
    return [name for name in COMPARED if name in there]


def _of(results: Sequence[ComparisonResult], name: str) -> list[ComparisonResult]:
    return [result for result in results if result.name == name]


def _title(name: str) -> str:
    baselines = {CEPSTRAL: "baseline: statistics of MFCCs", UNTRAINED: "baseline: untrained network"}
    return baselines[name] if name in baselines else OBJECTIVES[name].title


def _heading(group: str) -> str:
    return "all trials" if group == POOLED else group


def _errors(group: str, measure: str, scale: float = 1.0) -> Measure:
    def value(result: ComparisonResult) -> float | None:
        return scale * float(result.errors[group][measure]) if group in result.errors else None

    return value


def _identified(result: ComparisonResult) -> float | None:
    return 100 * result.identification


def _spread(results: Sequence[ComparisonResult], measure: Measure, specification: str = ".2f") -> str | None:
    """Mean and standard deviation over seeds; the value alone where there is one seed, None where there is none."""
    return _mean_and_deviation([value for result in results if (value := measure(result)) is not None], specification)


def _mean_and_deviation(values: Sequence[float], specification: str) -> str | None:
    if not values:
        return None
    text = format_cell(float(np.mean(values)), specification)
    if len(values) > 1:
        text += f" ± {format_cell(float(np.std(values, ddof=1)), specification.removeprefix('+'))}"
    return text


def _difference(results: Sequence[ComparisonResult], name: str) -> str | None:
    """Pooled equal error rate against softmax's of the same seed, in percent points."""
    rate = _errors(POOLED, "eer", 100.0)
    of_seed = {result.seed: rate(result) for result in _of(results, _AGAINST)}
    gaps = [
        mine - theirs
        for result in _of(results, name)
        if name in OBJECTIVES and name != _AGAINST
        if (mine := rate(result)) is not None and (theirs := of_seed.get(result.seed)) is not None
    ]
    return _mean_and_deviation(gaps, "+.2f")


def _count(results: Sequence[ComparisonResult], group: str) -> str:
    errors = next(result.errors[group] for result in results if group in result.errors)
    return f"{format_cell(int(errors['same']))} and {format_cell(int(errors['different']))}"


def _figure(name: str, published: Published) -> str | None:
    source, objective = _FIGURES.get(name, ("", ""))
    for row in published:
        if source and row["source"].startswith(source) and row["objective"].startswith(objective):
            return row["EER_percent"] + ("" if row["model"].startswith(_FAST) else " (another network)")
    return None
