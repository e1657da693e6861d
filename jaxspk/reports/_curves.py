"""Curves of a training run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxspk.errors import ArgumentError
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[np.ndarray, np.ndarray]


def training_curves(
    metrics: Sequence[Mapping[str, Any]],
    *,
    score: str | None = None,
    score_label: str | None = None,
    best_step: int | None = None,
) -> Figure:
    """Loss, validation score and learning rate against the step, from the rows of ``metrics.jsonl``.

    A row has ``step`` (int), ``split`` ("train" or another word) and numbers by name; ``loss`` and
    ``learning_rate`` are looked for, and ``score`` where it is given. What is missing or not finite in a row
    leaves no point. The loss is drawn on a logarithmic axis where all its values are positive and it falls by
    a factor of ten or more; training losses of many steps are drawn pale, with their running median on top.

    Args:
      metrics: the rows, in any order.
      score: the name of the validation score.
      score_label: how the axis of the score is labelled, with its unit: ``"SDR improvement (dB)"``.
      best_step: the step whose model was kept; marked in the score.

    Raises:
      ArgumentError: no row has a finite loss.
      MissingExtraError: matplotlib is not installed.
    """
    losses = read_curves(metrics, "loss")
    if not losses:
        raise ArgumentError("`metrics` has no row with `step` and a finite `loss`; there is nothing to draw.")
    scores = read_curves(metrics, score) if score else {}
    rates = read_curves(metrics, "learning_rate")
    panels = 1 + bool(scores) + bool(rates)
    with _style.drawing(9.0, 2.2 + 1.3 * (panels - 1) if panels > 1 else 3.0) as drawn:
        heights = [1.6, *([1.1] if scores else []), *([0.55] if rates else [])]
        axes = drawn.subplots(panels, 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        remaining = iter(axes)
        _draw_losses(next(remaining), losses)
        if scores:
            _draw_score(next(remaining), scores, score_label or str(score), best_step)
        if rates:
            _draw_rate(next(remaining), rates)
        axes[-1].set_xlabel("Step")
        axes[-1].margins(x=0.01)
        drawn.align_ylabels()
        caption = _caption(losses, bool(scores), bool(rates), best_step)
        return _style.to_figure(drawn, caption, _alt(losses, scores, score_label or score))


def read_curves(metrics: Sequence[Mapping[str, Any]], name: str) -> dict[str, Curve]:
    """Steps and finite values of a name by split, in order of steps; training first."""
    points: dict[str, list[tuple[int, float]]] = {}
    for row in metrics:
        value = row.get(name)
        if "step" in row and isinstance(value, int | float | np.number) and math.isfinite(value):
            points.setdefault(str(row.get("split", "train")), []).append((int(row["step"]), float(value)))
    splits = sorted(points, key=lambda split: (split != "train", split))
    return {split: _curve(sorted(points[split])) for split in splits}


def _curve(points: list[tuple[int, float]]) -> Curve:
    return np.array([step for step, _ in points]), np.array([value for _, value in points])


def _draw_losses(axes: "Axes", losses: Mapping[str, Curve]) -> None:
    for number, (split, (steps, values)) in enumerate(losses.items()):
        colour = _style.MUTED if split == "train" else _style.source_colour(number - ("train" in losses))
        marker = "o" if len(steps) <= 40 else ""
        if len(steps) > 60:
            axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
            values, marker = _running_median(values, len(values) // 40), ""
        axes.plot(steps, values, color=colour, marker=marker, markersize=3.2, label=_name(split))
    everything = np.concatenate([values for _, values in losses.values()])
    if everything.min() > 0 and everything.max() >= 10 * everything.min():
        axes.set_yscale("log")
        _plain_log_ticks(axes)
    axes.set_title("Loss")
    if len(losses) > 1:
        _style.legend(axes)


def _draw_score(axes: "Axes", scores: Mapping[str, Curve], label: str, best_step: int | None) -> None:
    for number, (split, (steps, values)) in enumerate(scores.items()):
        colour = _style.source_colour(number)
        axes.plot(
            steps,
            values,
            color=colour,
            marker="o" if len(steps) <= 40 else "",
            markersize=3.2,
            label=_name(split),
        )
        if best_step is not None and best_step in steps:
            best = values[np.flatnonzero(steps == best_step)[0]]
            axes.plot(
                [best_step],
                [best],
                marker="o",
                markersize=9,
                fillstyle="none",
                color=_style.INK,
                linestyle="",
            )
            # On the side where the curve has room: scores of which less is better have it above.
            above = best < np.median(values)
            axes.annotate(
                f"{best:.2f}", (best_step, best), xytext=(0, 8 if above else -15), textcoords="offset points",
                ha="center", color=_style.INK,
            )  # fmt: skip
    axes.set_title(label)
    axes.margins(y=0.18)
    if len(scores) > 1:
        _style.legend(axes)


def _draw_rate(axes: "Axes", rates: Mapping[str, Curve]) -> None:
    for steps, values in rates.values():
        axes.plot(steps, values, color=_style.MUTED)
    axes.set_title("Learning rate")
    highest = max(values.max() for _, values in rates.values())
    axes.set_yticks([0, highest], ["0", f"{highest:.2g}"])


def _plain_log_ticks(axes: "Axes") -> None:
    """Ticks at 1, 2 and 5 times the powers of ten, written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _running_median(values: np.ndarray, half: int) -> np.ndarray:
    """The median of each value and its ``half`` neighbours on either side, fewer at the ends."""
    half = max(half, 1)
    return np.array([np.median(values[max(i - half, 0) : i + half + 1]) for i in range(len(values))])


def _name(split: str) -> str:
    return {"train": "Training", "validation": "Validation", "valid": "Validation", "test": "Test"}.get(split, split)


def _caption(losses: Mapping[str, Curve], scores: bool, rates: bool, best_step: int | None) -> str:
    shown = ["loss", *(["validation score"] if scores else []), *(["learning rate"] if rates else [])]
    text = f"The training run, step by step: {', '.join(shown)}."
    if any(len(steps) > 60 for steps, _ in losses.values()):
        text += " The pale line is the loss of single steps, the solid one its running median."
    if scores and best_step is not None:
        text += " The circle marks the model that was kept."
    return text


def _alt(losses: Mapping[str, Curve], scores: Mapping[str, Curve], score_label: str | None) -> str:
    parts = [
        f"{_name(split)} loss goes from {values[0]:.4g} at step {steps[0]} to {values[-1]:.4g} at step {steps[-1]}."
        for split, (steps, values) in losses.items()
    ]
    for split, (steps, values) in scores.items():
        parts.append(
            f"{score_label} ({_name(split).lower()}) goes from {values[0]:.2f} at step {steps[0]} "
            f"to {values[-1]:.2f} at step {steps[-1]}."
        )
    return " ".join(["Line charts over training steps.", *parts])
