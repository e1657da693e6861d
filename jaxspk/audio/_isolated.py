"""Decodes files from strangers in a child process of limited time and memory.

libsndfile has a long history of memory errors in its decoders. The child knows nothing worth stealing beyond
what its user may read: this contains crashes, endless loops and floods of memory, and is no sandbox against
an attacker who takes it over.
"""

import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from jaxspk import _checks
from jaxspk.audio._files import LOUDEST, SAMPLE_RATES, at_rate, check_channel, decode, printable
from jaxspk.errors import AudioError

_CHILD = "from jaxspk.audio._isolated import child; child()"


def read_audio_isolated(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    channel: int | Literal["mean"] = "mean",
    timeout_seconds: float = 30.0,
    memory_bytes: int = 1 << 30,
) -> tuple[Float[np.ndarray, " samples"], int]:
    """:func:`read_audio` for files from strangers: decoded in a child process with limits.

    Costs about 0.2 s a file, the start of an interpreter.

    Args:
      path: the file.
      sample_rate: as in :func:`read_audio`; resampling happens here, not in the child.
      channel: as in :func:`read_audio`.
      timeout_seconds: of wall clock, the child's start included, and of processor time.
      memory_bytes: address space the child may take beyond that of its interpreter (Linux; macOS does not
        enforce it). The result needs about twice its own size.

    Returns:
      As :func:`read_audio`, equal to the last bit.

    Raises:
      AudioError: as :func:`read_audio`; also when a limit was exceeded or the decoder crashed.
      ArgumentError: a limit is not positive.
    """
    _checks.check_range("timeout_seconds", timeout_seconds, low=0, low_open=True)
    _checks.check_range("memory_bytes", memory_bytes, low=0, low_open=True)
    check_channel(channel)
    order = {
        "path": os.fspath(path), "channel": channel,
        "processor_seconds": math.ceil(timeout_seconds), "memory_bytes": int(memory_bytes),
    }  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
        "OPENBLAS_NUM_THREADS": "1",  # Its threads' stacks would count as memory.
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD], input=json.dumps(order).encode(), capture_output=True,
            timeout=timeout_seconds, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess([], -signal.SIGXCPU, b"", b"")
    name = printable(path)
    if done.returncode == -signal.SIGXCPU:
        raise AudioError(f"{name}: not decoded within {timeout_seconds:g} s; given up.")
    if done.returncode < 0:
        raise AudioError(f"{name}: crashed its decoder ({signal.Signals(-done.returncode).name}); not a sane file.")
    answer = _answer(done.stdout)
    if isinstance(answer, str):
        raise AudioError(answer)
    if answer is None:
        raise AudioError(f"{name}: its decoder failed within {memory_bytes:,} bytes of memory.")
    return at_rate(*answer, sample_rate)


def _answer(output: bytes) -> tuple[Float[np.ndarray, " samples"], int] | str | None:
    """What the child wrote: a line of JSON and the samples, or an error's message; None for neither.

    The child read what a stranger wrote: nothing it says is believed unchecked.
    """
    head, _, body = output.partition(b"\n")
    try:
        message = json.loads(head)
        if "error" in message:
            return str(message["error"])
        waveform = np.frombuffer(body, np.float32).copy()
        rate, samples = message["sample_rate"], message["samples"]
    except (ValueError, KeyError, TypeError):
        return None
    low, high = SAMPLE_RATES
    if not (isinstance(rate, int) and low <= rate <= high and len(waveform) == samples > 0):
        return None
    if not np.abs(waveform).max() <= LOUDEST:
        return None
    return waveform, rate


def child() -> None:
    """Runs in the child: reads an order from stdin, limits itself, decodes, answers on stdout."""
    order = json.loads(sys.stdin.buffer.read())
    # What the C library prints must not get into the answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit(order["processor_seconds"], order["memory_bytes"])
    try:
        waveform, rate = decode(order["path"], channel=order["channel"])
    except AudioError as error:
        answers.write(json.dumps({"error": str(error)}).encode())
    else:
        answers.write(json.dumps({"sample_rate": rate, "samples": len(waveform)}).encode() + b"\n")
        answers.write(waveform.data)
    answers.close()


def _limit(processor_seconds: int, memory_bytes: int) -> None:
    """Limits this process to so much more of both than it has used."""
    taken = 0
    with contextlib.suppress(OSError):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_CPU: (processor_seconds, processor_seconds + 1),  # A signal, then the end.
        resource.RLIMIT_AS: (taken + memory_bytes, taken + memory_bytes),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses a limit on address space.
            resource.setrlimit(kind, limit)
