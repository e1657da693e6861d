"""Pictures of what a computation costs."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxspk.errors import ArgumentError
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure


def costs_by_length(
    lengths: Sequence[int | float],
    costs: Mapping[str, Sequence[int | float]],
    *,
    bounds: Mapping[str, int | float] | None = None,
    length_label: str = "Length of the recording (min)",
    caption: str = "",
) -> Figure:
    """What something costs against the length of its input: a panel a cost, side by side, over a logarithmic axis.

    Args:
      lengths: positive, ascending, at least one.
      costs: by label with unit, such as ``"Peak memory (MB)"``; one number a length.
      bounds: by the label of a cost, what it must stay below; drawn as a line.
      length_label: of the axis all panels share.
      caption: below the picture.

    Raises:
      ArgumentError: there is no cost or no length, lengths are not positive and ascending, or numbers are missing.
      MissingExtraError: matplotlib is not installed.
    """
    if not costs or not lengths:
        raise ArgumentError("`lengths` and `costs` must not be empty.")
    if min(lengths) <= 0 or sorted(set(lengths)) != list(lengths):
        raise ArgumentError(f"`lengths` must be positive and ascending, got {list(lengths)}.")
    for label, values in costs.items():
        if len(values) != len(lengths) or not np.isfinite(values).all():
            raise ArgumentError(f"`costs[{label!r}]` must hold {len(lengths)} finite numbers, got {list(values)}.")
    with _style.drawing(9.0, 2.9) as drawn:
        panels = drawn.subplots(1, len(costs), squeeze=False)[0]
        for number, (axes, (label, values)) in enumerate(zip(panels, costs.items(), strict=True)):
            bound = (bounds or {}).get(label)
            axes.plot(lengths, values, "o-", color=_style.source_colour(number), markersize=4.5, clip_on=False)
            if bound is not None:
                axes.axhline(bound, color=_style.MUTED, linestyle=(0, (4, 3)), linewidth=1.0)
                axes.annotate(
                    f"allowed: {bound:g}", (lengths[0], bound), (0, 4), textcoords="offset points", color=_style.MUTED
                )
            axes.set_title(label)
            axes.set_ylim(0, 1.15 * max(*values, bound or 0.0))
            axes.set_xscale("log")
            axes.set_xticks(lengths, [f"{length:g}" for length in lengths])
            axes.minorticks_off()
            axes.set_xlabel(length_label)
        return _style.to_figure(drawn, caption, _in_words(lengths, costs, length_label))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Growth:
    """Seconds of some work by its size, and the power of the size that they should grow with."""

    name: str
    size_label: str
    sizes: Sequence[int]
    seconds: Sequence[float]
    power: int

    @property
    def ideal(self) -> list[float]:
        """Seconds, had they grown by this power from the largest size downwards."""
        return [self.seconds[-1] * (size / self.sizes[-1]) ** self.power for size in self.sizes]


def growth_curves(growths: Sequence[Growth], *, caption: str = "") -> Figure:
    """Time against size on logarithmic axes, a panel a kind of work, the ideal dashed.

    The ideal is anchored at the largest size, where what every run costs whatever its size weighs least.

    Raises:
      ArgumentError: there is nothing to draw, or sizes are not positive and ascending.
      MissingExtraError: matplotlib is not installed.
    """
    if not growths:
        raise ArgumentError("`growths` must not be empty.")
    for growth in growths:
        if len(growth.sizes) != len(growth.seconds) or min(growth.sizes) <= 0 or min(growth.seconds) <= 0:
            raise ArgumentError(f"`growths` must have a positive time a positive size, {growth.name!r} has not.")
        if sorted(set(growth.sizes)) != list(growth.sizes):
            raise ArgumentError(f"`growths` must have ascending sizes, {growth.name!r} has {list(growth.sizes)}.")
    rows = -(-len(growths) // 3)
    with _style.drawing(9.0, 2.9 * rows) as drawn:
        panels = drawn.subplots(rows, min(len(growths), 3), squeeze=False).ravel()
        for axes, growth in zip(panels, growths, strict=False):
            milliseconds, ideal = ([1e3 * second for second in values] for values in (growth.seconds, growth.ideal))
            kind = {0: "constant", 1: "linear", 2: "quadratic"}.get(growth.power, f"power {growth.power}")
            axes.plot(growth.sizes, ideal, color=_style.MUTED, linestyle=(0, (4, 3)), linewidth=1.0, label=kind)
            axes.plot(growth.sizes, milliseconds, "o-", color=_style.source_colour(0), markersize=4.5, label="measured")
            axes.set_title(growth.name)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(growth.sizes, [f"{size:,}" for size in growth.sizes])
            axes.minorticks_off()
            axes.set_xlabel(growth.size_label)
            axes.set_ylabel("ms")
            axes.legend(loc="upper left")
        for axes in panels[len(growths) :]:
            axes.set_axis_off()
        words = " ".join(
            f"{growth.name} by {growth.size_label}: "
            + ", ".join(
                f"{1e3 * took:.3g} ms at {size}" for size, took in zip(growth.sizes, growth.seconds, strict=True)
            )
            + "."
            for growth in growths
        )
        return _style.to_figure(drawn, caption, words)


def _in_words(lengths: Sequence[int | float], costs: Mapping[str, Sequence[int | float]], length_label: str) -> str:
    words = [
        f"{label} {', '.join(f'{value:.3g} at {length:g}' for length, value in zip(lengths, values, strict=True))}."
        for label, values in costs.items()
    ]
    return f"Curves over {length_label}: {' '.join(words)}"
