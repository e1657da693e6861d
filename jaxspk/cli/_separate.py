"""``jaxspk separate``."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxspk.cli import _batch
from jaxspk.errors import ArgumentError, AudioError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Separate the voices of recordings: one file per voice, at the recording's own rate and length.

    Several channels are averaged first. The voices add up to the recording (with soft masks).

    Example: jaxspk separate meeting.wav interviews/ --speakers 2 -o voices
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files (WAV, FLAC, OGG, MP3) or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("separated")
    """Folder for the results, named like the recording: NAME-voice1.wav, NAME-voice2.wav, ..."""
    speakers: int = 2
    """Number of voices."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    masks: Literal["soft", "binary"] = "soft"
    """Share each time-frequency bin between the voices, or give it to one."""
    format: Literal["float", "pcm16", "pcm24"] = "float"
    """Samples of the files written."""
    seed: int = 0
    """Of the clustering; the same seed gives the same files."""
    json: bool = False
    """Print one JSON document instead of lines."""


_SUBTYPES: dict[str, Literal["FLOAT", "PCM_16", "PCM_24"]] = {"float": "FLOAT", "pcm16": "PCM_16", "pcm24": "PCM_24"}


def run(options: Options) -> int:
    """Separates every recording; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording or folder: jaxspk separate RECORDING -o FOLDER.")
    if options.speakers < 2:
        raise ArgumentError(f"--speakers must be at least 2, got {options.speakers}.")
    from jaxspk import audio
    from jaxspk.systems import Separator

    recordings = audio.find_recordings(options.recordings)
    places = _places(recordings, options.recordings, options.output)
    separator = Separator.load(options.model)

    def separate(recording: Path) -> Mapping[str, Any]:
        waveform, sample_rate = audio.read_audio(recording)
        started = time.perf_counter()
        try:
            voices = separator.separate(waveform, sample_rate, options.speakers, masks=options.masks, seed=options.seed)
        except ArgumentError as error:
            raise AudioError(f"{recording}: {error}") from None
        took = time.perf_counter() - started
        files = []
        for number, voice in enumerate(voices, 1):
            file = places[recording].with_name(f"{places[recording].name}-voice{number}.wav")
            if file in places:
                raise AudioError(f"{file}: would be overwritten, and is a recording to separate; choose another -o.")
            file.parent.mkdir(parents=True, exist_ok=True)
            audio.write_audio(file, voice, sample_rate, subtype=_SUBTYPES[options.format])
            files.append(str(file))
        seconds = len(waveform) / sample_rate
        return {
            "recording": str(recording),
            "voices": files,
            "sample_rate": sample_rate,
            "seconds": round(seconds, 3),
            "took_seconds": round(took, 3),
        }

    def describe(facts: Mapping[str, Any]) -> str:
        return f"{facts['recording']} ({facts['seconds']:.1f} s): {', '.join(facts['voices'])}"

    return _batch.for_each(recordings, separate, describe=describe, verb="separated", as_json=options.json)


def _places(recordings: Sequence[Path], given: Sequence[Path], output: Path) -> dict[Path, Path]:
    """Where each recording's results go, without the ending: folders keep their tree, equal names their suffix."""
    folders = [path for path in given if path.is_dir()]
    places: dict[Path, Path] = {}
    for recording in recordings:
        inside = next((folder for folder in folders if recording.is_relative_to(folder)), recording.parent)
        places[recording] = output / recording.relative_to(inside).with_suffix("")
    taken = list(places.values())
    return {
        recording: place.with_name(recording.name.replace(".", "-")) if taken.count(place) > 1 else place
        for recording, place in places.items()
    }
