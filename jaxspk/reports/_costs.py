"""Pictures of what a computation costs."""

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


def _in_words(lengths: Sequence[int | float], costs: Mapping[str, Sequence[int | float]], length_label: str) -> str:
    words = [
        f"{label} {', '.join(f'{value:.3g} at {length:g}' for length, value in zip(lengths, values, strict=True))}."
        for label, values in costs.items()
    ]
    return f"Curves over {length_label}: {' '.join(words)}"
