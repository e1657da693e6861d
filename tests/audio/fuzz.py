"""Damages small recordings in every way and reads them: `python -m tests.audio.fuzz --count N --seed S`.

Mutation i is a function of (seed, i). Reading one must end in an AudioError of one line, or in finite float32
samples of sane level, no more than the file's size allows, at a sane rate; nothing may be printed, no memory flooded,
nothing may hang or crash. The count goes on from where a state file of the same seed stands; files that break a rule
are kept beside it.
"""

import argparse
import collections
import io
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from jaxspk.audio import audio_info, read_audio
from jaxspk.audio._files import LOUDEST, SAMPLE_RATES
from jaxspk.errors import AudioError

CHUNK = 5_000
HANG_SECONDS = 20
MEMORY_BYTES = 3 << 30
CODINGS = [
    ("WAV", subtype, 1)
    for subtype in (
        "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610",
        "G721_32", "NMS_ADPCM_16", "NMS_ADPCM_32",
    )
] + [
    ("WAV", "PCM_16", 2), ("WAVEX", "PCM_24", 3), ("WAVEX", "FLOAT", 2), ("RF64", "PCM_16", 1), ("FLAC", "PCM_16", 1),
    ("FLAC", "PCM_24", 2), ("FLAC", "PCM_S8", 1), ("OGG", "VORBIS", 1), ("OGG", "VORBIS", 2), ("OGG", "OPUS", 1),
    ("MP3", "MPEG_LAYER_III", 1), ("MP3", "MPEG_LAYER_III", 2), ("NIST", "PCM_16", 1), ("NIST", "ULAW", 1),
]  # fmt: skip
KEPT = [(7, 6), (7, 56), (7, 129), (7, 460), (7, 493), (7, 811)]
"""(seed, index) of mutations that broke a rule before there was the guard against it: diagnostics printed, samples not
finite, rates of no recording, memory flooded. Replayed by every run."""
EXTREMES = np.array([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])


