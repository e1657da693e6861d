"""Measures who speaks when on made conversations, and fits what the packaged encoder needs for it.

    python -m experiments.score_clusterer fit --data.path SPEECH                      # training speakers
    python -m experiments.score_clusterer tune --data.path SPEECH                     # validation speakers
    python -m experiments.score_clusterer score --data.path SPEECH -o docs/results/who_speaks_when

Conversations of speakers with known turns, all of one length: two, three, four and six of them, with and without
overlap, clean, with noise, in rooms, and as meetings are recorded (far, quiet, short turns). ``score`` takes speakers
that are kept for testing, with noises and rooms for tests, and writes NAME.md and NAME.csv, a row a conversation and
system. ``fit`` and ``tune`` refuse them: the space in which voices are compared comes of training speakers, every
setting of speakers whom the encoder was not trained on.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.progress import track

from jaxspk import data, reports, systems
from jaxspk.clustering import cluster_embeddings
from jaxspk.data import Conversation, ConversationConfig, ConversationSource, Manifest, Recordings
from jaxspk.errors import JaxspkError
from jaxspk.metrics import DiarizationErrors, diarization_error_rate
from jaxspk.systems import (
    ActivityConfig,
    CepstralStatistics,
    EvidenceConfig,
    HeardRecording,
    SpeakerClusterer,
    SpeechConfig,
    WindowConfig,
    Windowed,
    packaged_model,
    track_turns,
)

CONDITIONS: dict[str, dict[str, Any]] = {
    "clean": {},
    "noise": {"snr_db": (5.0, 20.0)},
    "rooms": {"room_share": 1.0},
    "far, quiet, short turns": {
        "room_share": 1.0, "tail_db": (0.0, 6.0), "snr_db": (8.0, 15.0), "level_dbfs": -42.0,
        "turn_seconds": (0.4, 4.0),
    },
}  # fmt: skip
"""How conversations are recorded."""

SPEAKERS = (2, 3, 4, 6)
OVERLAPS = (0.0, 0.1)
FIT_SPEAKERS = 10
RATE = 16_000

GIVEN, ESTIMATED = "given", "estimated"
ENCODER, CEPSTRA, ADAPTED = (
    "jaxspk cluster",
    "MFCC statistics, agglomerative",
    "jaxspk cluster --adapt (*transductive*)",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to do with which speech."""

    task: tyro.conf.Positional[Literal["fit", "tune", "score"]]
    data: SpeechConfig = SpeechConfig(validation=0.08)
    """Divided as for the training of the packaged encoder."""
    model: Path | None = None
    """A model directory; the packaged encoder by default."""
    conversations: int = 3
    """Of each kind."""
    seconds: float = 90.0
    """Of each conversation: the same for all, so that length tells nothing about the number of speakers."""
    adapt: bool = True
    """Also learn from the conversations without overlap themselves, without labels, and mark these rows."""
    adapt_minutes: float = 120.0
    """Time for that, which all steps of the training fit into, or the result depends on the machine; all of them are
    learned from together."""
    only: str = ""
    """Of the settings to tune, those whose names hold this."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/who_speaks_when")
    """Where to write, without the ending."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A conversation as a system heard it."""

    system: str
    count: str
    condition: str
    overlap: float
    speakers: int
    found: int
    conversation: str
    errors: DiarizationErrors


@dataclasses.dataclass(frozen=True)
class Case:
    """A conversation and its kind."""

    condition: str
    overlap: float
    conversation: Conversation

    @property
    def speakers(self) -> int:
        """How many there are."""
        return len({turn.speaker for turn in self.conversation.turns})

    @property
    def source(self) -> tuple[np.ndarray, int]:
        """The recording."""
        return self.conversation.waveform, self.conversation.sample_rate


def main(config: Config) -> None:
    """Runs a task."""
    {"fit": fit, "tune": tune, "score": score}[config.task](config)


def fit(config: Config) -> None:
    """Fits the space in which voices are compared, and puts it beside the weights."""
    folder = packaged_model("metric_learning") if config.model is None else config.model
    clusterer = SpeakerClusterer.load(folder)
    speech = systems.load_speech(config.data)
    cases = [
        Case(name, overlap, made)
        for number, (name, overlap) in enumerate([*((name, 0.0) for name in CONDITIONS), ("clean", 0.1)])
        for made in _conversations(
            config, speech.train, name, overlap, FIT_SPEAKERS, part="training", seconds=130.0, seed=500 + number
        )
    ]
    groups = [_labelled_windows(clusterer, case) for case in track(cases, "hearing conversations")]
    space = systems.fit_voice_space(groups)
    windows = sum(len(vectors) for vectors, _ in groups)
    print(
        f"fitted to {windows} windows of {len(cases)} conversations of {len(speech.train.speakers)} training speakers"
    )
    print(f"variance between voices along the first directions: {', '.join(f'{v:.1f}' for v in space.spreads[:8])}")
    print(f"written: {systems.save_voice_space(folder, space)}")


