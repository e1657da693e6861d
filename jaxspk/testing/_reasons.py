"""Why some planted mistakes change nothing: each kind that was met, with its reason."""

import fnmatch
from collections.abc import Sequence

_SHIFT = "a softmax does not change when all scores move together, so the bias has gradient 0"

_REASONS: Sequence[tuple[str, str, str]] = (
    ("*", "one coordinate*", "the gradient is 0 at every input where the mistake shows"),
    ("*", "equal rows share their gradient", "equal rows have equal gradients, or no slope exists where rows tie"),
    ("mean_distance", "*row*", "every frame has the same gradient, and the order of frames does not matter"),
    ("*prototypical_loss", "differentiable argument *", _SHIFT),
    ("*prototypical_loss", "`bias` not multiplied in", _SHIFT),
    ("ge2e_softmax_loss", "differentiable argument 2*", _SHIFT),
    ("ge2e_softmax_loss", "`bias` not multiplied in", _SHIFT),
)
"""Patterns of function and mistake, and the reason; the first that fits counts."""


def reason_for(function: str, kind: str) -> str | None:
    """Why a mistake that changed nothing is none; None where nobody has said."""
    for functions, kinds, reason in _REASONS:
        if fnmatch.fnmatchcase(function, functions) and fnmatch.fnmatchcase(kind, kinds):
            return reason
    return None
