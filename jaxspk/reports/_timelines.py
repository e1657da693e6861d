"""Who speaks when, on a page: one row a speaker on an axis of time, and the sound that is played where one clicks."""

import base64
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError

COLOURS = 8
"""Of voices; a ninth begins again. Rows have names, so that nobody has to tell colours apart."""

# A stretch of a lane is drawn in thousandths of a second from the left, which keeps the numbers short.
_UNITS = 1000
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
_MOST_TICKS = 8
_OUTLINE_HEIGHT = 100


@dataclasses.dataclass(frozen=True)
class Lane:
    """A row of a timeline.

    Attributes:
      label: who.
      detail: a few words beside the label, such as how long.
      colour: a number from 0; what has one number on a page has one colour.
      stretches: start and end of each turn in seconds, in order of time.
    """

    label: str
    detail: str
    colour: int
    stretches: Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True, eq=False)
class CompressedSound:
    """The bytes of a sound file that browsers play.

    Attributes:
      data: all of the file.
      media_type: such as ``audio/mpeg``.
    """

    data: bytes
    media_type: str


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """A recording, who speaks in it when, and what it sounds like.

    A click on a turn plays that turn; a click beside plays from there on. Arrow keys go from turn to turn, the space
    bar plays. Without a sound in the page, the reader may choose the file of the recording, which stays where it is.

    Attributes:
      title: of the recording.
      seconds: its length, positive.
      lanes: one a speaker.
      levels: how loud it is from the beginning to the end, any scale; none draws none.
      sound: the recording itself; without one the page offers to open a file.
      text: a sentence above.

    Raises:
      ArgumentError: the length is not positive, or a stretch lies outside it.
    """

    title: str
    seconds: float
    lanes: Sequence[Lane]
    levels: Float[np.ndarray, " columns"] = dataclasses.field(default_factory=lambda: np.zeros(0))
    sound: CompressedSound | None = None
    text: str = ""

    def __post_init__(self) -> None:
        _checks.check_range("seconds", self.seconds, low=0.0, low_open=True)
        for lane in self.lanes:
            for start, end in lane.stretches:
                if not 0 <= start <= end <= self.seconds + 0.5 / _UNITS:
                    raise ArgumentError(
                        f"`lanes` must lie within the {self.seconds:g} s of {self.title!r}, got {start:g} to {end:g} s."
                    )


def sound_address(sound: CompressedSound) -> str:
    """The sound as a ``data:`` address."""
    return f"data:{sound.media_type};base64,{base64.b64encode(sound.data).decode('ascii')}"


def lane_box(timeline: Timeline) -> str:
    """The view box of a lane: thousandths of a second across, 1 high."""
    return f"0 0 {max(1, round(timeline.seconds * _UNITS))} 1"


def lane_path(lane: Lane) -> str:
    """All stretches of a lane as one SVG path of rectangles."""
    corners = ((round(start * _UNITS), round(end * _UNITS)) for start, end in lane.stretches)
    return "".join(f"M{start} 0h{max(end - start, 1)}v1h-{max(end - start, 1)}z" for start, end in corners)


def lane_times(lane: Lane) -> str:
    """Starts and ends for the page's script, in seconds: ``"0.5 2.25,3 4"``."""
    return ",".join(f"{round(start, 3):g} {round(end, 3):g}" for start, end in lane.stretches)


def level_path(timeline: Timeline) -> str:
    """The levels as an SVG path in a box of as many units as there are columns, mirrored about the middle."""
    levels = np.asarray(timeline.levels, np.float64)
    heights = np.maximum(levels / max(float(levels.max(initial=0.0)), 1e-12), 0.01) * (_OUTLINE_HEIGHT / 2)
    upper = [f"{column} {_OUTLINE_HEIGHT / 2 - height:.0f}" for column, height in enumerate(heights)]
    lower = [f"{column} {_OUTLINE_HEIGHT / 2 + height:.0f}" for column, height in enumerate(heights)]
    return f"M{'L'.join(upper + lower[::-1])}Z"


def level_box(timeline: Timeline) -> str:
    """The view box of :func:`level_path`."""
    return f"0 0 {max(1, len(timeline.levels) - 1)} {_OUTLINE_HEIGHT}"


def axis(timeline: Timeline) -> list[tuple[str, str]]:
    """Ticks of the axis before the page's script makes finer ones: place in percent, and the time to print."""
    step = next((step for step in _STEPS if timeline.seconds / step <= _MOST_TICKS), _STEPS[-1])
    times = range(0, math.floor(timeline.seconds) + 1, step)
    return [(f"{100 * time / timeline.seconds:.4f}%", time_of_day(time)) for time in times]


def time_of_day(seconds: float | int) -> str:
    """A place in a recording as players show it.

    Example:
      >>> time_of_day(9), time_of_day(75.2), time_of_day(3 * 3600 + 62)
      ('0:09', '1:15', '3:01:02')
    """
    minutes, rest = divmod(math.floor(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def described(timeline: Timeline) -> str:
    """The timeline in words, for those who do not see it; escaped where it is printed."""
    spoken = (f"{lane.label} in {len(lane.stretches)} turns, {lane.detail}" for lane in timeline.lanes)
    return f"Timeline of {timeline.title}, {time_of_day(timeline.seconds)} long: {'; '.join(spoken)}"