def tune(config: Config) -> None:
    """Tries settings one by one on validation speakers, and prints what comes of each."""
    speech = systems.load_speech(config.data)
    cases = list(_cases(config, speech.validation, part="training", speakers=(1, *SPEAKERS)))
    base = SpeakerClusterer.load(config.model)
    print(
        f"{'setting':<34}{'given: DER':>12}{'confusion':>11}{'estimated: DER':>16}{'confusion':>11}{'number right':>14}"
    )
    heard: dict[WindowConfig, list[HeardRecording]] = {}
    for name, clusterer in _settings(base, config.only).items():
        if clusterer.windows not in heard:
            heard[clusterer.windows] = [clusterer.hear(case.source) for case in cases]
        rows = [
            row
            for case, one in zip(cases, heard[clusterer.windows], strict=True)
            for row in _rows_of(ENCODER, case, lambda speakers, c=clusterer, h=one: _turns(c, h, speakers))  # type: ignore[misc]
        ]
        given, estimated = ([row for row in rows if row.count == count] for count in (GIVEN, ESTIMATED))
        right = np.mean([row.found == row.speakers for row in estimated])
        print(
            f"{name:<34}{_percent(given, 'rate'):>12.2f}{_percent(given, 'confusion'):>11.2f}"
            f"{_percent(estimated, 'rate'):>16.2f}{_percent(estimated, 'confusion'):>11.2f}{100 * right:>14.0f}",
            flush=True,
        )


def score(config: Config) -> None:
    """Scores all systems on the test speakers, once, and writes the page."""
    speech = systems.load_speech(config.data)
    cases = list(_cases(config, speech.test, part="test", speakers=SPEAKERS))
    rows = list(scored_rows(config, cases))
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "Who speaks when",
        [summary_table(rows), *(condition_table(rows, overlap) for overlap in OVERLAPS), speakers_table(rows)],
        reports.provenance(seed=config.seed),
        introduction=_introduction(config, cases, len(speech.test.speakers)),
    )
    table = [_cells(row) for row in rows]
    data.write_table(config.output.with_suffix(".csv"), list(table[0]), table)
    print(f"\nwritten: {page} and {config.output.with_suffix('.csv').name}")


def scored_rows(config: Config, cases: Sequence[Case]) -> Iterator[Row]:
    """Every conversation by every system, with the number of speakers given and estimated."""
    clusterer = SpeakerClusterer.load(config.model)
    for case in track(cases, "jaxspk cluster, and the baseline"):
        heard = clusterer.hear(case.source)
        yield from _rows_of(ENCODER, case, lambda speakers, heard=heard: _turns(clusterer, heard, speakers))  # type: ignore[misc]
        yield from _rows_of(CEPSTRA, case, _baseline(case, heard))
    if not config.adapt:
        return
    chosen = [case for case in cases if case.overlap == 0]
    with tempfile.TemporaryDirectory() as folder:
        adapted = systems.adapt_clusterer(
            [case.source for case in chosen],
            Path(folder) / "run",
            minutes=config.adapt_minutes,
            seed=config.seed,
            base=clusterer,
            say=lambda line: print(line, file=sys.stderr),
        )
        for case in track(chosen, "--adapt"):
            heard = adapted.hear(case.source)
            yield from _rows_of(ADAPTED, case, lambda speakers, heard=heard: _turns(adapted, heard, speakers))  # type: ignore[misc]


def summary_table(rows: Sequence[Row]) -> reports.Table:
    """Everything together."""
    lines: list[list[str | float]] = []
    for system, count, some in _by_system(rows):
        right = 100 * float(np.mean([row.found == row.speakers for row in some]))
        off = float(np.mean([abs(row.found - row.speakers) for row in some]))
        parts = [_percent(some, part) for part in ("rate", "missed", "false_alarm", "confusion")]
        lines.append([system, count, len(some), *parts, right, off])
    return reports.Table(
        ["System", "Number of speakers", "Conversations", "DER (%)", "Missed (%)", "False alarm (%)", "Confusion (%)",
         "Number right (%)", "Off by"],
        lines,
        "Diarization error rate and its parts, in percent of the speech in the reference; no collar, overlapped speech "
        "scored. Of overlapped speech one voice is missed by all systems here. The row with --adapt is of the "
        "conversations without overlap only.",
    )  # fmt: skip


