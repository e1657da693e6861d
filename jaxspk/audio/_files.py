"""Reads recordings; the project's only user of soundfile (libsndfile) and soxr. NIST SPHERE is read by ``_sphere``.

A recording becomes a float32 waveform at full scale 1. What libsndfile hands out is not believed: declared
lengths are held against the file's size, decoded samples must be finite, of sane level and as many as
declared.
"""

import contextlib
import dataclasses
import io
import math
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr
from jaxtyping import Float, Int16, Int32

from jaxspk import _checks
from jaxspk.audio._containers import FRAMES_PER_BYTE, OTHER_FRAMES_PER_BYTE, container_of, missing_part
from jaxspk.audio._quiet import quiet_c_library
from jaxspk.audio._sphere import SphereError, SphereFile
from jaxspk.errors import ArgumentError, ArgumentTypeError, AudioError

LOUDEST = 100.0
"""Samples beyond 40 dB above full scale mean damage, or integers stored as floats."""
SAMPLE_RATES = (1_000, 768_000)
"""Hz; a header that names a rate outside is damaged (and resampling from 1 Hz would fill the memory)."""
SILENT_BELOW = 2.0**-15
"""One step of 16 bits: a recording that never exceeds it holds no sound."""

_BLOCK = 1 << 20
_UNKNOWN_LENGTH = 1 << 62


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says, held against the file's size.

    Attributes:
      sample_rate: Hz.
      channels: how many.
      samples: per channel.
      seconds: ``samples / sample_rate``.
      container: ``WAV``, ``WAVEX``, ``RF64``, ``FLAC``, ``OGG``, ``MP3`` or ``NIST``.
      subtype: the coding in it, for instance ``PCM_16``, ``VORBIS`` or (of NIST) ``SHORTEN``.
    """

    sample_rate: int
    channels: int
    samples: int
    seconds: float
    container: str
    subtype: str


def read_audio(
    path: str | os.PathLike[str], *, sample_rate: int | None = None, channel: int | Literal["mean"] = "mean"
) -> tuple[Float[np.ndarray, " samples"], int]:
    """Reads a recording as one channel.

    WAV of any coding, FLAC, OGG (Vorbis, Opus), MP3 and NIST SPHERE (plain, G.711, or 16 bits packed by shorten). A
    recording of several channels becomes one by their mean, or one of them is taken. Silence is a recording like
    another; :func:`check_sound` refuses it where it is of no use.

    Args:
      path: the file.
      sample_rate: resample to this rate in Hz; None keeps the recording's own.
      channel: ``"mean"`` of all channels, or the number of one, from 0.

    Returns:
      The waveform, float32, full scale is 1 (floating-point recordings may exceed it and are left so), and
      its sample rate in Hz.

    Raises:
      AudioError: the file is missing, empty, truncated, damaged, no recording, has no such channel, or holds
        samples that are not finite or exceed :data:`LOUDEST`; one line naming the file.
      ArgumentError: ``sample_rate`` or ``channel`` is no sensible value.

    Note:
      For files from strangers there is :func:`read_audio_isolated`. Truncation shows in every container, but for an MP3
      without an encoder's tag cut between two frames and a WAV written to a pipe. While a file is decoded, what C
      code of other threads prints on C's ``stdout`` and ``stderr`` is lost, for libsndfile prints its diagnostics
      there.
    """
    waveform, rate = decode(path, channel=channel)
    return at_rate(waveform, rate, sample_rate)


def at_rate(
    waveform: Float[np.ndarray, " samples"], rate: int, sample_rate: int | None
) -> tuple[Float[np.ndarray, " resampled"], int]:
    """The waveform and its rate after resampling to ``sample_rate``, or as they are for None."""
    return (waveform, rate) if sample_rate is None else (resample(waveform, rate, sample_rate), sample_rate)


def decode(
    path: str | os.PathLike[str], *, channel: int | Literal["mean"] = "mean"
) -> tuple[Float[np.ndarray, " samples"], int]:
    """:func:`read_audio` at the recording's own rate."""
    with open_audio(path, channel=channel) as stream:
        return np.concatenate(list(stream.blocks)), stream.sample_rate


@dataclasses.dataclass(frozen=True)
class AudioStream:
    """An open recording, to be read once from its beginning to its end.

    Attributes:
      sample_rate: Hz.
      blocks: its samples, float32 ``[samples]``, about a million at a time. Damage is found where it lies: the
        iterator then raises what :func:`read_audio` would.
    """

    sample_rate: int
    blocks: Iterator[Float[np.ndarray, " samples"]]


