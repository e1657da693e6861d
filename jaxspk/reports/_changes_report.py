"""The page of a recording in which the speaker changes: the curve, the changes, and the sound around each."""

import io
import wave
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64

from jaxspk.reports import _style
from jaxspk.reports._blocks import Fact, Facts, Figure
from jaxspk.reports._html import write_report
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Report, Section
from jaxspk.reports._tables import Cell, Table
from jaxspk.reports._timelines import CompressedSound, Lane, Timeline, time_of_day

CHANGES_SAMPLE_RATE = 8000
"""In Hz, of the sound in the page: voices are told apart by ear, and a minute takes a little over a megabyte."""

# A longer recording is opened by the reader and not put into the page.
_LONGEST_SECONDS = 900.0
# What is played of a change: before and after it.
_BEFORE, _AFTER = 2.0, 2.0
_MOST_POINTS, _LEVELS = 2000, 600


@runtime_checkable
class _Changes(Protocol):
    """What :class:`jaxspk.systems.Changes` holds."""

    @property
    def times(self) -> Float64[np.ndarray, " changes"]: ...
    @property
    def strengths(self) -> Float64[np.ndarray, " changes"]: ...
    @property
    def moments(self) -> Float64[np.ndarray, " moments"]: ...
    @property
    def curve(self) -> Float64[np.ndarray, " moments"]: ...


def write_changes_report(
    path: Path | str,
    name: str,
    waveform: Float[np.ndarray, " samples"],
    sample_rate: int,
    changes: _Changes,
    *,
    quantity: str = "Distance",
) -> Path:
    """Writes the page of a recording, in which every change is heard on a click.

    Args:
      path: the page.
      name: of the recording.
      waveform: of the recording.
      sample_rate: in Hz; the sound goes into the page at this rate, up to a quarter of an hour.
      changes: what was found in it.
      quantity: what the curve shows.

    Returns:
      The path.

    Raises:
      MissingExtraError: matplotlib or jinja2 is not installed.
    """
    seconds = len(waveform) / sample_rate
    return write_report(
        path,
        Report(
            f"Speaker changes in {name}",
            [
                Section("Listen", [_timeline(name, waveform, sample_rate, changes)]),
                Section("The curve", [change_curve(changes, seconds, quantity=quantity)]),
                Section("All changes", [_table(changes, quantity)]),
            ],
            subtitle="Moments at which somebody else seems to begin to speak. A page like this is no proof.",
            facts=Facts(
                [
                    Fact("Changes", len(changes.times)),
                    Fact("A minute", 60 * len(changes.times) / seconds, format=".1f"),
                    Fact("Length", time_of_day(seconds)),
                ]
            ),
            provenance=provenance(),
        ),
    )


def change_curve(changes: _Changes, seconds: float, *, quantity: str = "Distance") -> Figure:
    """The curve against time, with the changes marked.

    Args:
      changes: what was found.
      seconds: length of the recording.
      quantity: what the curve shows.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    times, values = _thinned(changes.moments, changes.curve)
    with _style.drawing(9.0, 2.6) as drawn:
        axes = drawn.subplots()
        axes.plot(times, values, color=_style.MUTED, linewidth=1.0)
        heights = np.interp(changes.times, changes.moments, changes.curve) if len(changes.moments) else changes.times
        axes.vlines(changes.times, 0, heights, color=_style.source_colour(1), linewidth=1.0, alpha=0.6)
        axes.plot(changes.times, heights, "o", color=_style.source_colour(1), markersize=3.5, label="Change")
        axes.set_xlim(0, seconds)
        axes.set_title(quantity)
        axes.xaxis.set_major_formatter(lambda value, _: time_of_day(max(value, 0)))
        axes.set_xlabel("Time")
        strongest = (
            f", the strongest at {time_of_day(changes.times[changes.strengths.argmax()])}" if len(heights) else ""
        )
        return _style.to_figure(
            drawn,
            f"{quantity} between what is heard before and after each moment; a dot is a change that was found.",
            f"A curve over {time_of_day(seconds)} with {_number_of(changes)} marked{strongest}.",
        )


def _timeline(name: str, waveform: Float[np.ndarray, " samples"], sample_rate: int, changes: _Changes) -> Timeline:
    seconds = len(waveform) / sample_rate
    edges = np.clip(np.concatenate([[0.0], changes.times, [seconds]]), 0, seconds)
    between = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    around = [(max(time - _BEFORE, 0.0), min(time + _AFTER, seconds)) for time in changes.times.tolist()]
    parts = np.array_split(np.abs(waveform), min(_LEVELS, max(len(waveform), 1)))
    return Timeline(
        name,
        seconds,
        [
            Lane("Changes", f"{len(around)}, {_BEFORE:g} s around each", 1, around),
            Lane("Stretches 1, 3, …", "between the changes", 0, between[0::2]),
            Lane("Stretches 2, 4, …", "between the changes", 4, between[1::2]),
        ],
        levels=np.array([part.max(initial=0.0) for part in parts], np.float64),
        sound=CompressedSound(_wav(waveform, sample_rate), "audio/wav") if seconds <= _LONGEST_SECONDS else None,
        text="A click on a change plays it with what comes before and after.",
    )


def _number_of(changes: _Changes) -> str:
    return "1 change" if len(changes.times) == 1 else f"{len(changes.times)} changes"


def _table(changes: _Changes, quantity: str) -> Table:
    rows: list[list[Cell]] = [
        [f"{time_of_day(time)}.{int(time * 10) % 10}", float(time), float(strength)]
        for time, strength in zip(changes.times, changes.strengths, strict=True)
    ]
    return Table(
        ["Time", "Seconds", "Strength"],
        rows,
        f"How far the peak stands out, in units of the curve ({quantity.lower()}).",
        folded=len(rows) > 40,
    )


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No more points than can be seen: of many the largest stays."""
    if len(times) <= _MOST_POINTS:
        return times, values
    groups = np.array_split(np.arange(len(times)), _MOST_POINTS)
    chosen = [int(group[values[group].argmax()]) for group in groups]
    return times[chosen], values[chosen]


def _wav(waveform: Float[np.ndarray, " samples"], sample_rate: int) -> bytes:
    peak = float(np.max(np.abs(waveform), initial=0.0))
    samples = np.round(waveform.astype(np.float64) * (0.89 * 32767 / peak if peak > 0 else 0.0)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(samples.tobytes())
    return file.getvalue()