def condition_table(rows: Sequence[Row], overlap: float) -> reports.Table:
    """By condition."""
    some = [row for row in rows if row.overlap == overlap]
    lines: list[list[str | float | None]] = []
    for system, count, mine in _by_system(some):
        groups = [[row for row in mine if row.condition == name] for name in CONDITIONS]
        lines.append([system, count, *(_percent(group, "rate") if group else None for group in groups)])
    return reports.Table(
        ["System", "Number of speakers", *(f"{name}: DER (%)" for name in CONDITIONS)],
        lines,
        f"By how the conversations are recorded, overlap {100 * overlap:.0f} %.",
    )


def speakers_table(rows: Sequence[Row]) -> reports.Table:
    """By the number of speakers."""
    lines: list[list[str | float | None]] = []
    for system, count, mine in _by_system(rows):
        groups = [[row for row in mine if row.speakers == number] for number in SPEAKERS]
        cells = [_percent(group, "rate") if group else None for group in groups]
        found = [float(np.mean([row.found for row in group])) if group else None for group in groups]
        lines.append([system, count, *cells, *(found if count == ESTIMATED else [None] * len(found))])
    return reports.Table(
        ["System", "Number of speakers", *(f"{number}: DER (%)" for number in SPEAKERS),
         *(f"{number}: found" for number in SPEAKERS)],
        lines,
        "By the true number of speakers; where it is estimated, the mean of the numbers found.",
    )  # fmt: skip


def _cases(
    config: Config, manifest: Manifest, *, part: Literal["training", "test"], speakers: Sequence[int]
) -> Iterator[Case]:
    recordings = Recordings(RATE)
    for condition in CONDITIONS:
        for overlap in OVERLAPS:
            if overlap and condition == list(CONDITIONS)[-1]:
                continue
            for number in speakers:
                if overlap and number == 1:
                    continue
                made = _conversations(
                    config, manifest, condition, overlap, number, part=part, seconds=config.seconds, seed=config.seed,
                    recordings=recordings,
                )  # fmt: skip
                yield from (Case(condition, overlap, one) for one in made)


def _conversations(
    config: Config,
    manifest: Manifest,
    condition: str,
    overlap: float,
    speakers: int,
    *,
    part: Literal["training", "test"],
    seconds: float,
    seed: int,
    recordings: Recordings | None = None,
) -> Iterator[Conversation]:
    made = ConversationConfig(
        sample_rate=RATE, speakers=speakers, seconds=seconds, overlap=overlap, **CONDITIONS[condition]
    )
    folder = systems.sounds_folder(config.data)
    source = ConversationSource(
        manifest,
        made,
        seed=seed,
        size=config.conversations,
        noises=data.read_noises(folder / "noise", part, RATE) if made.snr_db else (),
        rooms=data.read_rooms(folder / "rir", part, RATE) if made.room_share else (),
        recordings=recordings,
    )
    return (source[index] for index in range(len(source)))


