"""What separating a recording costs by its length: time and peak memory of the command, each in its own process.

python -m benchmarks separate_lengths                                        # 1 and 15 minutes
python -m benchmarks.separate_lengths -o docs/results/separation_lengths     # 1 minute to 4 hours, table and plot
"""

import argparse
import functools
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from benchmarks._frame import Case, Comparison, Figure
from jaxspk import audio, reports
from jaxspk._files import write_whole

MINUTES = (1.0, 5.0, 15.0, 60.0, 240.0)
_SAMPLE_RATE = 16000
_MEMORY_BOUND_MB = 2000.0
_FACTOR_BOUND = 0.1
_TIME, _FACTOR, _PROCESSOR, _MEMORY = "Time (s)", "Real-time factor", "Processor time / duration", "Peak memory (MB)"


@functools.cache
def measured(minutes: float) -> dict[str, float]:
    """Seconds, seconds of processors and peak memory (in MB) of ``jaxspk separate`` on so many minutes of sound."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.wav"
        _write_recording(recording, minutes)
        command = [sys.executable, "-m", "benchmarks.separate_lengths", "--child", str(recording), f"{folder}/voices"]
        started = time.perf_counter()
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, **json.loads(finished.stdout.splitlines()[-1])}


def _write_recording(path: Path, minutes: float) -> None:
    """The packaged mixtures over and over: what is said costs nothing."""
    files = audio.find_recordings(str(resources.files("jaxspk") / "samples" / "mixtures"))
    mixtures = [audio.read_audio(file, sample_rate=_SAMPLE_RATE)[0] for file in files]
    left = round(60 * minutes * _SAMPLE_RATE)
    with audio.AudioWriter(path, _SAMPLE_RATE, left, subtype="PCM_16") as writer:
        for mixture in itertools.cycle(mixtures):
            writer.write(mixture[:left])
            left -= min(left, len(mixture))
            if left == 0:
                break
        writer.finish()


def _child(recording: str, folder: str) -> int:
    """Separates, then says what it took of processors and memory, with everything that was imported."""
    from jaxspk.cli import main as jaxspk

    status = jaxspk(["separate", recording, "--speakers", "2", "--format", "pcm16", "-o", folder])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"memory": _peak_mb(), "processor": used.ru_utime + used.ru_stime}))
    return status


def _peak_mb() -> float:
    try:
        # Of this program alone: the system's own figure counts what the parent held when it started us.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _figures() -> Sequence[Figure]:
    def factor(minutes: float) -> float:
        return measured(minutes)["seconds"] / (60 * minutes)

    figures = [
        Figure(
            name="real-time factor of 15 minutes, start of the program included",
            measure=lambda: factor(15.0),
            unit="",
            at_most=_FACTOR_BOUND,
        )
    ]
    for minutes in (1.0, 15.0):
        figures.append(
            Figure(
                name=f"peak memory, {minutes:g} min",
                measure=functools.partial(lambda minutes: measured(minutes)["memory"], minutes),
                unit="MB",
                at_most=_MEMORY_BOUND_MB,
            )
        )
    return figures


def _no_cases() -> Sequence[Case]:
    return ()


COMPARISON = Comparison(title="Time and memory of separating by length", cases=_no_cases, figures=_figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures length by length and writes table and plot; exits with 1 where a bound is passed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.separate_lengths",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-o", "--output", type=Path, help="writes OUTPUT.md, OUTPUT.csv and OUTPUT.svg")
    parser.add_argument("--minutes", type=float, nargs="+", default=list(MINUTES), help="lengths to measure")
    parser.add_argument("--child", nargs=2, metavar=("RECORDING", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return _child(*options.child)
    rows: list[tuple[float, ...]] = []
    for minutes in sorted(set(options.minutes)):
        found = measured(minutes)
        took = [found["seconds"] / (60 * minutes), found["processor"] / (60 * minutes)]
        rows.append((minutes, found["seconds"], *took, found["memory"]))
        print("{:g} min: {:.1f} s, {:.4f} of real time, {:.4f} on one core, {:.0f} MB".format(*rows[-1]), flush=True)
    if options.output:
        _write(options.output, rows)
    return int(any(row[2] > _FACTOR_BOUND or row[4] > _MEMORY_BOUND_MB for row in rows if row[0] >= 5))


def _write(output: Path, rows: Sequence[tuple[float, ...]]) -> None:
    columns = ["Length (min)", _TIME, _FACTOR, _PROCESSOR, _MEMORY]
    lengths, _, factors, _, memory = (list(column) for column in zip(*rows, strict=True))
    figure = reports.costs_by_length(
        lengths, {_FACTOR: factors, _MEMORY: memory}, bounds={_FACTOR: _FACTOR_BOUND, _MEMORY: _MEMORY_BOUND_MB}
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output.with_suffix(".svg"), figure.image)
    reports.write_csv(output.with_suffix(".csv"), columns, rows)
    formats = {"Length (min)": "g", _TIME: ".1f", _FACTOR: ".4f", _PROCESSOR: ".4f", _MEMORY: ".0f"}
    page = reports.write_results_markdown(
        output.with_suffix(".md"),
        "Time and memory of separating by length",
        [reports.Table(columns, rows, formats=formats)],
        reports.provenance(),
        introduction="`jaxspk separate RECORDING --speakers 2 --format pcm16` of recordings at 16 kHz with the "
        "packaged weights, each length in a process of its own. Time from the start of the program to its end, so that "
        "the shortest pays most for starting and compiling; processor time adds up all cores, and says what a machine "
        "that does nothing else would need; memory is the peak of the process with all libraries.\n\n"
        f"![{figure.alt}]({output.with_suffix('.svg').name})",
    )
    print(f"written: {page}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
