"""``jaxspk cluster``."""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxspk.cli import _batch
from jaxspk.errors import ArgumentError, JaxspkError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from jaxspk.systems import Clustering, HeardRecording, SpeakerClusterer, TurnFiles, VoiceCount, VoiceStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Say who speaks when in recordings, without any label: meetings, interviews, a folder of files.

    Recordings of any length, rate and level; memory hardly grows with the length. For each of them four files are
    written: NAME.csv (start, end, cluster, name), NAME.rttm, and NAME.srt and NAME.vtt, subtitles that say who speaks;
    and one page, report.html, with a timeline of each that plays what is clicked. Recordings are clustered together,
    for who names several usually wants to know who comes back: "2" is the same voice in each. With --apart each is
    clustered by itself, for recordings that have nobody in common. A recording that fails is named, the others go on,
    and the exit status is 1.

    Example: jaxspk cluster meeting.wav -o turns

    Example: jaxspk cluster interviews/ --speakers 2..4 --people ~/.local/share/jaxspk/people.safetensors
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files (WAV, FLAC, OGG, MP3) or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("turns")
    """Folder for the results."""
    speakers: str = "auto"
    """How many speakers there are: a number, a range such as 2..8, or auto (1..8). In all recordings together, or with
    --apart in each. Say it where you know it: nothing helps as much."""
    apart: bool = False
    """Cluster each recording by itself."""
    people: Path | None = None
    """A file of voices made by `jaxspk enroll`: speakers who are in it get their names."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory of a speaker encoder or of u-vectors; by default the encoder that comes with jaxspk."""
    adapt: bool = False
    """Train u-vectors on these very recordings first, without labels. The model is kept in OUTPUT/adapted/model;
    stopped or killed, the same command goes on."""
    adapt_minutes: float = 3.0
    """Time for that."""
    seed: int = 0
    """Of the training."""
    report: bool = True
    """Write the page (the extra `reports`)."""
    json: bool = False
    """Print one JSON document, when all is done, instead of lines: {"done": [...], "failed": [...]}."""


