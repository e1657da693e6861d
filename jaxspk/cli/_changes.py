"""``jaxspk changes``."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxspk.cli import _batch
from jaxspk.errors import ArgumentError, AudioError

if TYPE_CHECKING:
    from jaxspk.systems import Changes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Mark when the speaker changes in recordings of any length.

    For each recording NAME-changes.csv is written, a line a change (seconds, strength); NAME-changes.txt, labels for
    Audacity (File, Import, Labels); and with --report NAME-changes.html, where every change can be heard. A recording
    that fails is named, the others go on, and the exit status is 1.

    Example: jaxspk changes meeting.wav interviews/ -o changes --report
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files (WAV, FLAC, OGG, MP3) or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("changes")
    """Folder for the results."""
    method: Literal["distance", "bic"] = "distance"
    """Compare embeddings of what comes before and after each moment, or test cepstra by the Bayesian information
    criterion, which needs no model and finds more changes that are none."""
    model: Path | None = None
    """A model directory, of a speaker encoder or a regularized siamese network; by default the weights that come with
    jaxspk."""
    sensitivity: float = 1.0
    """More than 1 finds weaker changes, less than 1 only stronger ones."""
    channel: int | Literal["mean"] = "mean"
    """Of a recording with several channels: their mean, or the number of one, from 0."""
    report: bool = False
    """Also write a page with the curve and the changes."""
    json: bool = False
    """Print one JSON document, when all is done, instead of lines: {"done": [...], "failed": [...], "summary": {}}."""


def run(options: Options) -> int:
    """Finds the changes of every recording; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording or folder: jaxspk changes RECORDING -o FOLDER.")
    if not options.sensitivity > 0:
        raise ArgumentError(f"--sensitivity must be positive, got {options.sensitivity:g}.")
    if options.method == "bic" and options.model is not None:
        raise ArgumentError("--method bic hears cepstra and no model; leave --model out, or --method.")
    from jaxspk import audio
    from jaxspk.cli._separate import _places
    from jaxspk.systems import ChangeDetector

    recordings = audio.find_recordings(options.recordings)
    places = _places(recordings, options.recordings, options.output)
    detector = ChangeDetector.load(options.model, method=options.method, sensitivity=options.sensitivity)

    def find(recording: Path, report: _batch.Report) -> Mapping[str, Any]:
        found = detector.find_file(recording, channel=options.channel, progress=report)
        facts: dict[str, Any] = {
            "recording": str(recording),
            "seconds": round(audio.audio_info(recording).seconds, 3),
            "changes": [
                {"seconds": round(float(time), 3), "strength": round(float(strength), 4)}
                for time, strength in zip(found.times, found.strengths, strict=True)
            ],
        }
        facts["files"] = [str(file) for file in _write(places[recording], facts)]
        if options.report:
            facts["files"].append(str(_report(recording, places[recording], found, options)))
        return facts

    return _batch.for_each(recordings, find, describe=_describe, verb="searched", as_json=options.json)


def _write(place: Path, facts: Mapping[str, Any]) -> list[Path]:
    """The table and the labels."""
    from jaxspk._files import write_whole

    rows = [f"{one['seconds']:.3f},{one['strength']:.4f}\n" for one in facts["changes"]]
    table = "".join(["seconds,strength\n", *rows])
    labels = "".join(f"{one['seconds']:.6f}\t{one['seconds']:.6f}\tchange\n" for one in facts["changes"])
    files = [place.with_name(f"{place.name}-changes{ending}") for ending in (".csv", ".txt")]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, (table, labels), strict=True):
            write_whole(file, text.encode())
    except OSError as error:
        raise AudioError(f"{place.parent}: cannot be written to ({error.strerror}).") from None
    return files


def _report(recording: Path, place: Path, found: "Changes", options: Options) -> Path:
    from jaxspk import audio, reports

    rate = reports.CHANGES_SAMPLE_RATE
    waveform, _ = audio.read_audio(recording, sample_rate=rate, channel=options.channel)
    quantity = "Criterion (nats)" if options.method == "bic" else "Distance"
    return reports.write_changes_report(
        place.with_name(f"{place.name}-changes.html"), recording.name, waveform, rate, found, quantity=quantity
    )


def _describe(facts: Mapping[str, Any]) -> str:
    """One line about one recording."""
    count = len(facts["changes"])
    changes = "1 change" if count == 1 else f"{count} changes"
    return f"{facts['recording']} ({_batch.clock(facts['seconds'])}): {changes}; {', '.join(facts['files'])}"
