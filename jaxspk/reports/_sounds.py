"""Sounds of a page: 16-bit WAV in the page itself, and the outline of the waveform beside the player."""

import base64
import dataclasses
import io
import wave
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.reports._blocks import Figure

PEAK = 0.89
"""Where the loudest sample of a group is played, about 1 dB under full scale."""

COLUMNS, HEIGHT = 240, 32


@dataclasses.dataclass(frozen=True, eq=False)
class Sound:
    """A recording to listen to.

    Attributes:
      waveform: mono samples, finite, any scale; it is played louder or softer, never clipped.
      sample_rate: in Hz.
      label: what it is, a few words.
      detail: a number or remark to print beside the label, such as ``"SDR 9.8 dB"``.
      source: the number of the voice, counted from 0: its colour in the pictures. ``None`` for a mixture.

    Raises:
      ArgumentError: the waveform is empty or not finite, or the rate is not positive.
    """

    waveform: Float[np.ndarray, " samples"]
    sample_rate: int
    label: str
    detail: str = ""
    source: int | None = None

    def __post_init__(self) -> None:
        _checks.check_range("sample_rate", self.sample_rate, low=1)
        if self.waveform.ndim != 1 or not self.waveform.size:
            raise ArgumentError(
                f"`waveform` of {self.label!r} must be [samples], not empty, got shape {self.waveform.shape}."
            )
        if not np.isfinite(self.waveform).all():
            raise ArgumentError(f"`waveform` of {self.label!r} holds NaN or infinity; nothing could be heard.")

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return self.waveform.size / self.sample_rate

    @property
    def peak(self) -> float:
        """The largest magnitude of a sample."""
        return float(np.abs(self.waveform).max())


@dataclasses.dataclass(frozen=True)
class Sounds:
    """Sounds that belong together, in named groups, with pictures: a mixture, references, estimates.

    All of them are played with one common gain, so that what is softer than something else stays so.

    Attributes:
      title: what they have in common.
      groups: sounds by the heading of their group.
      text: a sentence above them.
      figures: pictures above the sounds.
    """

    title: str
    groups: Mapping[str, Sequence[Sound]]
    text: str = ""
    figures: Sequence[Figure] = ()

    @property
    def peak(self) -> float:
        """The largest magnitude of a sample of any of the sounds."""
        return max((sound.peak for group in self.groups.values() for sound in group), default=0.0)


def data_uri(sound: Sound, peak: float) -> str:
    """The sound as ``data:audio/wav``, ``peak`` brought to just under full scale (silence stays silence)."""
    scaled = sound.waveform.astype(np.float64) * (PEAK / peak if peak > 0 else 1.0)
    samples = np.round(np.clip(scaled, -1, 1) * 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sound.sample_rate)
        writer.writeframes(samples.tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def outline(sound: Sound, peak: float) -> str:
    """The waveform's envelope as an SVG path in a box of ``COLUMNS`` × ``HEIGHT``, around its middle."""
    parts = np.array_split(np.abs(sound.waveform.astype(np.float64)), min(COLUMNS, sound.waveform.size))
    levels = np.array([part.max() for part in parts]) / (peak if peak > 0 else 1.0)
    middle = HEIGHT / 2
    # Half a pixel at least: silence is a line, not nothing.
    heights = np.maximum(levels * (middle - 1), 0.5)
    across = np.linspace(0, COLUMNS, len(heights))
    upper = [f"{x:.0f} {middle - y:.1f}" for x, y in zip(across, heights, strict=True)]
    lower = [f"{x:.0f} {middle + y:.1f}" for x, y in zip(across, heights, strict=True)]
    return f"M{'L'.join(upper + lower[::-1])}Z"
