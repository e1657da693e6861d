"""Keeps what a C library prints away from the program's own output.

libsndfile prints diagnostics of damaged files with ``printf``, its MP3 decoder with ``fprintf(stderr)``.
Redirecting file descriptors 1 and 2 would also swallow what other threads write meanwhile, so C's *stream
variables* are swapped
instead: Python writes to the descriptors and never notices.
"""

import contextlib
import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator


class _CStreams:
    """C's ``stdout`` and ``stderr``, pointed at the null device while anyone asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._askers = 0
        self._saved: list[int | None] = []
        self._variables: list[ctypes.c_void_p] = []
        self._null: int | None = None
        if names := _assignable_streams():
            libc = ctypes.CDLL(None)
            libc.fopen.restype = ctypes.c_void_p
            self._null = libc.fopen(os.devnull.encode(), b"w")
            self._variables = [ctypes.c_void_p.in_dll(libc, name) for name in names]

    def mute(self) -> None:
        with self._lock:
            if self._askers == 0 and self._null:
                self._saved = [variable.value for variable in self._variables]
                for variable in self._variables:
                    variable.value = self._null
            self._askers += 1

    def unmute(self) -> None:
        with self._lock:
            self._askers -= 1
            if self._askers == 0 and self._null:
                self._restore()

    def after_fork(self) -> None:
        """The forking thread alone lives on: nobody there is decoding, and nobody would free the lock."""
        if self._askers and self._null:
            self._restore()
        self._askers = 0
        self._lock = threading.Lock()

    def _restore(self) -> None:
        for variable, value in zip(self._variables, self._saved, strict=True):
            variable.value = value


def _assignable_streams() -> tuple[str, ...]:
    """Names of the stream variables where the C library lets a program assign them; elsewhere none."""
    if sys.platform == "darwin":
        return ("__stdoutp", "__stderrp")
    return ("stdout", "stderr") if platform.libc_ver()[0] == "glibc" else ()


_STREAMS = _CStreams()
os.register_at_fork(after_in_child=_STREAMS.after_fork)


@contextlib.contextmanager
def quiet_c_library() -> Iterator[None]:
    """Within it nothing printed through C's ``stdout`` or ``stderr`` is seen; threads may overlap.

    What other C code prints through these two streams meanwhile is lost too; what Python prints is not.
    """
    _STREAMS.mute()
    try:
        yield
    finally:
        _STREAMS.unmute()
