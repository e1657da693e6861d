"""What a recording must be before a model hears it; the same words for every system."""

import numpy as np

from jaxspk.errors import ArgumentError


def checked_waveform(waveform: np.ndarray, sample_rate: int, shortest_seconds: float) -> np.ndarray:
    """The recording as float32, if it is one.

    Args:
      waveform: ``[samples]``, floating.
      sample_rate: in Hz.
      shortest_seconds: what the model needs.

    Raises:
      ArgumentError: a wrong shape or dtype, values that are not finite, silence, or too short a recording.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise ArgumentError(
            f"`waveform` must have one axis, [samples], got shape {waveform.shape}; average the channels first."
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ArgumentError(
            f"`waveform` must be floating in [-1, 1], got dtype {waveform.dtype}; scale and convert it."
        )
    if sample_rate < 1:
        raise ArgumentError(f"`sample_rate` must be a positive number of Hz, got {sample_rate}.")
    if not np.isfinite(waveform).all():
        raise ArgumentError("the recording holds values that are not finite.")
    check_usable(len(waveform), sample_rate, float(np.max(np.abs(waveform), initial=0.0)), shortest_seconds)
    return waveform.astype(np.float32)


def check_usable(samples: int, sample_rate: int, peak: float, shortest_seconds: float) -> None:
    """Refuses a recording too short to have frames, or silent."""
    seconds = samples / sample_rate
    if seconds < shortest_seconds:
        raise ArgumentError(f"the recording lasts {seconds:.3f} s; at least {shortest_seconds:.3f} s are needed.")
    if peak == 0:
        raise ArgumentError("the recording is silent: all its samples are zero.")
