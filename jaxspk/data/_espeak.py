"""Speaks through espeak-ng. Run as a script of its own, in a child process; imports nothing of jaxspk.

espeak-ng keeps state between utterances, draws from the C library's ``rand``, sets the process's locale,
prints, and may exit. So it never enters the caller's process, and each speaker is spoken in a fork of a
process that has only initialised the engine: what a speaker says is a function of his own jobs alone.

Reads a job as JSON on standard input, writes ``<out>/<speaker>-<utterance>.raw``, 16-bit mono samples in the
machine's byte order, and prints the sample rate.
"""

import ctypes
import json
import os
import sys
from typing import Any

# From espeak-ng's speak_lib.h, version 1.52.
_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_POS_CHARACTER = 1

# Loud variants clip at the engine's own default of 100.
_QUIET_ENOUGH = 40


def main() -> None:
    """Speaks the job on standard input."""
    job = json.load(sys.stdin)
    library = ctypes.CDLL(job["library"])
    chunks: list[bytes] = []
    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

    def collect(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = callback_type(collect)
    rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, os.fsencode(job["data"]), _INITIALIZE_DONT_EXIT)
    if rate <= 0:
        sys.exit("espeak-ng cannot be initialised")
    library.espeak_SetSynthCallback(callback)
    for speaker in job["speakers"]:
        child = os.fork()
        if child == 0:
            os._exit(_speak(library, speaker, chunks, job["out"]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0:
            sys.exit(f"status {status} of espeak-ng for the voice {speaker['voice']}")
    print(rate)


def _speak(library: Any, speaker: dict[str, Any], chunks: list[bytes], out: str) -> int:
    """Speaks one speaker's utterances; returns the engine's status, 0 for success."""
    ctypes.CDLL(None).srand(speaker["seed"])
    library.espeak_ng_SetRandSeed(ctypes.c_long(speaker["seed"]))
    status: int = library.espeak_SetVoiceByName(speaker["voice"].encode())
    for number, utterance in enumerate(speaker["utterances"]):
        settings = {
            _RATE: utterance["rate"],
            _VOLUME: _QUIET_ENOUGH,
            _PITCH: utterance["pitch"],
            _RANGE: speaker["range"],
        }
        for parameter, value in settings.items():
            status = status or library.espeak_SetParameter(parameter, value, 0)
        chunks.clear()
        text = utterance["text"].encode() + b"\0"
        size = ctypes.c_size_t(len(text))
        status = status or library.espeak_Synth(text, size, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        status = status or library.espeak_Synchronize()
        if status != 0:
            break
        with open(os.path.join(out, f"{speaker['name']}-{number}.raw"), "wb") as stream:
            stream.write(b"".join(chunks))
    return status


if __name__ == "__main__":
    main()