def run(options: Options) -> int:
    """Clusters the recordings; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording or folder: jaxspk cluster RECORDING -o FOLDER.")
    if options.adapt_minutes <= 0:
        raise ArgumentError(f"--adapt-minutes must be positive, got {options.adapt_minutes:g}.")
    speakers = _speakers(options.speakers)
    from jaxspk import audio
    from jaxspk.systems import SpeakerClusterer

    recordings = audio.find_recordings(options.recordings)
    clusterer = SpeakerClusterer.load(options.model)
    people = _people(options.people, clusterer)
    if options.adapt:
        clusterer = _adapted(options, clusterer, recordings)
    heard, failed = _heard(clusterer, recordings, options.channel)
    groups = [[one] for one in heard.values()] if options.apart else [list(heard.values())]
    clusterings: list[Clustering] = []
    for group in filter(None, groups):
        try:
            clusterings.append(clusterer.tell_apart(group, speakers, people=people, channel=options.channel))
        except ModelError:
            raise
        except JaxspkError as error:
            message = type(error)(str(error).replace("`speakers`", "--speakers"))
            if len(groups) == 1:
                raise message from None
            _say_failed(message)
            failed[Path(group[0].name)] = message
    if not clusterings:
        raise next(iter(failed.values()))
    done = list(_written(clusterings, recordings, options))
    report = _report(clusterings, options)
    if options.json:
        problems = [{"recording": str(path), "error": str(error)} for path, error in failed.items()]
        facts = {"done": done, "failed": problems, "report": None if report is None else str(report)}
        print(json.dumps(facts, indent=2))
    elif report is not None:
        print(f"report: {report}")
    return 1 if failed else 0


def _heard(
    clusterer: "SpeakerClusterer", recordings: Sequence[Path], channel: int | Literal["mean"]
) -> tuple[dict[Path, "HeardRecording"], dict[Path, JaxspkError]]:
    """The speech of every recording, and what is wrong with those that have none."""
    heard: dict[Path, HeardRecording] = {}
    failed: dict[Path, JaxspkError] = {}
    with _batch._progress(len(recordings), "heard") as begin:
        for path in recordings:
            try:
                heard[path] = clusterer.hear(path, channel=channel, progress=begin(path))
            except JaxspkError as error:
                if len(recordings) == 1:
                    raise
                failed[path] = error
                _say_failed(error)
    return heard, failed


def _say_failed(error: JaxspkError) -> None:
    print(f"jaxspk: {error}", file=sys.stderr)


def _people(store: Path | None, clusterer: "SpeakerClusterer") -> "VoiceStore | None":
    """The people, if they can be compared with; before anything is heard."""
    if store is None:
        return None
    from jaxspk.systems import VoiceStore, weights_sha256

    if clusterer.naming is None:
        raise ModelError("--people needs a speaker encoder, with which people are enrolled; this model is none.")
    people = VoiceStore(store, weights_sha256(clusterer.naming[1]))
    if not people.people():
        raise ModelError(f"{store}: knows nobody yet; begin with `jaxspk enroll NAME RECORDING --store {store}`.")
    return people


def _adapted(options: Options, clusterer: "SpeakerClusterer", recordings: Sequence[Path]) -> "SpeakerClusterer":
    from jaxspk.systems import adapt_clusterer

    return adapt_clusterer(
        recordings,
        options.output / "adapted",
        minutes=options.adapt_minutes,
        seed=options.seed,
        base=clusterer,
        channel=options.channel,
        progress=not options.json,
        say=lambda line: print(f"jaxspk: {line}", file=sys.stderr),
    )


def _written(
    clusterings: Sequence["Clustering"], recordings: Sequence[Path], options: Options
) -> "list[dict[str, Any]]":
    """Writes the files of every recording, and says so."""
    from jaxspk.cli._separate import _places
    from jaxspk.systems import write_turns

    places = _places(recordings, options.recordings, options.output)
    done = []
    for clustering in clusterings:
        for recording in clustering.recordings:
            files = write_turns(places[Path(recording.recording)], recording, clustering)
            facts = _facts(clustering, recording.recording, files)
            done.append(facts)
            if not options.json:
                print(_described(facts), flush=True)
        if not options.json:
            print(_speaker_lines(clustering), flush=True)
    return done


def _facts(clustering: "Clustering", name: str, files: "TurnFiles") -> dict[str, Any]:
    recording = next(one for one in clustering.recordings if one.recording == name)
    present = {turn.speaker for turn in recording.turns}
    return {
        "recording": name,
        "seconds": round(recording.seconds, 3),
        "speakers": [
            {
                "cluster": speaker.cluster,
                "name": speaker.name,
                "probability": None if speaker.probability is None else round(speaker.probability, 4),
                "seconds": round(sum(t.end - t.start for t in recording.turns if t.speaker == speaker.cluster), 3),
            }
            for speaker in clustering.speakers
            if speaker.cluster in present
        ],
        "estimated": clustering.estimated,
        "turns": len(recording.turns),
        "files": {ending: str(path) for ending, path in files._asdict().items()},
    }


def _described(facts: dict[str, Any]) -> str:
    """One line about one recording."""
    speakers = "1 speaker" if len(facts["speakers"]) == 1 else f"{len(facts['speakers'])} speakers"
    turns = "1 turn" if facts["turns"] == 1 else f"{facts['turns']} turns"
    others = ", ".join(f".{ending}" for ending in list(facts["files"])[1:])
    length = _batch.clock(facts["seconds"])
    return f"{facts['recording']} ({length}): {speakers}, {turns}: {facts['files']['csv']}, {others}"


def _speaker_lines(clustering: "Clustering") -> str:
    total = sum(speaker.seconds for speaker in clustering.speakers)
    lines = []
    for speaker in clustering.speakers:
        sure = "" if speaker.probability is None else f", by that name with probability {speaker.probability:.2f}"
        share = f"{100 * speaker.seconds / max(total, 1e-9):.0f} %"
        turns = "1 turn" if speaker.turns == 1 else f"{speaker.turns} turns"
        lines.append(f"  {speaker.label}: {_batch.clock(speaker.seconds)}, {share}, {turns}{sure}")
    return "\n".join(lines)


def _report(clusterings: Sequence["Clustering"], options: Options) -> Path | None:
    if not options.report:
        return None
    from jaxspk import reports

    try:
        return reports.write_timeline_report(
            options.output / "report.html", clusterings, channel=options.channel, transductive=options.adapt
        )
    except MissingExtraError as error:
        _say_failed(error)
        return None


def _speakers(text: str) -> "VoiceCount":
    """A number, a range or "auto", as typed."""
    if text == "auto":
        return "auto"
    if found := re.fullmatch(r"(\d{1,3})\.\.(\d{1,3})", text):
        fewest, most = int(found[1]), int(found[2])
        if 1 <= fewest <= most:
            return fewest, most
    elif re.fullmatch(r"\d{1,3}", text) and int(text) >= 1:
        return int(text)
    raise ArgumentError(f"--speakers must be a number from 1, a range such as 2..8, or auto, got {text!r}.")
