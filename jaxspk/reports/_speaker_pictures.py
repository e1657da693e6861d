"""Pictures of speaker embeddings: where recordings lie, and how training moved them apart."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Float64

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.reports import _style
from jaxspk.reports._blocks import Figure
from jaxspk.reports._curves import Curve, read_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = ("o", "^", "s", "D", "v", "P")
_GOLDEN_ANGLE = 0.381966
_FEWEST_FOR_TSNE = 10

_HOW = {
    "tsne": "laid out by t-SNE (scikit-learn, cosine distance), which keeps neighbours together; distances between "
    "groups say nothing",
    "pca": "in the plane of their first two principal components",
}


def speaker_map(
    vectors: Float[np.ndarray, "recordings dim"],
    speakers: Sequence[str],
    *,
    kinds: Sequence[str] | None = None,
    method: Literal["tsne", "pca"] = "tsne",
    seed: int = 0,
    caption: str = "",
) -> Figure:
    """Recordings in two dimensions, in the colour of their speaker and joined to the speaker's middle and name.

    Args:
      vectors: one a recording.
      speakers: who speaks in each.
      kinds: something else about each, such as its corpus, shown by the shape of the point.
      method: t-SNE, or principal components; fewer than ten recordings are shown by the latter.
      seed: of t-SNE.
      caption: replaces the standard one.

    Raises:
      ArgumentError: the arguments differ in length, there are fewer than three recordings, or no such method.
      MissingExtraError: matplotlib is not installed.
    """
    _checks.check_choice("method", method, _HOW)
    if len(vectors) < 3 or len(speakers) != len(vectors) or (kinds is not None and len(kinds) != len(vectors)):
        raise ArgumentError(
            f"`vectors`, `speakers` and `kinds` must have one entry a recording, at least three, got {len(vectors)}, "
            f"{len(speakers)} and {len(kinds) if kinds is not None else 'none'}."
        )
    method = "pca" if len(vectors) < _FEWEST_FOR_TSNE else method
    points = _laid_out(np.asarray(vectors, np.float64), method, seed)
    names = sorted(set(speakers))
    colours = dict(zip(names, _colours(len(names)), strict=True))
    shapes = sorted(set(kinds)) if kinds is not None else [""]
    of_each = np.array(kinds if kinds is not None else [""] * len(points))
    with _style.drawing(9.0, 7.0) as drawn:
        axes = drawn.subplots()
        for shape, marker in zip(shapes, _MARKERS * len(shapes), strict=False):
            chosen = np.flatnonzero(of_each == shape)
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=26,
                marker=marker,
                c=[colours[speakers[int(at)]] for at in chosen],
                linewidths=0,
                alpha=0.85,
            )
        own = np.array(speakers)
        for name in names:
            members = points[own == name]
            middle = np.median(members, axis=0)
            rays = np.stack([np.broadcast_to(middle, members.shape), members, np.full_like(members, np.nan)], axis=1)
            axes.plot(*rays.reshape(-1, 2).T, color=colours[name], linewidth=0.7, alpha=0.5, zorder=0)
            axes.annotate(
                name,
                (float(middle[0]), float(middle[1])),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=_style.MUTED,
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        if len(shapes) > 1:
            _shape_legend(axes, shapes)
        return _style.to_figure(
            drawn,
            caption
            or f"{len(points)} recordings of {len(names)} speakers, coloured by speaker, {_HOW[method]}."
            + (f" Shapes: {', '.join(shapes)}." if len(shapes) > 1 else ""),
            f"Scatter plot of {len(points)} embeddings of {len(names)} speakers, {_HOW[method]}.",
        )


def distance_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """How often the speakers of a batch are told apart, and how far apart they are, against the step.

    Args:
      metrics: rows of ``metrics.jsonl`` with "accuracy", "within" and "between" of training, and "spread" of
        validation, as far as they are there.

    Raises:
      ArgumentError: no row has an accuracy.
      MissingExtraError: matplotlib is not installed.
    """
    accuracy = read_curves(metrics, "accuracy").get("train")
    if accuracy is None:
        raise ArgumentError("`metrics` has no row with `step` and a finite `accuracy`; there is nothing to draw.")
    distances = {
        label: curves[split]
        for label, name, split in (
            ("Two speakers", "between", "train"),
            ("One speaker", "within", "train"),
            ("All validation recordings", "spread", "validation"),
        )
        if split in (curves := read_curves(metrics, name))
    }
    with _style.drawing(9.0, 4.0 if distances else 2.2) as drawn:
        axes = drawn.subplots(1 + bool(distances), 1, sharex=True, squeeze=False)[:, 0]
        _plot(axes[0], accuracy, _style.MUTED)
        axes[0].set_title("Speakers of a batch told apart (share)")
        axes[0].set_ylim(0, 1.03)
        if distances:
            for number, (label, curve) in enumerate(distances.items()):
                _plot(axes[1], curve, _style.source_colour(number), label=label)
            axes[1].set_title("Mean cosine distance")
            axes[1].set_ylim(bottom=0)
            _style.legend(axes[1])
        axes[-1].set_xlabel("Step")
        axes[-1].margins(x=0.01)
        ends = ". ".join(f"{label}: {curve[1][-1]:.3f}" for label, curve in distances.items())
        return _style.to_figure(
            drawn,
            "Share of the training utterances that the objective gives to their speaker, without any margin, and the "
            "mean cosine distance of two utterances: of one speaker, of two, and of any two validation recordings "
            "(near 0 the embeddings would have collapsed).",
            f"Line charts over training steps. At the end: accuracy {accuracy[1][-1]:.3f}. Distances: {ends}.",
        )


def _plot(axes: "Axes", curve: Curve, colour: str, *, label: str | None = None) -> None:
    steps, values = curve
    axes.plot(steps, values, color=colour, label=label, marker="o" if len(steps) <= 40 else "", markersize=3.2)


def _laid_out(vectors: Float64[np.ndarray, "recordings dim"], method: str, seed: int) -> np.ndarray:
    if method == "pca":
        centred = vectors - vectors.mean(0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        plane: np.ndarray = (left * sizes)[:, :2]
        # Directions have no sign: the largest entry is made positive, so that the same data give the same picture.
        plane = plane * np.where(plane[np.abs(plane).argmax(0), np.arange(plane.shape[1])] < 0, -1, 1)
        return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    perplexity = min(15.0, (len(vectors) - 1) / 3)
    layout = TSNE(metric="cosine", perplexity=perplexity, init="random", random_state=seed, max_iter=750)
    # Threads wait for each other at each of many short steps: on busy cores ten times as long.
    with threadpool_limits(1):
        placed: np.ndarray = layout.fit_transform(vectors)
    return placed


def _colours(count: int) -> list[str]:
    """Hues that neighbours in the alphabet do not share, in two lightnesses that show on either paper."""
    found = []
    for number in range(count):
        red, green, blue = colorsys.hls_to_rgb((number * _GOLDEN_ANGLE) % 1, 0.46 + 0.12 * (number % 2), 0.62)
        found.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return found


def _shape_legend(axes: "Axes", shapes: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=marker, markersize=6, color=_style.MUTED, label=shape)
        for shape, marker in zip(shapes, _MARKERS * len(shapes), strict=False)
    ]
    _style.legend(axes, handles)