@contextlib.contextmanager
def open_audio(path: str | os.PathLike[str], *, channel: int | Literal["mean"] = "mean") -> Iterator[AudioStream]:
    """Opens a recording of any length, to be read block by block as one channel.

    Args:
      path: as in :func:`read_audio`.
      channel: as in :func:`read_audio`.

    Raises:
      AudioError: as :func:`read_audio`.
      ArgumentError: ``channel`` is no sensible value.

    Example:
      >>> with open_audio("meeting.wav") as stream:  # doctest: +SKIP
      ...     peak = max(abs(block).max() for block in stream.blocks)
    """
    check_channel(channel)
    with _opened(path) as (file, declared):
        if channel != "mean" and channel >= file.channels:
            raise AudioError(
                f"{printable(path)}: there is no channel {channel}: it has {file.channels}, numbered from 0."
            )
        yield AudioStream(file.samplerate, _mono_blocks(file, declared, channel, printable(path)))


def check_channel(channel: object) -> None:
    """Refuses what is neither ``"mean"`` nor a number of a channel."""
    if channel != "mean" and (isinstance(channel, bool) or not isinstance(channel, int) or channel < 0):
        raise ArgumentError(f"`channel` must be 'mean' or a number from 0, got {channel!r}.")


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Rate, channels and length of a recording without decoding it (but FLAC that does not tell its length).

    Raises:
      AudioError: as :func:`read_audio`, for what shows without decoding.
    """
    with _opened(path) as (file, declared):
        samples = declared
        if samples is None:
            samples = sum(map(len, _mono_blocks(file, declared, 0, printable(path))))
        return AudioInfo(file.samplerate, file.channels, samples, samples / file.samplerate, file.format, file.subtype)


def check_sound(
    waveform: Float[np.ndarray, " samples"],
    sample_rate: int,
    *,
    name: str | os.PathLike[str],
    minimum_seconds: float = 0.0,
) -> None:
    """Refuses a recording too short or too silent to work with.

    Args:
      waveform: full scale is 1.
      sample_rate: Hz.
      name: the file, for the message.
      minimum_seconds: what the caller needs.

    Raises:
      AudioError: it is shorter, or no sample exceeds one step of 16 bits (:data:`SILENT_BELOW`).
    """
    seconds = len(waveform) / sample_rate
    if seconds < minimum_seconds:
        raise AudioError(f"{printable(name)}: too short: {seconds:.3f} s, at least {minimum_seconds:g} s are needed.")
    if not np.any(np.abs(waveform) > SILENT_BELOW):
        raise AudioError(f"{printable(name)}: silent: nothing in its {seconds:.1f} s exceeds -90 dB of full scale.")


def resample(
    waveform: Float[np.ndarray, "*batch samples"], from_rate: int, to_rate: int
) -> Float[np.ndarray, "*batch resampled"]:
    r"""Changes the sample rate along the last axis by soxr's high-quality band-limited filter.

    ``resampled`` is ``samples * to_rate / from_rate`` rounded half up, and at least 1. The dtype stays
    (float16 becomes float32). Linear phase: nothing is delayed.

    Raises:
      ArgumentError: a rate outside :data:`SAMPLE_RATES`, or no samples.
      ArgumentTypeError: ``waveform`` is not floating.
    """
    waveform = np.asarray(waveform)
    for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
        _checks.check_range(name, rate, low=SAMPLE_RATES[0], high=SAMPLE_RATES[1])
    check_floating("waveform", waveform)
    _checks.check_rank("waveform", waveform, 1, "samples")
    *batch, samples = waveform.shape
    if samples == 0:
        raise ArgumentError("`waveform` must have at least one sample to resample, got none.")
    waveform = waveform.astype(np.promote_types(waveform.dtype, np.float32), copy=False)
    if from_rate == to_rate:
        return waveform
    length = resampled_length(samples, from_rate, to_rate)
    resampled = np.zeros((math.prod(batch), length), waveform.dtype)
    for row, source in zip(resampled, waveform.reshape(-1, samples), strict=True):
        made = soxr.resample(np.ascontiguousarray(source), from_rate, to_rate)
        row[: len(made)] = made[:length]
    return resampled.reshape(*batch, length)


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """How many samples :func:`resample` makes of so many."""
    return max(1, (2 * samples * to_rate + from_rate) // (2 * from_rate))


def check_floating(name: str, array: np.ndarray) -> None:
    """The host's own check: that of ``_checks`` would import JAX."""
    if not np.issubdtype(array.dtype, np.floating):
        raise ArgumentTypeError(f"`{name}` must be floating, got dtype {array.dtype}; scale integers to [-1, 1] first.")


def flac_bytes(
    codes: Int16[np.ndarray, "samples channels"] | Int32[np.ndarray, "samples channels"],
    sample_rate: int,
    name: str,
) -> bytes:
    """A FLAC file of 16 bits, or of 24 from int32."""
    wide = codes.dtype == np.int32
    buffer = io.BytesIO()
    try:
        with quiet_c_library():  # libsndfile takes the upper 24 bits of an int32.
            soundfile.write(
                buffer,
                codes << 8 if wide else codes,
                sample_rate,
                format="FLAC",
                subtype="PCM_24" if wide else "PCM_16",
            )
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: not written: {_reason(error)}") from None
    return buffer.getvalue()


