"""Why some planted mistakes change nothing: each kind that was met, with its reason."""

import fnmatch
from collections.abc import Sequence

_REASONS: Sequence[tuple[str, str, str]] = (
    ("*", "one coordinate*", "the gradient of every input where the mistake shows is zero"),
)
"""Patterns of function and mistake, and the reason; the first that fits counts."""


def reason_for(function: str, kind: str) -> str | None:
    """Why a mistake that changed nothing is none; None where nobody has said."""
    for functions, kinds, reason in _REASONS:
        if fnmatch.fnmatchcase(function, functions) and fnmatch.fnmatchcase(kind, kinds):
            return reason
    return None
