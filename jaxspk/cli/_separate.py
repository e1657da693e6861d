"""``jaxspk separate``."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxspk.cli import _batch, _shards
from jaxspk.errors import ArgumentError, AudioError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Separate the voices of recordings: one file per voice, at the recording's own rate and length.

    Recordings of any length, rate and number of channels; memory does not grow with the length. The voices add up to
    the recording (with soft masks). A recording that fails is named, the others go on, and the exit status is 1.

    Example: jaxspk separate meeting.wav interviews/ --speakers 2 -o voices

    Example: jaxspk separate archive/ -o voices --resume --shard 2/8
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files (WAV, FLAC, OGG, MP3) or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("separated")
    """Folder for the results, named like the recording: NAME-voice1.wav, NAME-voice2.wav, ..."""
    speakers: str = "2"
    """Number of voices; or a range such as 2..4, or auto (1..3): the likeliest is taken, and told how sure that is."""
    channel: str = "mean"
    """Of a recording with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    masks: Literal["soft", "binary"] = "soft"
    """Share each time-frequency bin between the voices, or give it to one."""
    format: Literal["float", "pcm16", "pcm24"] = "float"
    """Samples of the files written."""
    seed: int = 0
    """Of the clustering; the same seed gives the same files."""
    resume: bool = False
    """Note in OUTPUT/separated.jsonl what is done, and pass over what is noted there and has not changed since."""
    shard: str | None = None
    """Do only one of several equal parts of the recordings, such as 2/8, on this machine; under `jaxspk launch` each
    process does its part by itself."""
    json: bool = False
    """Print one JSON document, when all is done, instead of lines: {"done": [...], "failed": [...], "summary": {}}."""


_SUBTYPES: dict[str, Literal["FLOAT", "PCM_16", "PCM_24"]] = {"float": "FLOAT", "pcm16": "PCM_16", "pcm24": "PCM_24"}


def run(options: Options) -> int:
    """Separates every recording; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording or folder: jaxspk separate RECORDING -o FOLDER.")
    speakers, channel = _speakers(options.speakers), _channel(options.channel)
    from jaxspk import audio
    from jaxspk.systems import Separator, possible_counts

    recordings = audio.find_recordings(options.recordings)
    places = _places(recordings, options.recordings, options.output)
    part = _shards.choose(options.shard)
    recordings = part.of(recordings)
    separator = Separator.load(options.model)
    try:
        most = possible_counts(speakers, separator.counting)[-1]
    except ArgumentError as error:
        raise ArgumentError(str(error).replace("`speakers`", "--speakers")) from None

    def separate(recording: Path, report: _batch.Report) -> Mapping[str, Any]:
        place = places[recording]
        for number in range(1, most + 1):
            file = place.with_name(f"{place.name}-voice{number}.wav")
            if file in places:
                raise AudioError(f"{file}: would be overwritten, and is a recording to separate; choose another -o.")
        done = separator.separate_file(
            recording,
            place.parent,
            name=place.name,
            speakers=speakers,
            channel=channel,
            masks=options.masks,
            subtype=_SUBTYPES[options.format],
            seed=options.seed,
            progress=report,
        )
        facts: dict[str, Any] = {
            "recording": str(recording),
            "voices": [str(file) for file in done.voices],
            "sample_rate": done.sample_rate,
            "seconds": round(done.seconds, 3),
            "speakers": len(done.voices),
            "clipped_samples": done.clipped,
        }
        if done.count is not None:
            facts["confidence"] = round(done.count.confidence, 4)
            facts["shares"] = {str(count): round(share, 4) for count, share in done.count.shares.items()}
            facts["calibrated"] = done.count.calibrated
        return facts

    return _batch.for_each(
        recordings,
        separate,
        describe=_describe,
        verb="separated",
        as_json=options.json,
        journal=_journal(options, part) if options.resume else None,
    )


def _journal(options: Options, part: _shards.Shard) -> _shards.Journal:
    """What was done before with the same model and settings."""
    from jaxspk.systems import packaged_model, weights_sha256

    model = weights_sha256(packaged_model("deep_clustering") if options.model is None else options.model)
    settings = {name: getattr(options, name) for name in ("speakers", "channel", "masks", "format", "seed")}
    whole = options.output / "separated.jsonl"
    return _shards.Journal(part.place(whole), {**settings, "model": model}, whole=whole)


def _describe(facts: Mapping[str, Any]) -> str:
    """One line about one recording."""
    remarks = [_batch.clock(facts["seconds"])]
    if "confidence" in facts:
        kind = "probability" if facts["calibrated"] else "confidence"
        voices = "1 voice" if facts["speakers"] == 1 else f"{facts['speakers']} voices"
        remarks.append(f"{voices}, {kind} {facts['confidence']:.2f}")
    if facts["clipped_samples"]:
        remarks.append(f"{facts['clipped_samples']:,} samples clipped")
    return f"{facts['recording']} ({'; '.join(remarks)}): {', '.join(facts['voices'])}"


def _speakers(text: str) -> int | tuple[int, int] | Literal["auto"]:
    """A number, a range or "auto", as typed."""
    if text == "auto":
        return "auto"
    if found := re.fullmatch(r"(\d{1,3})\.\.(\d{1,3})", text):
        fewest, most = int(found[1]), int(found[2])
        if 1 <= fewest <= most:
            return fewest, most
    elif re.fullmatch(r"-?\d{1,3}", text):
        if int(text) < 2:
            raise ArgumentError(f"--speakers must be at least 2, got {text}; auto finds one voice, too.")
        return int(text)
    raise ArgumentError(f"--speakers must be a number from 2, a range such as 2..4, or auto, got {text!r}.")


def _channel(text: str) -> int | Literal["mean"]:
    if text == "mean":
        return "mean"
    if re.fullmatch(r"\d{1,4}", text):
        return int(text)
    raise ArgumentError(f"--channel must be mean or the number of a channel, from 0, got {text!r}.")


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
