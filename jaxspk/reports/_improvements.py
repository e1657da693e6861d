"""Pictures of a score over many mixtures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def improvement_distribution(
    values: Mapping[str, Float[np.ndarray, " mixtures"]],
    *,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    label: str = "SDR improvement (dB)",
    caption: str = "",
) -> Figure:
    """Every mixture's improvement as a point, with median and quartiles, one row a group.

    Args:
      values: improvements by group, such as the gender pair ``"F+M"``; finite, at least one a group.
      baselines: by the name of the baseline, its level in each group (such as the median of the ideal mask);
        groups may be missing.
      label: of the axis, with the unit.
      caption: replaces the standard one.

    Raises:
      ArgumentError: there is no group, or a group is empty or not finite.
      MissingExtraError: matplotlib is not installed.
    """
    _check_groups(values)
    with _style.drawing(9.0, 1.25 + 0.72 * len(values)) as drawn:
        axes = drawn.subplots()
        axes.axvline(0, color=_style.MUTED, linewidth=0.9)
        for row, (group, points) in enumerate(values.items()):
            _draw_group(axes, row, np.asarray(points, np.float64), _style.source_colour(0))
            for number, levels in enumerate((baselines or {}).values()):
                if group in levels:
                    axes.plot(
                        [levels[group]] * 2, [row - 0.34, row + 0.34], color=_style.source_colour(1 + number),
                        linewidth=2.4, solid_capstyle="butt",
                    )  # fmt: skip
        axes.set_yticks(
            range(len(values)),
            [f"{group}  (n = {len(points)})" for group, points in values.items()],
            color=_style.INK,
        )
        axes.set_ylim(len(values) - 0.45, -0.55)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        _distribution_legend(axes, tuple(baselines or ()))
        return _style.to_figure(
            drawn,
            caption
            or f"{label.partition(' (')[0]} of every mixture by group. The bar is the median, "
            "the box holds the middle half.",
            " ".join([f"Strip chart of {label} by group.", *map(_in_words, values, values.values())]),
        )


def improvement_vs_input(
    inputs: Mapping[str, Float[np.ndarray, " mixtures"]],
    improvements: Mapping[str, Float[np.ndarray, " mixtures"]],
    *,
    input_label: str = "Input SDR (dB)",
    label: str = "SDR improvement (dB)",
    caption: str = "",
) -> Figure:
    """Improvement against the score of the unprocessed mixture, one colour a group.

    Args:
      inputs: scores of the mixtures by group.
      improvements: for the same groups and mixtures, in the same order.
      input_label: of the axis to the right.
      label: of the axis upwards.
      caption: replaces the standard one.

    Raises:
      ArgumentError: the groups differ, or a group is empty, not finite, or of two lengths.
      MissingExtraError: matplotlib is not installed.
    """
    _check_groups(inputs)
    _check_groups(improvements)
    if list(inputs) != list(improvements):
        raise ArgumentError(
            f"`improvements` must have the groups of `inputs`, {list(inputs)}, got {list(improvements)}."
        )
    for group in inputs:
        _checks.check_same_shape(f"inputs[{group!r}]", inputs[group], f"improvements[{group!r}]", improvements[group])
    across, upwards = (np.concatenate(list(groups.values())) for groups in (inputs, improvements))
    with _style.drawing(9.0, 4.0) as drawn:
        axes = drawn.subplots()
        axes.axhline(0, color=_style.MUTED, linewidth=0.9)
        for number, group in enumerate(inputs):
            axes.scatter(
                inputs[group], improvements[group], s=26, alpha=0.75, linewidths=0, marker="osD^"[number % 4],
                color=_style.source_colour(number), label=group,
            )  # fmt: skip
        axes.grid(True, axis="both")
        axes.set_xlabel(input_label)
        axes.set_ylabel(label)
        axes.set_title(f"{np.mean(upwards > 0):.0%} of the mixtures improved".replace("%", " %"))
        _style.legend(axes, ncols=len(inputs))
        return _style.to_figure(
            drawn,
            caption or f"{label.partition(' (')[0]} of every mixture against what it started from.",
            f"Scatter plot of {label} against {input_label} for {len(upwards)} mixtures: inputs "
            f"from {across.min():.1f} to {across.max():.1f}, "
            f"improvements from {upwards.min():.1f} to {upwards.max():.1f}.",
        )


def _check_groups(groups: Mapping[str, np.ndarray]) -> None:
    if not groups:
        raise ArgumentError("`values` must hold at least one group, got none.")
    for group, points in groups.items():
        if points.ndim != 1 or not points.size or not np.isfinite(points).all():
            raise ArgumentError(
                f"group {group!r} must be [mixtures], finite and not empty, got shape {points.shape}; "
                "leave out mixtures without a score."
            )


def _in_words(group: str, points: np.ndarray) -> str:
    median, low, high = np.median(points), np.min(points), np.max(points)
    return f"{group}: median {median:.2f}, from {low:.2f} to {high:.2f}, {len(points)} mixtures."


def _draw_group(axes: "Axes", row: int, points: np.ndarray, colour: str) -> None:
    """Points spread by their density within the row, over a box of the quartiles and the median."""
    low, middle, high = np.percentile(points, [25, 50, 75])
    axes.barh(row, high - low, left=low, height=0.5, color=colour, alpha=0.16)
    axes.scatter(points, row + _spread(points), s=11, color=colour, alpha=0.6, linewidths=0)
    axes.plot([middle] * 2, [row - 0.29, row + 0.29], color=_style.INK, linewidth=2.4, solid_capstyle="butt")


def _spread(points: np.ndarray) -> np.ndarray:
    """Offsets that keep near points apart: the golden ratio's low-discrepancy sequence, in order of value."""
    ranks = np.argsort(np.argsort(points, kind="stable"), kind="stable")
    return (ranks * 0.6180339887498949 % 1 - 0.5) * 0.44


def _distribution_legend(axes: "Axes", baselines: tuple[str, ...]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=4.5, color=_style.source_colour(0), label="Mixture"),
        Line2D([], [], linewidth=2.4, color=_style.INK, label="Median"),
        *(
            Line2D([], [], linewidth=2.4, color=_style.source_colour(1 + number), label=name)
            for number, name in enumerate(baselines)
        ),
    ]
    _style.legend(axes, handles, ncols=len(handles))
