"""Pictures of a separation: spectrogram and masks, and the embeddings they come from."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Num

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 3000
"""Embeddings drawn at most; more would only hide each other."""

LEVEL_STEP, SHARE_STEPS = 2.0, 8
"""Levels are drawn in steps of so many dB, shares of soft masks in such parts of one: few colours make small files."""

FRAMES = 700
"""Columns of a time-frequency picture at most: two for each point of the screen."""


def separation_panel(
    mixture_db: Float[np.ndarray, "frames bins"],
    ideal_masks: Num[np.ndarray, "sources frames bins"],
    estimated_masks: Num[np.ndarray, "sources frames bins"],
    *,
    sample_rate: int,
    hop_length: int,
    active: Bool[np.ndarray, "frames bins"] | None = None,
    floor_db: float = 60.0,
    caption: str = "",
) -> Figure:
    """Mixture spectrogram, ideal masks, estimated masks, and the bins given to the wrong source.

    Args:
      mixture_db: level of the mixture in dB, any reference; bins from 0 to half the sampling rate.
      ideal_masks: one-hot or soft masks of the references, in [0, 1].
      estimated_masks: masks of the estimates **in the order of the references**, in [0, 1].
      sample_rate: in Hz.
      hop_length: samples from one frame to the next.
      active: bins loud enough to count; by default those less than ``floor_db`` under the maximum. Others are
        left blank in the masks.
      floor_db: the range of levels drawn, below the maximum.
      caption: replaces the standard one.

    Raises:
      ArgumentError: the shapes differ, a value is not finite, or there is no source.
      MissingExtraError: matplotlib is not installed.
    """
    _checks.check_shape("estimated_masks", estimated_masks, ideal_masks.shape, "that of ideal_masks")
    _checks.check_shape("mixture_db", mixture_db, ideal_masks.shape[1:], "the frames and bins of ideal_masks")
    for name, array in (
        ("mixture_db", mixture_db),
        ("ideal_masks", ideal_masks),
        ("estimated_masks", estimated_masks),
    ):
        if not array.size or not np.isfinite(array).all():
            raise ArgumentError(
                f"`{name}` must be finite and not empty, got shape {array.shape}; -inf dB: use a floor."
            )
    levels = mixture_db - mixture_db.max()
    counted = levels > -floor_db if active is None else active
    _checks.check_shape("active", counted, mixture_db.shape, "that of mixture_db")
    wrong = (ideal_masks.argmax(0) != estimated_masks.argmax(0)) & counted
    share = wrong.sum() / max(counted.sum(), 1)
    seconds, kilohertz = len(levels) * hop_length / sample_rate, sample_rate / 2000
    # Counted before, drawn after: a long recording shows every second or third frame.
    shown = np.s_[:: -(-len(levels) // FRAMES)]
    levels, counted, wrong = levels[shown], counted[shown], wrong[shown]
    ideal_masks, estimated_masks = ideal_masks[:, shown], estimated_masks[:, shown]
    with _style.drawing(9.0, 5.0) as drawn:
        grid = drawn.subplots(2, 2, sharex=True, sharey=True)
        extent = (0.0, seconds, 0.0, kilohertz)
        spectrogram = _show(
            grid[0, 0],
            "Mixture",
            np.round(levels / LEVEL_STEP) * LEVEL_STEP,
            extent,
            cmap="magma",
            vmin=-floor_db,
            vmax=0,
        )
        _show(grid[0, 1], "Ideal mask", _mask_image(ideal_masks, counted), extent)
        _show(grid[1, 0], "Estimated mask", _mask_image(estimated_masks, counted), extent)
        _show(
            grid[1, 1],
            f"Wrong source: {share:.1%} of the bins".replace("%", " %"),
            _error_image(wrong, counted),
            extent,
        )
        for axes in grid[1]:
            axes.set_xlabel("Time (s)")
        for axes in grid[:, 0]:
            axes.set_ylabel("Frequency (kHz)")
        _level_bar(grid[0, 0], spectrogram, floor_db)
        _source_legend(grid[0, 1], len(ideal_masks))
        return _style.to_figure(
            drawn,
            caption
            or "Level of the mixture in each time-frequency bin, the source that dominates it, the source it "
            "was given to, and where these two differ. Bins too soft to count are left blank.",
            f"Four time-frequency pictures of {seconds:.1f} s of a mixture of {len(ideal_masks)} sources: "
            f"spectrogram, ideal mask, estimated mask, and errors. {share:.1%} of the bins that count went "
            "to the wrong source.",
        )


def embedding_scatter(
    embeddings: Float[np.ndarray, "points dim"],
    assignments: Num[np.ndarray, "points sources"],
    weights: Num[np.ndarray, " points"] | None = None,
    *,
    centers: Float[np.ndarray, "clusters dim"] | None = None,
    labels: tuple[str, ...] | None = None,
    seed: int = 0,
    caption: str = "",
) -> Figure:
    """Embeddings of time-frequency bins in their first two principal components, coloured by the true source.

    The components are those of the weighted covariance of all bins of positive weight; at most ``POINTS`` of
    them, drawn at random with the weights as probabilities, are shown.

    Args:
      embeddings: one vector per bin.
      assignments: one-hot or soft; a bin has the colour of its largest entry.
      weights: non-negative; ``None`` is one everywhere; 0 leaves a bin out.
      centers: the centres that k-means found, marked with crosses.
      labels: names of the sources for the legend.
      seed: of the choice of bins.
      caption: replaces the standard one.

    Raises:
      ArgumentError: the arguments differ in the number of bins, or fewer than three bins have a positive
        weight.
      MissingExtraError: matplotlib is not installed.
    """
    _checks.check_same_axes_but_last("embeddings", embeddings, "assignments", assignments)
    weights = np.ones(len(embeddings)) if weights is None else weights.astype(np.float64)
    _checks.check_shape("weights", weights, embeddings.shape[:1], "one per bin")
    if np.count_nonzero(weights > 0) < 3:
        raise ArgumentError("`weights` must be positive for at least three bins; there is nothing to draw.")
    mean, axes_of, shares = _principal_components(embeddings.astype(np.float64), weights)
    chosen = np.random.default_rng(seed).choice(
        len(weights),
        size=min(POINTS, int(np.count_nonzero(weights))),
        replace=False,
        p=weights / weights.sum(),
    )
    points = (embeddings[chosen] - mean) @ axes_of.T
    sources = assignments[chosen].argmax(-1)
    names = labels or tuple(f"Source {number + 1}" for number in range(assignments.shape[-1]))
    with _style.drawing(9.0, 4.6) as drawn:
        axes = drawn.subplots()
        colours = np.array([_style.source_colour(number) for number in range(len(names))])
        # One call, so that no source is drawn over another: the order of the points is random.
        axes.scatter(points[:, 0], points[:, 1], s=7, c=colours[sources], alpha=0.45, linewidths=0, rasterized=True)
        if centers is not None:
            at = (centers - mean) @ axes_of.T
            axes.scatter(at[:, 0], at[:, 1], s=95, marker="X", c=_style.INK, edgecolors=_style.PAPER, linewidths=1.2)
        axes.set_xlabel(f"First principal component ({shares[0]:.0%} of the variance)".replace("%", " %"))
        axes.set_ylabel(f"Second component ({shares[1]:.0%})".replace("%", " %"))
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(True, axis="both")
        axes.set_title("Embeddings of the bins")
        _source_legend(axes, len(names), names, extra="Centre of a cluster" if centers is not None else "")
        return _style.to_figure(
            drawn,
            caption
            or f"Embeddings of {len(chosen):,} bins ({embeddings.shape[1]} dimensions) in the plane of their "
            "first two principal components, coloured by the source that dominates the bin.",
            f"Scatter plot of {len(chosen)} embeddings of {len(names)} sources in their first two principal "
            f"components, which hold {shares[0]:.0%} and {shares[1]:.0%} of the variance.",
        )


def _show(
    axes: "Axes", title: str, image: np.ndarray, extent: tuple[float, float, float, float], **settings: Any
) -> Any:
    """Draws [frames, bins, …] with time to the right and frequency upwards, pixel by pixel."""
    # A fixed height: above an inset, matplotlib would lift it.
    axes.set_title(title, y=1.0)
    axes.grid(False)
    return axes.imshow(
        image.swapaxes(0, 1), origin="lower", aspect="auto", extent=extent, interpolation="none", **settings
    )


def _mask_image(masks: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The sources' colours mixed in the proportions of the masks; what does not count is transparent."""
    total = masks.sum(0, keepdims=True)
    shares = np.round(SHARE_STEPS * masks / np.where(total > 0, total, 1)) / SHARE_STEPS
    colours = np.array([_rgb(_style.source_colour(number)) for number in range(len(masks))])
    image = np.concatenate([np.einsum("sfb,sc->fbc", shares, colours).clip(0, 1), counted[..., None]], -1)
    # What is not seen need not differ either.
    return np.where(counted[..., None], image, 0.0)