def seed_files() -> list[bytes]:
    """A fifth of a second of sound, then of silence (which codecs pack tightest), in every coding."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(1600) / 8000
    sound = 0.3 * np.sin(2 * np.pi * 440 * time_axis) + 0.05 * rng.standard_normal(1600)
    waveform = np.concatenate([sound, np.zeros(1600)])
    files = []
    for container, subtype, channels in CODINGS:
        buffer = io.BytesIO()
        samples = np.stack([waveform * 0.9**channel for channel in range(channels)], 1)
        soundfile.write(buffer, samples, 8000, format=container, subtype=subtype)
        files.append(buffer.getvalue())
        if container == "MP3" and channels == 1:
            files.append(wav_around(files[-1]))
    return files


def wav_around(mp3: bytes) -> bytes:
    """MP3 in a WAV, which soundfile reads and does not write."""
    layout = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 8000, 1000, 1, 0, 12, 1, 2, 72, 1, 0)
    content = b"fmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(mp3)) + mp3
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WAVE" + content


def mutate(files: list[bytes], seed: int, index: int) -> bytes:
    rng = np.random.default_rng([seed, index])
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 5)):
        if len(data) < 16:
            break
        # Half of the damage goes into the header, where it does most.
        reach = len(data) if rng.random() < 0.5 else min(len(data), 128)
        at = int(rng.integers(reach - 8))
        run = int(rng.integers(1, 1 + min(64, len(data) - at)))
        match rng.integers(10):
            case 0 | 1:
                data[at] ^= 1 << rng.integers(8)
            case 2:
                data[at] = rng.integers(256)
            case 3 | 4:
                width = int(rng.choice([1, 2, 4, 8]))
                value = int(rng.choice(EXTREMES)) % (1 << 8 * width)
                data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")
            case 5:
                del data[at : at + run if rng.random() < 0.5 else None]
            case 6:
                data[at:at] = data[at : at + run] * int(rng.integers(1, 40))
            case 7:
                data[at : at + run] = rng.bytes(run)
            case 8:
                data[at : at + run] = bytes([int(rng.choice([0, 255]))]) * run
            case 9:
                other = files[rng.integers(len(files))]
                data[at:] = other[int(rng.integers(len(other))) :]
    return repair_ogg(data) if data[:4] == b"OggS" and rng.random() < 0.7 else bytes(data)


def repair_ogg(data: bytearray) -> bytes:
    """Right checksums, without which a damaged page never reaches the decoder."""
    position = 0
    while data[position : position + 4] == b"OggS" and position + 27 <= len(data):
        lacing = data[position + 27 : position + 27 + data[position + 26]]
        end = position + 27 + data[position + 26] + sum(lacing)
        if end > len(data):
            break
        data[position + 22 : position + 26] = bytes(4)
        checksum = 0
        for byte in data[position:end]:
            checksum = checksum << 8 & 0xFFFFFFFF ^ OGG_TABLE[checksum >> 24 ^ byte]
        data[position + 22 : position + 26] = checksum.to_bytes(4, "little")
        position = end
    return bytes(data)


def ogg_table() -> list[int]:
    table = []
    for value in range(256):
        checksum = value << 24
        for _ in range(8):
            checksum = checksum << 1 ^ (0x104C11DB7 if checksum & 0x80000000 else 0)
        table.append(checksum)
    return table


OGG_TABLE = ogg_table()


def outcome(path: Path, size: int) -> str:
    """Reads the file; the outcome in a few words, beginning with BROKEN where a rule is broken."""
    try:
        info = audio_info(path)
    except AudioError:
        info = None
    except Exception as error:
        return f"BROKEN audio_info raised {type(error).__name__}: {error}"
    try:
        waveform, rate = read_audio(path)
    except AudioError as error:
        text = str(error)
        if "\n" in text or not text.startswith(f"{path}: "):
            return f"BROKEN message {text!r}"
        if "memory" in text:
            return f"BROKEN {text}"
        words = re.split(r"[:(]", text.removeprefix(f"{path}: "))[0]
        return re.sub(r"\d[\d,.e+]*", "N", words).strip(" .")
    except Exception as error:
        return f"BROKEN read_audio raised {type(error).__name__}: {error}"
    if waveform.dtype != np.float32 or waveform.ndim != 1 or not np.isfinite(waveform).all():
        return "BROKEN samples that are not finite float32"
    if not 0 < len(waveform) <= 8192 * size or np.abs(waveform).max() > LOUDEST:
        return f"BROKEN {len(waveform)} samples up to {np.abs(waveform).max()} from {size} bytes"
    if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
        return f"BROKEN sample rate {rate}"
    if info is None or (info.samples, info.sample_rate) != (len(waveform), rate):
        return "BROKEN audio_info differs from what was read"
    return "read"


def work(seed: int, first: int, last: int, report: Path) -> None:
    """One chunk, in a process of its own; what the C library prints goes into a file and must stay none."""
    printed = tempfile.TemporaryFile()
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    files = seed_files()
    outcomes: collections.Counter[str] = collections.Counter()
    broken = []
    slowest = 0.0
    # Written in place: a file system may wait for the disk when a file is truncated and written anew.
    with (
        tempfile.NamedTemporaryFile(dir=memory_folder()) as file,
        open(report.with_suffix(".at"), "wb") as place,
    ):
        for index in range(first, last):
            data = mutate(files, seed, index)
            os.ftruncate(file.fileno(), len(data))
            os.pwrite(file.fileno(), data, 0)
            os.pwrite(place.fileno(), b"%12d" % index, 0)
            signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)  # Unhandled, it ends the process.
            started = time.perf_counter()
            result = outcome(Path(file.name), len(data))
            slowest = max(slowest, time.perf_counter() - started)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if os.fstat(printed.fileno()).st_size:
                result = f"BROKEN printed {os.pread(printed.fileno(), 200, 0)!r}"
                os.ftruncate(printed.fileno(), 0)
                os.lseek(printed.fileno(), 0, os.SEEK_SET)
            if result.startswith("BROKEN"):
                broken.append([index, result])
                result = "BROKEN"
            outcomes[result] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report.write_text(json.dumps({"outcomes": outcomes, "broken": broken, "slowest": slowest, "peak_kb": peak}))


def memory_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def run_chunk(seed: int, first: int, last: int, folder: Path) -> dict:
    """A chunk's report; a crash or hang is one more broken rule, and the chunk goes on after it."""
    merged = {"outcomes": collections.Counter(), "broken": [], "slowest": 0.0, "peak_kb": 0}
    while first < last:
        report = Path(folder, f"{first}.json")
        order = [
            sys.executable,
            "-m",
            "tests.audio.fuzz",
            "--work",
            str(seed),
            str(first),
            str(last),
            str(report),
        ]
        code = subprocess.run(order, check=False).returncode
        if code == 0:
            part, first = json.loads(report.read_text()), last
        else:
            # What came before the crash is read again, without it, to be counted.
            at = int(report.with_suffix(".at").read_text())
            what = "hung" if code == -signal.SIGALRM else f"died with code {code}"
            merged["broken"].append([at, f"BROKEN {what}"])
            merged["outcomes"]["BROKEN"] += 1
            part = run_chunk(seed, first, at, folder)
            first = at + 1
        merged["outcomes"].update(part["outcomes"])
        merged["broken"] += part["broken"]
        for worst in ("slowest", "peak_kb"):
            merged[worst] = max(merged[worst], part[worst])
    return merged


