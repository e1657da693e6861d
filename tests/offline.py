"""Runs a Python file with network sockets forbidden by the kernel: ``python tests/offline.py SCRIPT [ARGUMENTS]``.

A seccomp filter ends the process (SIGSYS) at the first socket(AF_INET | AF_INET6), whoever asks for it, native
libraries included. Local sockets (AF_UNIX), as asyncio's socketpair, stay allowed.
"""

import ctypes
import platform
import runpy
import sys

# (audit architecture, number of the system call `socket`)
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_AF_INET, _AF_INET6 = 2, 10
_SET_SECCOMP, _FILTER_MODE, _SET_NO_NEW_PRIVILEGES = 22, 2, 38


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def forbid_network_sockets() -> None:
    """From here on, asking for a network socket ends the process. Call before any thread starts."""
    architecture, socket_call = _MACHINES[platform.machine()]
    instructions = (_Instruction * 9)(
        (_LOAD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, 5, architecture),
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 3, socket_call),
        (_LOAD, 0, 0, 16),
        (_JUMP_IF_EQUAL, 2, 0, _AF_INET),
        (_JUMP_IF_EQUAL, 1, 0, _AF_INET6),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL_PROCESS),
    )
    program = _Program(len(instructions), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        _SET_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


if __name__ == "__main__":
    forbid_network_sockets()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
