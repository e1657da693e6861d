"""What a comparison is, and how two sides are timed against each other.

A comparison is a file of this package that defines ``COMPARISON``; see ``bss_eval.py`` for a short one. Both sides run
in the same process, turn by turn, so that a busy machine slows both; what counts is the ratio of each turn.
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Run = Callable[[], Any]
"""Does the work once; what it returns is waited for."""

_FEWEST_TURNS, _MOST_TURNS = 5, 100
_SHORTEST_SECONDS = 0.005
"""Shorter runs are repeated within a turn, above the noise of the clock."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """Another implementation of the same work."""

    name: str
    prepare: Callable[[], Run]
    """Imports what it needs and returns the work. Where that is not installed (ImportError) the peer is skipped."""
    at_least: float | None = None
    """How many times faster than it we have to be."""
    aim: float | None = None
    """How many times faster we want to be."""
    install: str = "pip install 'jaxspk[peers]'"
    """How to get it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One piece of work, done by us and by peers."""

    name: str
    ours: Run
    peers: Sequence[Peer]
    check: Callable[[Any, Any], None] | None = None
    """Raises AssertionError where our result and a peer's are not the same: a fast wrong answer is no answer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A number that is not a ratio of times: a bandwidth, a peak of memory."""

    name: str
    measure: Callable[[], float]
    unit: str
    at_least: float | None = None
    at_most: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that one file compares."""

    title: str
    cases: Callable[[], Sequence[Case]]
    """Makes the inputs; called in the process that times."""
    figures: Callable[[], Sequence[Figure]] = tuple
    threads: int | None = None
    """Threads of each side; ``None`` is all cores."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        lower, median, upper = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(lower), float(upper))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table. ``skipped`` gives the reason where there is nothing else."""

    name: str
    peer: str | None = None
    skipped: str | None = None
    ours_seconds: Spread | None = None
    peer_seconds: Spread | None = None
    ratio: Spread | None = None
    turns: int = 0
    value: float | None = None
    unit: str | None = None
    at_least: float | None = None
    aim: float | None = None
    at_most: float | None = None

    @property
    def missed(self) -> bool:
        """Whether a required number was measured and not reached."""
        measured = self.ratio.median if self.ratio else self.value
        if measured is None:
            return False
        return bool(
            (self.at_least is not None and measured < self.at_least)
            or (self.at_most is not None and measured > self.at_most)
        )


def measure(comparison: Comparison, *, seconds: float) -> Iterator[Result]:
    """Every row of a comparison, as soon as it is known.

    Args:
      comparison: what to compare.
      seconds: time for each pair of sides, about; at least 5 turns are taken whatever they cost.
    """
    pairs = [(case, peer) for case in comparison.cases() for peer in case.peers]
    for case, peer in pairs:
        try:
            theirs = peer.prepare()
        except ImportError as error:
            missing = error.name or str(error)
            yield Result(name=case.name, peer=peer.name, skipped=f"{missing} is not installed: {peer.install}")
            continue
        if case.check is not None:
            case.check(case.ours(), theirs())
        ours_seconds, peer_seconds = _take_turns(case.ours, theirs, seconds)
        ratios = [theirs / ours for ours, theirs in zip(ours_seconds, peer_seconds, strict=True)]
        yield Result(
            name=case.name,
            peer=peer.name,
            ours_seconds=Spread.of(ours_seconds),
            peer_seconds=Spread.of(peer_seconds),
            ratio=Spread.of(ratios),
            turns=len(ratios),
            at_least=peer.at_least,
            aim=peer.aim,
        )
    for figure in comparison.figures():
        yield Result(
            name=figure.name,
            value=float(figure.measure()),
            unit=figure.unit,
            at_least=figure.at_least,
            at_most=figure.at_most,
        )


def best_seconds(run: Run, turns: int = 10) -> float:
    """The shortest of several runs, after one to warm up: for figures that are no ratios."""
    return min([_time(run, 1) for _ in range(turns + 1)][1:])


def _take_turns(ours: Run, theirs: Run, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of each run on both sides, turn by turn, the first alternating."""
    sides = (ours, theirs)
    for run in sides:
        _time(run, 1)  # Compiles, fills caches.
    repeats = [max(1, round(_SHORTEST_SECONDS / max(_time(run, 1), 1e-9))) for run in sides]
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    for turn in itertools.count():
        if turn >= _MOST_TURNS or (turn >= _FEWEST_TURNS and time.perf_counter() > end):
            return times
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            times[side].append(_time(sides[side], repeats[side]))
    raise AssertionError("unreachable")


def _time(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        result = run()
    if "jax" in sys.modules:
        # JAX returns before it has computed.
        sys.modules["jax"].block_until_ready(result)
    return (time.perf_counter() - start) / repeats