def fuzz(count: int, seed: int, state_file: Path) -> dict:
    state = {"seed": seed, "done": 0, "outcomes": {}, "broken": [], "slowest": 0.0, "peak_kb": 0}
    if state_file.is_file():
        kept = json.loads(state_file.read_text())
        state = kept if kept["seed"] == seed else state
    files = seed_files()
    with tempfile.TemporaryDirectory() as folder:
        for kept_seed, index in KEPT:
            for what in run_chunk(kept_seed, index, index + 1, Path(folder))["broken"]:
                raise SystemExit(f"kept mutation {index} of seed {kept_seed}: {what[1]}")
        while state["done"] < count:
            started = time.perf_counter()
            last = min(count, state["done"] + CHUNK)
            part = run_chunk(seed, state["done"], last, Path(folder))
            state["outcomes"] = dict(collections.Counter(state["outcomes"]) + collections.Counter(part["outcomes"]))
            state["broken"] += part["broken"]
            for worst in ("slowest", "peak_kb"):
                state[worst] = max(state[worst], part[worst])
            for index, _ in part["broken"]:
                state_file.with_name(f"broken-{seed}-{index}").write_bytes(mutate(files, seed, index))
            rate = (last - state["done"]) / (time.perf_counter() - started)
            state["done"] = last
            beside = state_file.with_suffix(".tmp")
            beside.write_text(json.dumps(state, indent=1))
            os.replace(beside, state_file)
            print(f"{last:,} of {count:,}, {rate:.0f} a second, {len(state['broken'])} broken", flush=True)
    return state


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path("build/fuzz-audio.json"))
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        seed, first, last, report = arguments.work
        work(int(seed), int(first), int(last), Path(report))
        return 0
    arguments.state.parent.mkdir(parents=True, exist_ok=True)
    state = fuzz(arguments.count, arguments.seed, arguments.state)
    for what, times in sorted(state["outcomes"].items(), key=lambda item: -item[1]):
        print(f"{times:10,}  {what}")
    print(f"slowest {state['slowest']:.2f} s, peak memory {state['peak_kb'] / 1024:.0f} MB")
    for index, what in state["broken"]:
        print(f"mutation {index}: {what}")
    return 1 if state["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