def printable(path: str | os.PathLike[str]) -> str:
    """The path as it may stand in a message: on one line, whatever its bytes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in os.fsencode(path).decode("utf-8", "backslashreplace")
    )


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads straight on. A seekable file soundfile seeks after each read: MP3 then rounds otherwise, FLAC may fail."""

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[soundfile.SoundFile | SphereFile, int | None]]:
    """The recording opened, and the samples a channel it declares, None where it does not say."""
    name = printable(path)
    try:
        with _opened_bytes(path, name) as stream, quiet_c_library():
            size = os.fstat(stream.fileno()).st_size
            container = container_of(stream.read(12))
            if container is None:
                raise AudioError(f"{name}: not a recording: neither WAV, FLAC, OGG, MP3 nor NIST by its first bytes.")
            if missing := missing_part(stream, container):
                raise AudioError(f"{name}: truncated: {missing}.")
            limit = size * FRAMES_PER_BYTE.get(container, OTHER_FRAMES_PER_BYTE)
            if container == "NIST":
                sphere = SphereFile(stream, size)
                yield sphere, _declared_frames(sphere, limit, size, name)
                return
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
            with _ForwardFile(stream.fileno(), closefd=False) as file:
                yield file, _declared_frames(file, limit, size, name)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: damaged, truncated or unknown: {_reason(error)}") from None
    except SphereError as error:
        raise AudioError(f"{name}: {error}.") from None
    except OSError as error:
        raise AudioError(f"{name}: cannot be read: {error.strerror}.") from None
    except MemoryError:
        raise AudioError(f"{name}: does not fit into memory when decoded.") from None


@contextlib.contextmanager
def _opened_bytes(path: str | os.PathLike[str], name: str) -> Iterator[BinaryIO]:
    try:
        mode = os.stat(path).st_mode
        # Opening a pipe would wait for its other end, so it is opened only when it is a file.
        stream = open(path, "rb") if stat.S_ISREG(mode) else None
    except FileNotFoundError:
        raise AudioError(f"{name}: there is no such file.") from None
    except ValueError:
        raise AudioError(f"{name}: is no possible file name.") from None
    if stream is None:
        what = "a folder; name a recording in it" if stat.S_ISDIR(mode) else "no regular file"
        raise AudioError(f"{name}: is {what}.")
    with stream:
        if os.fstat(stream.fileno()).st_size == 0:
            raise AudioError(f"{name}: is empty.")
        yield stream


def _declared_frames(file: soundfile.SoundFile | SphereFile, limit: int, size: int, name: str) -> int | None:
    """Checks the header: its rate, and that so many samples fit into so many bytes."""
    low, high = SAMPLE_RATES
    if not low <= file.samplerate <= high:
        raise AudioError(f"{name}: damaged: it declares {file.samplerate} samples a second, not {low} to {high}.")
    frames = int(file.frames)
    if frames >= _UNKNOWN_LENGTH:
        return None
    if frames <= 0:
        raise AudioError(f"{name}: holds no samples.")
    if frames > limit:
        raise AudioError(f"{name}: damaged: it declares {frames:,} samples, more than {size:,} bytes can hold.")
    return frames


def _mono_blocks(
    file: soundfile.SoundFile | SphereFile, declared: int | None, channel: int | Literal["mean"], name: str
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Decodes block by block, so that memory goes with what is there and not with what is declared."""
    block_length = max(1, _BLOCK // file.channels)
    decoded = 0
    while declared is None or decoded < declared:
        wanted = block_length if declared is None else min(block_length, declared - decoded)
        block = file.read(wanted, dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        _check_level(block, name)
        decoded += len(block)
        if channel != "mean":
            yield block[:, channel].copy()
        else:
            yield block[:, 0] if file.channels == 1 else block.mean(axis=1)
    if declared is not None and decoded < declared:
        raise AudioError(
            f"{name}: truncated or damaged: it declares {declared:,} samples, {decoded:,} could be decoded."
        )
    if decoded == 0:
        raise AudioError(f"{name}: holds no samples.")


def _check_level(block: Float[np.ndarray, "samples channels"], name: str) -> None:
    """Refuses NaN (which both extremes hand on), infinity and absurd levels."""
    peak = max(block.max(), -block.min())
    if not math.isfinite(peak):
        raise AudioError(f"{name}: damaged: it holds samples that are not finite.")
    if peak > LOUDEST:
        raise AudioError(
            f"{name}: holds samples of {peak:.3g} times full scale: damaged, or integers stored as floats; "
            "bring them into [-1, 1]."
        )


def _reason(error: soundfile.LibsndfileError) -> str:
    """The library's words, on one line."""
    return " ".join(str(error.error_string).removeprefix("Error : ").split())
