"""Pictures of scored trials: DET curves, histograms of the scores, calibration; and the page of `jaxspk metrics`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Num

from jaxspk import metrics
from jaxspk.errors import ArgumentError
from jaxspk.metrics import VerificationSummary
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure, Text
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Report, Section
from jaxspk.reports._tables import Cell, Table

if TYPE_CHECKING:
    pass

ScoredLabels = tuple[Num[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]
"""Scores and which trials are of one speaker."""

_TICKS = (0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_MOST_POINTS = 2000
_RATIO_LIMIT = 8.0
_FEWEST_IN_A_BIN = 5
_FARTHEST = 30.0


def det_plot(trials: Mapping[str, ScoredLabels], *, caption: str = "") -> Figure:
    """Miss against false-alarm rate on normal-deviate axes, one curve a system; a circle marks the equal error rate.

    Scores of two normal distributions make a straight line, of equal deviations one that falls at 45 degrees.

    Args:
      trials: scores and labels by the name of the system.
      caption: replaces the standard one.

    Raises:
      ArgumentError: there is no system, or its trials cannot be measured (see :mod:`jaxspk.metrics`).
      MissingExtraError: matplotlib is not installed.
    """
    from scipy.special import ndtri

    _check_any(trials)
    curves = {name: metrics.det_curve(*scored) for name, scored in trials.items()}
    rates = {name: metrics.equal_error_rate(*scored).eer for name, scored in trials.items()}
    finest = min(1 / min(np.sum(labels), np.sum(~labels)) for _, labels in trials.values())
    lowest = max(finest / 2, _TICKS[0] / 2)
    highest = min(0.6, max(0.5, *(1.2 * rate for rate in rates.values())))
    with _style.drawing(6.4, 6.0) as drawn:
        axes = drawn.subplots()
        axes.plot(*[ndtri([lowest, highest])] * 2, color=_style.LINE, linewidth=1.0)
        for number, (name, curve) in enumerate(curves.items()):
            colour = _style.source_colour(number)
            across, upwards = _staircase(curve.false_alarm_rates, curve.miss_rates, lowest)
            axes.plot(ndtri(across), ndtri(upwards), color=colour, label=f"{name}: {100 * rates[name]:.2f} %")
            if lowest < rates[name] < 1:
                axes.plot(*[[ndtri(rates[name])]] * 2, marker="o", markersize=6.5, fillstyle="none", color=colour)
        ticks = [tick for tick in _TICKS if lowest <= tick <= highest]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ndtri(ticks), [f"{100 * tick:g}" for tick in ticks])
        axes.set_xlim(ndtri(lowest), ndtri(highest))
        axes.set_ylim(ndtri(lowest), ndtri(highest))
        axes.set_aspect("equal")
        axes.grid(True, axis="both")
        axes.set_xlabel("Different speakers accepted (%)")
        axes.set_ylabel("Same speaker rejected (%)")
        _style.legend(axes, loc="upper right", bbox_to_anchor=(1.0, 1.0), ncols=1)
        return _style.to_figure(
            drawn,
            caption
            or "Detection error trade-off: every point of a curve is a threshold. The circle is the equal error rate, "
            "which the legend names.",
            " ".join(
                ["Detection error trade-off curves.", *(f"{n}: equal error rate {r:.2%}." for n, r in rates.items())]
            ),
        )


def score_histogram(
    scores: Num[np.ndarray, " trials"],
    labels: Bool[np.ndarray, " trials"],
    *,
    threshold: float | None = None,
    label: str = "Score",
    caption: str = "",
) -> Figure:
    """How scores are distributed, for one speaker and for two, each scaled to the same area.

    Args:
      scores: of trials.
      labels: which are of one speaker.
      threshold: marked; by default that of the equal error rate.
      label: of the axis.
      caption: replaces the standard one.

    Raises:
      ArgumentError: the trials cannot be measured (see :mod:`jaxspk.metrics`).
      MissingExtraError: matplotlib is not installed.
    """
    eer, crossing = metrics.equal_error_rate(scores, labels)
    threshold = crossing if threshold is None else threshold
    edges = np.histogram_bin_edges(scores, bins=_bins(labels))
    with _style.drawing(9.0, 3.2) as drawn:
        axes = drawn.subplots()
        for kind, name, colour in ((True, "One speaker", 0), (False, "Two speakers", 1)):
            values = scores[labels == kind]
            density, _ = np.histogram(values, bins=edges, density=True)
            paint, count = _style.source_colour(colour), f"{len(values):,}"
            axes.stairs(density, edges, fill=True, color=paint, alpha=0.28)
            axes.stairs(density, edges, color=paint, label=f"{name}  (n = {count})", baseline=None)
        axes.axvline(threshold, color=_style.INK, linewidth=1.0, linestyle="--")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(False)
        axes.set_xlabel(label)
        _style.legend(axes, ncols=2)
        means = [float(scores[labels == kind].mean()) for kind in (True, False)]
        return _style.to_figure(
            drawn,
            caption
            or "Scores of trials of one speaker and of two, each of the same area. The dashed line is the threshold of "
            "equal error rates.",
            f"Histograms of {label.lower()}: mean {means[0]:.3f} for one speaker, {means[1]:.3f} for two; equal error "
            f"rate {eer:.2%} at {crossing:.3f}.",
        )


def calibration_plot(
    ratios: Num[np.ndarray, " trials"], labels: Bool[np.ndarray, " trials"], *, bins: int = 15, caption: str = ""
) -> Figure:
    """What log-likelihood ratios say against what happened: on the diagonal they can be believed.

    Trials are put in ``bins`` groups by their ratio, where those of one speaker weigh as much as those of two. The
    observed ratio of a group is the logarithm of the share of all same-speaker trials in it over the share of all
    different-speaker trials, with half a trial added to each so that groups of one kind have a place.

    Args:
      ratios: calibrated scores, natural logarithm.
      labels: which trials are of one speaker.
      bins: groups, at least 2; fewer where there are few trials.
      caption: replaces the standard one.

    Raises:
      ArgumentError: the trials cannot be measured (see :mod:`jaxspk.metrics`), or ``bins`` is below 2.
      MissingExtraError: matplotlib is not installed.
    """
    if bins < 2:
        raise ArgumentError(f"`bins` must be at least 2, got {bins}.")
    cost, least = metrics.cllr(ratios, labels), metrics.min_cllr(ratios, labels)
    said, happened = _reliability(ratios, labels, bins)
    limit = _RATIO_LIMIT
    with _style.drawing(6.4, 5.6) as drawn:
        axes = drawn.subplots()
        axes.plot([-limit, limit], [-limit, limit], color=_style.LINE, linewidth=1.0)
        axes.plot(
            np.clip(said, -limit, limit), np.clip(happened, -limit, limit), marker="o", markersize=4.5,
            color=_style.source_colour(0),
        )  # fmt: skip
        axes.set_xlim(-limit, limit)
        axes.set_ylim(-limit, limit)
        axes.set_aspect("equal")
        axes.grid(True, axis="both")
        axes.set_xlabel("Log-likelihood ratio that was said")
        axes.set_ylabel("That came true")
        axes.set_title(f"Cllr {cost:.3f} bits, {least:.3f} at best")
        return _style.to_figure(
            drawn,
            caption
            or "Calibration: groups of trials by their log-likelihood ratio against the ratio that they turned out to "
            "have. Below the diagonal a score promises too much.",
            f"Calibration of log-likelihood ratios: cost {cost:.3f} bits, {least:.3f} after the best increasing map. "
            + " ".join(f"Said {a:.1f}, came true {b:.1f}." for a, b in zip(said, happened, strict=True)),
        )


def verification_table(summaries: Mapping[str, VerificationSummary], *, caption: str = "") -> Table:
    """The numbers of several lists of scored trials, a row each.

    Args:
      summaries: by the name of the row.
      caption: replaces the standard one.

    Raises:
      ArgumentError: there is none.
    """
    _check_any(summaries)
    priors = list(next(iter(summaries.values())).min_dcf)
    costs = [f"minDCF {prior:g}" for prior in priors]
    rows: list[list[Cell]] = [
        [
            name,
            summary.targets,
            summary.nontargets,
            100 * summary.eer,
            "" if (i := summary.eer_interval) is None else f"{100 * i.low:.2f} to {100 * i.high:.2f}",
            *(summary.min_dcf[prior] for prior in priors),
            summary.cllr,
            summary.min_cllr,
        ]
        for name, summary in summaries.items()
    ]
    return Table(
        columns=["Trials", "Same", "Different", "EER (%)", "95 % interval", *costs, "Cllr (bits)", "Least Cllr (bits)"],
        rows=rows,
        caption=caption or "Equal error rate, normalised detection costs, and cost of the scores as likelihood ratios.",
        best={name: "lowest" for name in ("EER (%)", *costs)} if len(rows) > 1 else {},
    )


def verification_report(
    trials: Mapping[str, ScoredLabels], summaries: Mapping[str, VerificationSummary], *, title: str = "Scored trials"
) -> Report:
    """A page about lists of scored trials: numbers, DET curves, histograms, and calibration on the trials themselves.

    Args:
      trials: scores and labels by name.
      summaries: of the same names.
      title: of the page.

    Raises:
      ArgumentError: there is none, or the names differ.
      MissingExtraError: matplotlib or jinja2 is not installed.
    """
    _check_any(trials)
    if set(trials) != set(summaries):
        raise ArgumentError(f"`summaries` must have the names of `trials`, {list(trials)}, got {list(summaries)}.")
    sections = [Section("Numbers", [verification_table(summaries), det_plot(trials)])]
    for name, (scores, labels) in trials.items():
        sections.append(Section(name, [score_histogram(scores, labels), *_calibrated_blocks(scores, labels)]))
    return Report(title=title, sections=sections, provenance=provenance(command="jaxspk metrics"))


def _calibrated_blocks(
    scores: Num[np.ndarray, " trials"], labels: Bool[np.ndarray, " trials"]
) -> Sequence[Figure | Text]:
    try:
        calibration = metrics.Calibration.fit(scores, labels)
    except ArgumentError as error:
        return [Text(f"These scores cannot be calibrated: {error}", note=True)]
    ratios = calibration.log_likelihood_ratio(scores)
    caption = (
        f"Calibration fitted to these very trials (log-likelihood ratio = {calibration.scale:.4f} × score "
        f"{calibration.offset:+.4f}): whether a straight line is enough. Below the diagonal a score promises too much."
    )
    return [calibration_plot(ratios, labels, caption=caption)]


def _check_any(groups: Mapping[str, object]) -> None:
    if not groups:
        raise ArgumentError("`trials` must hold at least one list of scored trials, got none.")


def _staircase(
    false_alarms: Float[np.ndarray, " points"], misses: Float[np.ndarray, " points"], lowest: float
) -> tuple[np.ndarray, np.ndarray]:
    """The curve within the picture, thinned to what can be seen of it: normal deviates of 0 and 1 are infinite."""
    from scipy.special import ndtri

    across, upwards = np.clip(false_alarms, lowest / 4, 1 - 1e-9), np.clip(misses, lowest / 4, 1 - 1e-9)
    if len(across) > _MOST_POINTS:
        # Evenly along the curve as it is drawn.
        steps = np.abs(np.diff(ndtri(across))) + np.abs(np.diff(ndtri(upwards)))
        way = np.concatenate([[0], np.cumsum(steps)])
        keep = np.unique(np.searchsorted(way, np.linspace(0, way[-1], _MOST_POINTS)))
        across, upwards = across[keep], upwards[keep]
    return across, upwards


def _reliability(
    ratios: Num[np.ndarray, " trials"], labels: Bool[np.ndarray, " trials"], bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ratio said and the ratio observed of groups of equal weight.

    What a group says is its mean probability, where both kinds are as frequent, as a ratio.
    """
    from scipy.special import expit, logit

    order = np.argsort(ratios, kind="stable")
    targets, nontargets = int(labels.sum()), int((~labels).sum())
    # Both kinds weigh the same: else the many trials of two speakers would fill all groups but one.
    weights = np.where(labels[order], 0.5 / targets, 0.5 / nontargets)
    bins = max(2, min(bins, targets // _FEWEST_IN_A_BIN, nontargets // _FEWEST_IN_A_BIN))
    group = np.minimum((np.cumsum(weights) * bins).astype(int), bins - 1)
    said, happened = [], []
    for number in range(bins):
        inside = order[group == number]
        if len(inside):
            same = int(labels[inside].sum())
            chances = expit(np.clip(ratios[inside], -_FARTHEST, _FARTHEST))
            said.append(float(logit(np.average(chances, weights=weights[group == number]))))
            happened.append(
                float(np.log((same + 0.5) / (targets + 0.5)) - np.log((len(inside) - same + 0.5) / (nontargets + 0.5)))
            )
    return np.array(said), np.array(happened)


def _bins(labels: Bool[np.ndarray, " trials"]) -> int:
    """So many that the rarer kind still fills them."""
    rarer = min(int(labels.sum()), int((~labels).sum()))
    return int(np.clip(1.5 * np.sqrt(rarer), 10, 80))
