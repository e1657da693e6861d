"""Wrong formulas, loss by loss: misprints of the sources, misreadings of them, and slips people make.

The gradient of a loss with a slip in it is what somebody who made the slip would ship.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jaxspk.testing import _wrong_losses as wrong
from jaxspk.testing._claims import rules_of
from jaxspk.testing._examples import Example, Vector
from jaxspk.testing._kinds import Kind
from jaxspk.testing._scenes import Scene

_LOSSES: Mapping[str, tuple[Callable[..., Any], Mapping[str, str]]] = {
    "deep_clustering_loss": (
        wrong.deep_clustering,
        {
            "target term dropped": "dropped term",
            "own term dropped": "dropped term",
            "diagonal left out": "dropped term",
            "same source only": "dropped term",
            "own affinity stopped": "stopped gradient",
            "unit rows assumed": "misprint",
            "rows scaled by d^-1/2": "misprint",
            "1/d_i across sources": "misprint",
            "silent bins counted": "stale mask",
            "weights left out": "stale mask",
            "weights not multiplied": "missing chain factor",
            "weights squared": "missing chain factor",
            "divided by the sum, not its square": "missing chain factor",
        },
    ),
    "mean_distance": (
        wrong.mean_distance,
        {
            "T-1 for T": "T_B for T_B - 1",
            "both signs plus": "misprint",
            "distance not squared": "missing chain factor",
        },
    ),
    "covariance_distance": (
        wrong.covariance_distance,
        {
            "T for T-1": "T_B for T_B - 1",
            "one of two symmetric terms": "factor 2",
            "mean of the other segment": "misprint",
            "pooled mean": "misprint",
            "not centred": "misprint",
            "both signs plus": "misprint",
            "upper triangle only": "wrong index range",
            "diagonal only": "wrong index range",
            "distance not squared": "missing chain factor",
        },
    ),
    "siamese_discrimination_loss": (
        wrong.discrimination,
        {
            "T for T-1": "T_B for T_B - 1",
            "T-1 for T": "T_B for T_B - 1",
            "one of two symmetric terms": "factor 2",
            "pooled mean": "misprint",
            "not centred": "misprint",
            "both signs plus": "misprint",
            "lambdas exchanged": "transpose",
            "1/lambda forgotten": "missing chain factor",
            "exponent without its minus": "sign",
            "different speakers stopped": "stopped gradient",
            "mean part dropped": "dropped term",
            "covariance part dropped": "dropped term",
        },
    ),
    "siamese_preactivation": (
        wrong.preactivation,
        {
            "sigmoid factor forgotten": "missing chain factor",
            "c for c(1-c)": "missing chain factor",
            "units beyond the code subset": "wrong index range",
            "first unit left out": "wrong index range",
            "T for T-1": "T_B for T_B - 1",
            "T-1 for T": "T_B for T_B - 1",
            "one of two symmetric terms": "factor 2",
            "pooled mean": "misprint",
            "not centred": "misprint",
            "both signs plus": "misprint",
            "1/lambda forgotten": "missing chain factor",
        },
    ),
    "reconstruction_loss": (
        wrong.reconstruction,
        {
            "summed over frames": "missing chain factor",
            "summed over dimensions": "missing chain factor",
            "half the square": "factor 2",
            "absolute error": "missing chain factor",
        },
    ),
    "regularized_siamese_loss": (
        wrong.regularized,
        {
            "T for T-1": "T_B for T_B - 1",
            "pooled mean": "misprint",
            "1/lambda forgotten": "missing chain factor",
            "exponent without its minus": "sign",
            "alpha and 1-alpha exchanged": "transpose",
            "1-alpha forgotten": "misprint",
            "alpha forgotten": "missing chain factor",
            "second reconstruction dropped": "dropped term",
            "reconstructions averaged": "factor 2",
        },
    ),
    "autoembedder_loss": (
        wrong.autoembedder,
        {
            "squared distance": "missing chain factor",
            "cap from below": "misprint",
            "gradient beyond the cap": "stopped gradient",
            "cap of 1": "misprint",
            "labels the wrong way round": "sign",
            "half the square": "factor 2",
        },
    ),
    "contrastive_loss": (
        wrong.contrastive,
        {
            "hinge left open": "wrong index range",
            "margin on the squared distance": "misprint",
            "hinge not squared": "missing chain factor",
            "different speakers stopped": "stopped gradient",
            "distance not squared": "missing chain factor",
            "half of it": "factor 2",
            "not normalised": "missing chain factor",
            "norm stopped": "missing chain factor",
        },
    ),
    "triplet_loss": (
        wrong.triplet,
        {
            "distances not squared": "missing chain factor",
            "negative stopped": "stopped gradient",
            "negative against the positive": "transpose",
            "signs exchanged": "sign",
            "hinge left open": "wrong index range",
            "not normalised": "missing chain factor",
            "norm stopped": "missing chain factor",
        },
    ),
    "softmax_loss": (
        wrong.softmax,
        {
            "target not subtracted": "stopped gradient",
            "only the target": "dropped term",
            "target left out of the sum": "dropped term",
            "bias dropped": "dropped term",
        },
    ),
    "am_softmax_loss": (
        wrong.am_softmax,
        {
            "target not subtracted": "stopped gradient",
            "target left out of the sum": "dropped term",
            "margin added": "sign",
            "margin outside the scale": "misprint",
            "margin on every class": "wrong index range",
            "scale forgotten in the backward pass": "missing chain factor",
            "class weights not normalised": "missing chain factor",
            "norm stopped": "missing chain factor",
        },
    ),
    "aam_softmax_loss": (
        wrong.aam_softmax,
        {
            "target not subtracted": "stopped gradient",
            "target left out of the sum": "dropped term",
            "sine stopped": "stopped gradient",
            "angle less the margin": "sign",
            "margin on the cosine": "misprint",
            "margin on every class": "wrong index range",
            "no second branch": "wrong index range",
            "continuous past pi - m": "misprint",
            "flat past pi - m": "stopped gradient",
            "norm stopped": "missing chain factor",
        },
    ),
    "prototypical_loss": (
        wrong.prototypical,
        {
            "printed without the minus": "misprint",
            "query in the centroid": "misprint",
            "divided by M": "T_B for T_B - 1",
            "centroids stopped": "stopped gradient",
            "last utterance as query": "off by one",
            "distance not squared": "missing chain factor",
            "columns for rows": "transpose",
            "target not subtracted": "stopped gradient",
        },
    ),
    "angular_prototypical_loss": (
        wrong.angular,
        {
            "centroids stopped": "stopped gradient",
            "centroids not normalised": "missing chain factor",
            "query not normalised": "missing chain factor",
            "columns for rows": "transpose",
            "negative cosines floored": "misprint",
            "scale squared": "missing chain factor",
            "bias on the target only": "misprint",
            "norm stopped": "missing chain factor",
            "target not subtracted": "stopped gradient",
        },
    ),
    "ge2e_softmax_loss": (
        wrong.ge2e_softmax,
        {
            "centroids stopped": "stopped gradient",
            "own utterance in its centroid": "misprint",
            "divided by M": "T_B for T_B - 1",
            "no floor": "misprint",
            "norm stopped": "missing chain factor",
            "target not subtracted": "stopped gradient",
        },
    ),
    "ge2e_contrast_loss": (
        wrong.ge2e_contrast,
        {
            "centroids stopped": "stopped gradient",
            "own utterance in its centroid": "misprint",
            "divided by M": "T_B for T_B - 1",
            "sum for the hardest": "misprint",
            "hardest impostor stopped": "stopped gradient",
            "own score dropped": "dropped term",
        },
    ),
}


def formulas_for(name: str, without: Collection[str] = ()) -> list[Kind]:
    """The wrong formulas of one loss, but those named; compiled together, since they share most of their parts."""
    if name not in _LOSSES:
        return []
    slips = {slip: group for slip, group in _LOSSES[name][1].items() if slip not in without}
    together = _Together(name, tuple(slips))
    return [Kind(slip, group, functools.partial(together.gradient, slip)) for slip, group in slips.items()]


def without_slip(name: str) -> Callable[..., Any] | None:
    """The formula that the slips are made in, with none."""
    return _LOSSES[name][0] if name in _LOSSES else None


@dataclasses.dataclass(frozen=True)
class _Together:
    """Several slips of one loss."""

    name: str
    slips: tuple[str, ...]

    def gradient(self, slip: str, scene: Scene) -> Vector | None:
        key = f"slips of {self.name}"
        if key not in scene.found:
            scene.found[key] = self._gradients(scene)
        return scene.found[key].get(slip)

    def _gradients(self, scene: Scene) -> dict[str, Vector]:
        losses = _with_slips(self.name, self.slips)
        parameters = inspect.signature(losses[0]).parameters
        arity = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters.values())
        if any(argument is not None for argument in scene.example.arguments[arity:]):
            return {}  # These formulas know no masks.
        known = {name: value for name, value in scene.example.options.items() if name in parameters}
        example = Example(scene.example.arguments[:arity], known)
        gradients = rules_of(losses, scene.evidence.layout, example, scene.cotangent)
        return dict(zip(self.slips, gradients, strict=True))


@functools.lru_cache(maxsize=64)
def _with_slips(name: str, slips: tuple[str, ...]) -> tuple[Callable[..., Any], ...]:
    # Made once: the compiled gradients are found again by the identity of these functions.
    return tuple(functools.partial(_LOSSES[name][0], slip=slip) for slip in slips)