def _labelled_windows(clusterer: SpeakerClusterer, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Windows with their neighbours, as they are clustered, and who speaks in the middle of each."""
    heard = clusterer.hear(case.source)
    names = sorted({turn.speaker for turn in case.conversation.turns})
    middles = heard.spans.mean(1) / heard.sample_rate
    voices, speaking = np.full(len(middles), -1), np.zeros(len(middles), int)
    for turn in case.conversation.turns:
        inside = (turn.start <= middles) & (middles < turn.end)
        voices[inside] = names.index(turn.speaker)
        speaking += inside
    return systems.with_neighbours(heard.vectors, heard.follows), np.where(speaking == 1, voices, -1)


def _settings(base: SpeakerClusterer, only: str) -> dict[str, SpeakerClusterer]:
    """The chosen setting, and others that differ in one thing."""
    made = {"as chosen": base, "without the space": dataclasses.replace(base, space=None)}
    for change in ({"weight": 0.06}, {"weight": 0.1}, {"directions": 60}, {"directions": 120}):
        made[f"evidence, {_named(change)}"] = dataclasses.replace(base, evidence=EvidenceConfig(**change))
    for change in ({"between": 0.25}, {"between": 0.35}, {"bridge_seconds": 0.2}, {"bridge_seconds": 0.4}):
        windows = dataclasses.replace(base.windows, activity=ActivityConfig(**change))
        made[f"speech, {_named(change)}"] = dataclasses.replace(base, windows=windows)
    for change in ({"hop_seconds": 0.35}, {"seconds": 1.0}, {"seconds": 2.0}):
        made[f"windows, {_named(change)}"] = dataclasses.replace(base, windows=WindowConfig(**change))  # type: ignore[arg-type]
    return {name: clusterer for name, clusterer in made.items() if name == "as chosen" or only in name}


def _named(change: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in change.items())


Hear = Callable[[int | Literal["auto"]], tuple[Sequence[tuple[float, float, str]], int]]
"""Of a number of speakers, the turns and how many speakers they have."""


def _rows_of(system: str, case: Case, hear: Hear) -> Iterator[Row]:
    counts: tuple[tuple[str, int | Literal["auto"]], ...] = ((GIVEN, case.speakers), (ESTIMATED, "auto"))
    for count, speakers in counts:
        turns, found = hear(speakers)
        errors = diarization_error_rate(case.conversation.turns, turns)
        name = case.conversation.name
        yield Row(system, count, case.condition, case.overlap, case.speakers, found, name, errors)


def _turns(
    clusterer: SpeakerClusterer, heard: HeardRecording, speakers: int | Literal["auto"]
) -> tuple[Sequence[tuple[float, float, str]], int]:
    found = clusterer.tell_apart([heard], speakers)
    return found.recordings[0].turns, len(found.speakers)


def _baseline(case: Case, heard: HeardRecording) -> Hear:
    """Mean and deviation of cepstra of the same windows, average linkage; the number by silhouette."""
    window = round(WindowConfig().seconds * heard.sample_rate)
    pieces = [np.resize(case.conversation.waveform[begin:end], window) for begin, end in heard.spans]
    vectors = np.asarray(CepstralStatistics().embed(pieces, heard.sample_rate), np.float64)
    points = systems.unit_rows((vectors - vectors.mean(0)) / np.maximum(vectors.std(0), 1e-9))

    def hear(speakers: int | Literal["auto"]) -> tuple[Sequence[tuple[float, float, str]], int]:
        found = cluster_embeddings(
            points, speakers, method="agglomerative", count="silhouette", most=8, distance="cosine"
        )
        centres = systems.mean_directions(points, found.labels)
        [turns] = track_turns([Windowed(heard.stretches, heard.spans, points)], centres, heard.sample_rate)
        named = [(begin / heard.sample_rate, end / heard.sample_rate, str(voice)) for begin, end, voice in turns]
        return named, len({voice for _, _, voice in named})

    return hear


def _by_system(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    for system in dict.fromkeys(row.system for row in rows):
        for count in (GIVEN, ESTIMATED):
            yield system, count, [row for row in rows if (row.system, row.count) == (system, count)]


def _percent(rows: Sequence[Row], part: Literal["rate", "missed", "false_alarm", "confusion"]) -> float:
    """Of all speech of the rows together."""
    total = sum((row.errors for row in rows), DiarizationErrors(0.0, 0.0, 0.0, 0.0))
    return 100 * (total.rate if part == "rate" else getattr(total, part) / total.total)


def _cells(row: Row) -> dict[str, str | int | float]:
    return {
        "system": row.system.replace("*", ""), "number": row.count, "condition": row.condition, "overlap": row.overlap,
        "conversation": row.conversation, "speakers": row.speakers, "found": row.found,
        "missed_seconds": round(row.errors.missed, 4), "false_alarm_seconds": round(row.errors.false_alarm, 4),
        "confusion_seconds": round(row.errors.confusion, 4), "speech_seconds": round(row.errors.total, 4),
    }  # fmt: skip


def _introduction(config: Config, cases: Sequence[Case], speakers: int) -> str:
    minutes = sum(case.conversation.seconds for case in cases) / 60
    return (
        f"{len(cases)} conversations, {minutes:.0f} minutes, made of recordings of {speakers} speakers held out of "
        "every training, with noises and rooms that nothing was trained or tuned with: two, three, four and six "
        "speakers, turns of 1 to 8 s, pauses of 0.1 to 0.8 s; with overlap a tenth of the speech is of two. Far and "
        "quiet ones have turns of 0.4 to 4 s, echoes as loud as the voice or louder, noise 8 to 15 dB below it, and a "
        "level of -42 dBFS. Windows, thresholds and the rule for the number of speakers were chosen on validation "
        "speakers (`tune`), the space of the voices on training speakers (`fit`). The baseline has the same speech and "
        "windows. *Transductive*: trained, without labels, on the very conversations that are scored."
    )


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.score_clusterer"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
