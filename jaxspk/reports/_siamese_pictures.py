"""Pictures of a regularized siamese network: distances of pairs, how training moved them, and the codes themselves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure
from jaxspk.reports._curves import Curve, read_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS = ((True, "One speaker", 0), (False, "Two speakers", 1))
_BINS = 40
# Steps of grey: few colours make small files.
_LEVELS = 24


def pair_histograms(
    distances: Mapping[str, tuple[Float[np.ndarray, " pairs"], Bool[np.ndarray, " pairs"]]],
    *,
    label: str,
    caption: str = "",
) -> Figure:
    """Distances of pairs of one speaker and of two, at several stages of a training, on one logarithmic axis.

    Args:
      distances: by stage, positive distances and which pairs are of one speaker.
      label: of the axis.
      caption: replaces the standard one.

    Raises:
      ArgumentError: there is no stage, or a stage lacks pairs of a kind.
      MissingExtraError: matplotlib is not installed.
    """
    if not distances or any(same.all() or not same.any() for _, same in distances.values()):
        raise ArgumentError("`distances` must hold at least one stage, each with pairs of one speaker and of two.")
    values = np.concatenate([measured for measured, _ in distances.values()])
    lowest = float(values[values > 0].min(initial=1.0))
    edges = np.geomspace(lowest, max(float(values.max()), 2 * lowest), _BINS)
    with _style.drawing(9.0, 1.3 + 1.25 * len(distances)) as drawn:
        rows = drawn.subplots(len(distances), 1, sharex=True, squeeze=False)[:, 0]
        told = []
        for axes, (stage, (measured, same)) in zip(rows, distances.items(), strict=True):
            means = []
            for kind, name, colour in _KINDS:
                chosen = np.maximum(measured[same == kind], lowest)
                counts, _ = np.histogram(chosen, bins=edges)
                paint = _style.source_colour(colour)
                axes.stairs(counts / len(chosen), edges, fill=True, color=paint, alpha=0.28)
                axes.stairs(counts / len(chosen), edges, color=paint, label=name, baseline=None)
                means.append(float(chosen.mean()))
                axes.axvline(means[-1], color=paint, linewidth=1.0, linestyle="--")
            axes.set_title(f"{stage}: two speakers {means[1] / means[0]:.1f} times as far apart as one")
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.grid(False)
            told.append(f"{stage}: mean {means[0]:.3g} for one speaker, {means[1]:.3g} for two.")
        rows[0].set_xscale("log")
        rows[-1].set_xlabel(label)
        _style.legend(rows[0], ncols=2)
        return _style.to_figure(
            drawn,
            caption
            or "Distances of segments of validation speakers, the same pairs at each stage; dashed lines are means. "
            "Each histogram has the same area on this logarithmic axis.",
            f"Histograms of {label}. " + " ".join(told),
        )


def pair_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """What tells a healthy training from a collapsed or idle one, against the step of joint training.

    Args:
      metrics: rows of ``metrics.jsonl`` with the numbers of :func:`jaxspk.systems.siamese_objective`.

    Raises:
      ArgumentError: no row has them.
      MissingExtraError: matplotlib is not installed.
    """
    rows = [row for row in metrics if row.get("stage") == "joint" and row.get("split") == "train"]
    panels = (
        ("Mean distance, D_m", (("One speaker", "d_mean_same"), ("Two speakers", "d_mean_different")), True),
        ("Distance of covariances, D_S", (("One speaker", "d_cov_same"), ("Two speakers", "d_cov_different")), True),
        ("Pairs of two speakers out of reach (share)", (("D_m > 20 λ", "far_mean"), ("D_S > 20 λ", "far_cov")), False),
        ("Loss", (("Reconstruction", "reconstruction"), ("Discrimination", "discrimination")), False),
    )
    if not read_curves(rows, "d_mean_same"):
        raise ArgumentError("`metrics` has no row of joint training with distances of pairs; there is nothing to draw.")
    with _style.drawing(9.0, 5.2) as drawn:
        grid = drawn.subplots(2, 2, sharex=True)
        ends = []
        for axes, (title, lines, from_zero) in zip(grid.ravel(), panels, strict=True):
            for number, (name, key) in enumerate(lines):
                curve = read_curves(rows, key)["train"]
                _plot(axes, curve, _style.source_colour(number), name)
                ends.append(f"{title}, {name.lower()}: {curve[1][-1]:.3g}.")
            axes.set_title(title, pad=22)
            if from_zero or curve[1].max() < 1e-3:
                axes.set_ylim(bottom=0)
            _style.legend(axes, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        for axes in grid[1]:
            axes.set_xlabel("Step")
        return _style.to_figure(
            drawn,
            "Drawn pairs of joint training. Healthy is a distance of two speakers that stays above that of one: codes "
            "that have become the same have both at 0, where two speakers have no gradient any more, and pairs out of "
            "reach push no further. D_S never reaches 0 for one speaker: two segments differ by chance.",
            "Line charts over the steps of joint training. At the end: " + " ".join(ends),
        )


def code_pictures(
    codes: Mapping[str, Float[np.ndarray, "_ units"]],
    *,
    speaker_units: int,
    frame_seconds: float,
    caption: str = "",
) -> Figure:
    """Codes of several recordings over time, the units in one order for all: those of the speaker above the rest.

    Args:
      codes: by the title of the recording, of frames of speech.
      speaker_units: how many of the first units are the speaker's.
      frame_seconds: from frame to frame.
      caption: replaces the standard one.

    Raises:
      ArgumentError: there is no recording.
      MissingExtraError: matplotlib is not installed.
    """
    if not codes:
        raise ArgumentError("`codes` must hold at least one recording, got none.")
    units = next(iter(codes.values())).shape[1]
    _checks.check_range("speaker_units", speaker_units, low=1, high=units)
    means = np.stack([one.mean(0) for one in codes.values()])
    # Within each part by what the first recording has on the average, so that rows can be compared across pictures.
    order = np.concatenate(
        [part[np.argsort(means[0, part])] for part in (np.arange(speaker_units), np.arange(speaker_units, units))]
    )
    with _style.drawing(9.0, 4.6) as drawn:
        row = drawn.subplots(1, len(codes), sharey=True, squeeze=False)[0]
        for axes, (title, one) in zip(row, codes.items(), strict=True):
            shown = np.round(one[:, order].T * _LEVELS) / _LEVELS
            extent = (0.0, len(one) * frame_seconds, units, 0.0)
            axes.imshow(
                shown,
                aspect="auto",
                extent=extent,
                cmap="magma",
                vmin=0,
                vmax=1,
                interpolation="nearest",
                origin="upper",
            )
            axes.axhline(speaker_units, color=_style.PAPER, linewidth=2.0)
            axes.set_title(title)
            axes.set_xlabel("Speech (s)")
            axes.grid(False)
        row[0].set_yticks(
            [speaker_units / 2, (speaker_units + units) / 2] if speaker_units < units else [speaker_units / 2],
            ["Speaker units", "Rest units"] if speaker_units < units else ["Speaker units"],
            rotation=90,
            va="center",
        )
        spread = means[:, :speaker_units].std(0).mean()
        return _style.to_figure(
            drawn,
            caption
            or "Codes of speech, frame by frame: dark is 0, light is 1. Rows are units, in the same order in each "
            "picture: what is the speaker's shows as stripes that two recordings of one speaker share and another's "
            "does not; what is said shows as columns.",
            f"Codes of {len(codes)} recordings ({', '.join(codes)}): {speaker_units} speaker units of {units}; mean "
            f"deviation of a speaker unit's mean between the recordings {spread:.3f}.",
        )


def _plot(axes: "Axes", curve: Curve, colour: str, label: str) -> None:
    steps, values = curve
    axes.plot(steps, values, color=colour, label=label, marker="o" if len(steps) <= 40 else "", markersize=3.2)
