"""Results as a line of text, as Markdown and as JSON."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks._frame import Result, Spread

_COLUMNS = ("case", "against", "ours", "theirs", "times faster", "required")


def describe(result: Result) -> str:
    """One line."""
    case, against, ours, theirs, ratio, required = _row(result)
    if result.skipped:
        return f"{case}: against {against} SKIPPED, {result.skipped}"
    verdict = f" ({required})" if required else ""
    if result.peer is None:
        return f"{case}: {ours}{verdict}"
    return f"{case}: {ratio} times faster than {against}, {ours} against {theirs}{verdict}"


def to_markdown(
    provenance: Iterable[tuple[str, str]], results: Mapping[str, tuple[str, Sequence[Result]]], seconds: float
) -> str:
    """A page: where the numbers come from, and a table a comparison.

    Args:
      provenance: names and texts.
      results: of each file its title and rows.
      seconds: time given to each pair of sides.
    """
    lines = [
        "# Benchmarks",
        "",
        f"Both sides in one process, turn by turn, about {seconds:g} s a pair after warm-up. Median, in brackets the "
        "quartiles; the ratio is taken turn by turn.",
        "",
        *(f"- {name}: {text}" for name, text in provenance),
    ]
    for name, (title, rows) in results.items():
        lines += ["", f"## {title}", "", f"`python -m benchmarks {name}`", ""]
        lines += [_markdown_row(_COLUMNS), _markdown_row(["---"] * len(_COLUMNS))]
        lines += [_markdown_row(_row(row)) for row in rows]
    return "\n".join(lines) + "\n"


def to_json(
    provenance: Iterable[tuple[str, str]], results: Mapping[str, tuple[str, Sequence[Result]]], seconds: float
) -> str:
    """The same, with all digits."""
    comparisons: dict[str, Any] = {
        name: {"title": title, "results": [dataclasses.asdict(row) for row in rows]}
        for name, (title, rows) in results.items()
    }
    return json.dumps({**dict(provenance), "seconds": seconds, "comparisons": comparisons}, indent=2) + "\n"


def from_json(row: Mapping[str, Any]) -> Result:
    """The inverse of ``dataclasses.asdict``."""
    spreads = {key: Spread(**row[key]) for key in ("ours_seconds", "peer_seconds", "ratio") if row[key] is not None}
    return Result(**{**row, **spreads})


def _row(result: Result) -> tuple[str, ...]:
    required = ", ".join(
        f"{word} {bound:g}"
        for word, bound in (("at least", result.at_least), ("aim", result.aim), ("at most", result.at_most))
        if bound is not None
    )
    if required and not result.skipped:
        required += ": MISSED" if result.missed else ": reached"
    if result.skipped:
        return result.name, result.peer or "", "skipped", "", "", required
    if result.ratio and result.ours_seconds and result.peer_seconds:
        times = _milliseconds(result.ours_seconds), _milliseconds(result.peer_seconds)
        return result.name, result.peer or "", *times, _spread(result.ratio), required
    return result.name, "", f"{result.value:.3g} {result.unit}", "", "", required


def _milliseconds(seconds: Spread) -> str:
    return f"{_spread(Spread(*(1000 * value for value in dataclasses.astuple(seconds))))} ms"


def _spread(spread: Spread) -> str:
    return f"{spread.median:.3g} [{spread.lower:.3g}, {spread.upper:.3g}]"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