def _error_image(wrong: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Wrong bins red, right ones a pale grey that shows on either paper."""
    image = np.zeros((*wrong.shape, 4))
    image[counted] = (0.5, 0.54, 0.58, 0.25)
    image[wrong] = (*_rgb("#e0245e"), 1.0)
    return image


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def _level_bar(axes: "Axes", image: Any, floor_db: float) -> None:
    """The colours of the levels, on the line of the title."""
    place = axes.inset_axes((0.6, 1.065, 0.28, 0.045))
    bar = axes.figure.colorbar(image, cax=place, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_ticks([])
    for across, side, text in ((-0.03, "right", f"−{floor_db:g}"), (1.03, "left", "0 dB")):
        place.text(across, 0.45, text, ha=side, va="center", transform=place.transAxes)


def _source_legend(axes: "Axes", number: int, names: tuple[str, ...] | None = None, extra: str = "") -> None:
    from matplotlib.lines import Line2D

    names = names or tuple(f"Source {index + 1}" for index in range(number))
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=6, color=_style.source_colour(index), label=name)
        for index, name in enumerate(names)
    ]
    if extra:
        handles.append(Line2D([], [], linestyle="", marker="X", markersize=7, color=_style.INK, label=extra))
    _style.legend(axes, handles, ncols=max(len(handles), 1))


def _principal_components(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean, the first two principal directions [2, dim], and their shares of the variance."""
    scaled = weights / weights.sum()
    mean = scaled @ points
    centred = points - mean
    covariance = centred.T @ (scaled[:, None] * centred)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1].clip(0), directions[:, ::-1].T
    if len(directions) == 1:
        variances, directions = np.append(variances, 0), np.concatenate([directions, np.zeros((1, 1))])
    # Eigenvectors have no sign: the largest entry is made positive, so that the same data give the same
    # picture.
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    directions = directions * np.where(largest < 0, -1, 1)
    return mean, directions[:2], variances[:2] / max(variances.sum(), np.finfo(float).tiny)
