"""Scores speaker change detection on conversations of the test speakers, and writes the result for the docs.

    python -m experiments.score_changes --data.path SPEECH -o docs/results/speaker_changes
    python -m experiments.score_changes --data.path SPEECH --siamese runs/siamese/model -o docs/results/speaker_changes

Conversations are made of recordings of single speakers, so that every change is known. The settings of each detector
are chosen on conversations of speakers who are not tested, by F1 at half a second; then the test speakers are scored
once. Writes NAME.md, and beside it NAME.csv, a row a detector, corpus and tolerance.
"""

import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.progress import track

from jaxspk import data, reports
from jaxspk.data import Conversation, ConversationConfig, Manifest
from jaxspk.errors import ArgumentError, JaxspkError
from jaxspk.metrics import ChangeErrors, change_detection_errors, speaker_changes
from jaxspk.reports import Table
from jaxspk.systems import (
    ChangeConfig,
    ChangeDetector,
    SiameseEncoder,
    SpeakerEncoder,
    Speech,
    SpeechConfig,
    SpeechStream,
    SpeechVectors,
    cepstral_vectors,
    embedding_vectors,
    hear_speech,
    load_speech,
    packaged_model,
    siamese_vectors,
)

ALL = "all"
PAUSES = "every pause"

MFCC, CODES, CODE_WINDOWS, EMBEDDINGS = "MFCC", "siamese codes", "siamese vectors", "embeddings"

COSINES = [
    ChangeConfig(distance="cosine", step_seconds=0.2, apart_seconds=0.4, window_seconds=window, threshold=threshold)
    for window in (1.4, 1.6, 2.0)
    for threshold in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
]
"""For vectors of short windows, of any encoder."""

GRIDS: Mapping[str, tuple[str, Sequence[ChangeConfig]]] = {
    "BIC, MFCC": (
        MFCC,
        [
            ChangeConfig(method="bic", penalty=penalty, window_seconds=window)
            for penalty in (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.3, 2.6, 3.0)
            for window in (2.0, 3.0)
        ],
    ),
    "distance, MFCC": (
        MFCC,
        [
            ChangeConfig(distance="bhattacharyya", shrinkage=0.05, window_seconds=window, threshold=threshold)
            for window in (1.5, 2.0, 2.5)
            for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
        ],
    ),
    "distance, siamese codes": (
        CODES,
        [
            ChangeConfig(
                distance="trace", covariance="diagonal", shrinkage=0.1, window_seconds=window, threshold=threshold
            )
            for window in (1.5, 2.0, 2.5)
            for threshold in (1.0, 2.0, 4.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 120.0)
        ]
        + [
            ChangeConfig(distance="mean", window_seconds=window, threshold=threshold)
            for window in (1.5, 2.0, 2.5)
            for threshold in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
        ],
    ),
    "distance, siamese vectors": (CODE_WINDOWS, COSINES),
    "distance, embeddings": (EMBEDDINGS, COSINES),
}
"""Of each detector, whose vectors it compares, and the settings to choose from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to score on what."""

    data: SpeechConfig = SpeechConfig()
    """Its test speakers are scored; others choose the settings."""
    corpora: tuple[str, ...] = ("LibriSpeech", "speechocean762")
    """Nobody talks to somebody of another corpus: microphones would tell."""
    siamese: Path | None = None
    """The model directory of a regularized siamese network, which then is scored too."""
    model: Path | None = None
    """A speaker encoder's model directory; the packaged weights by default."""
    conversation: ConversationConfig = dataclasses.field(
        default_factory=lambda: ConversationConfig(speakers=3, seconds=90.0)
    )
    """How conversations are made."""
    chosen_on: int = 6
    """Conversations of each corpus for the choice of settings."""
    conversations: int = 12
    """Conversations of each corpus that are scored."""
    tolerances: tuple[float, ...] = (0.5, 0.25)
    """How far from a change counts as found, in seconds; settings are chosen for the first."""
    seed: int = 0
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/scores/speaker_changes")
    """Where to write, without the ending."""


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
    """A conversation, its changes, its speech, and the vectors of every kind."""

    corpus: str
    conversation: Conversation
    speech: SpeechStream
    vectors: Mapping[str, np.ndarray]

    @property
    def changes(self) -> tuple[tuple[float, float], ...]:
        """From when to when each takes."""
        return speaker_changes(self.conversation.turns)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A detector with its best settings, and how good they were on the speakers who chose them."""

    detector: ChangeDetector
    kind: str
    errors: ChangeErrors


Scores = dict[str, dict[tuple[str, float], ChangeErrors]]


def main(config: Config) -> None:
    """Chooses, scores, writes the page."""
    speech = load_speech(config.data)
    kinds = speech_vectors(config)
    rates = {vectors.sample_rate for vectors in kinds.values()} | {config.conversation.sample_rate}
    if len(rates) > 1:
        raise ArgumentError(f"all models must hear what conversations are made at, got {sorted(rates)} Hz.")
    others = [choosers(speech, corpus, config.conversation.speakers) for corpus in config.corpora]
    tuning = list(_heard(config, others, config.chosen_on, config.seed + 1, kinds))
    chosen = {name: choose(name, kinds[kind], tuning, config) for name, (kind, _) in GRIDS.items() if kind in kinds}
    tested = [speech.test.where(corpus=corpus) for corpus in config.corpora]
    test = list(_heard(config, tested, config.conversations, config.seed, kinds))
    scores: Scores = {
        name: {
            (corpus, tolerance): _errors([one for one in test if corpus in (ALL, one.corpus)], detector, tolerance)
            for corpus in (ALL, *config.corpora)
            for tolerance in config.tolerances
        }
        for name, detector in {PAUSES: None, **chosen}.items()
    }
    minutes = sum(one.speech.seconds for one in test) / 60
    tables = [_score_table(scores, tolerance) for tolerance in config.tolerances]
    tables += [_corpus_table(scores, config), _choice_table(chosen, tuning, test[0].conversation)]
    changes = sum(len(one.changes) for one in test)
    page = reports.write_results_markdown(
        config.output.with_suffix(".md"),
        "Speaker changes",
        tables,
        reports.provenance(seed=config.seed),
        introduction=f"{len(test)} conversations, each of {config.conversation.speakers} of the "
        f"{len(speech.test.speakers)} test speakers: {minutes:.0f} minutes with {changes} changes. They "
        "are made of recordings of single speakers, with pauses between and within turns. Nobody talks "
        "to somebody of another corpus; but each reader of LibriSpeech has a microphone of his own, and part of what "
        "is heard there is the microphone. A change may be put anywhere into the pause between two turns.",
    )
    rows = list(_csv_rows(scores))
    data.write_table(config.output.with_suffix(".csv"), list(rows[0]), rows)
    print(f"\nwritten: {page} and {config.output.with_suffix('.csv').name}")


def choosers(speech: Speech, corpus: str, needed: int) -> Manifest:
    """Speakers of a corpus who choose settings: validation speakers, or where these are few, all but test speakers."""
    validation = speech.validation.where(corpus=corpus)
    if len(validation.speakers) >= 2 * needed:
        return validation
    return Manifest((*speech.train, *speech.validation)).where(corpus=corpus)


def speech_vectors(config: Config) -> dict[str, SpeechVectors]:
    """What is compared, by kind."""
    encoder = SpeakerEncoder.load(packaged_model("metric_learning") if config.model is None else config.model)
    kinds = {MFCC: cepstral_vectors(), EMBEDDINGS: embedding_vectors(encoder)}
    if config.siamese is not None:
        siamese = SiameseEncoder.load(config.siamese)
        kinds |= {CODES: siamese_vectors(siamese), CODE_WINDOWS: embedding_vectors(siamese)}
    return kinds


def choose(name: str, vectors: SpeechVectors, heard: Sequence[Heard], config: Config) -> Chosen:
    """The settings of a detector that are best."""
    kind, grid = GRIDS[name]
    scored = []
    for settings in track(grid, f"choosing {name}", disable=not sys.stderr.isatty()):
        chosen = Chosen(ChangeDetector(vectors, settings), kind, ChangeErrors(0, 0, 0))
        scored.append(dataclasses.replace(chosen, errors=_errors(heard, chosen, config.tolerances[0])))
    return max(scored, key=lambda chosen: chosen.errors.f1)


def _heard(
    config: Config, groups: Sequence[Manifest], size: int, seed: int, kinds: Mapping[str, SpeechVectors]
) -> Iterator[Heard]:
    sources = {
        corpus: data.ConversationSource(speakers, config.conversation, seed=seed, size=size)
        for corpus, speakers in zip(config.corpora, groups, strict=True)
    }
    places = list(itertools.product(sources, range(size)))
    for corpus, index in track(places, "listening", disable=not sys.stderr.isatty()):
        conversation = sources[corpus][index]
        rate = conversation.sample_rate
        speech = hear_speech(functools.partial(_whole, conversation.waveform), rate, rate)
        vectors = {kind: np.concatenate(list(maker.of(speech))) for kind, maker in kinds.items()}
        yield Heard(corpus, conversation, speech, vectors)


def _whole(waveform: np.ndarray) -> list[np.ndarray]:
    return [waveform]


def _errors(heard: Sequence[Heard], chosen: Chosen | None, tolerance: float) -> ChangeErrors:
    """Of all conversations together; without a detector, every pause is taken for a change."""
    total = ChangeErrors(0, 0, 0)
    for one in heard:
        if chosen is None:
            found = one.speech.times(one.speech.joints.astype(np.float64))
        else:
            found = chosen.detector.changes_in(one.speech, one.vectors[chosen.kind]).times
        total += change_detection_errors(one.changes, found.tolist(), tolerance_seconds=tolerance)
    return total


def _score_table(scores: Scores, tolerance: float) -> Table:
    rows: list[list[reports.Cell]] = []
    for name, by_place in scores.items():
        errors = by_place[ALL, tolerance]
        rates = (errors.false_alarm_rate, errors.miss_rate, errors.precision, errors.recall, errors.f1)
        rows.append([name, errors.found, *(100 * rate for rate in rates)])
    columns = ["Detector", "Found", "False alarms (%)", "Missed (%)", "Precision (%)", "Recall (%)", "F1 (%)"]
    return Table(
        columns,
        rows,
        f"Within {tolerance:g} s of a change. False alarms are a share of themselves and all changes.",
        best={"F1 (%)": "highest"},
        formats=dict.fromkeys(columns[2:], ".1f"),
    )


def _corpus_table(scores: Scores, config: Config) -> Table:
    columns = [f"{corpus}, {tolerance:g} s" for corpus in config.corpora for tolerance in config.tolerances]
    rows: list[list[reports.Cell]] = [
        [name, *(100 * by_place[corpus, tolerance].f1 for corpus in config.corpora for tolerance in config.tolerances)]
        for name, by_place in scores.items()
    ]
    return Table(
        ["Detector", *columns],
        rows,
        "F1 (%) by corpus and tolerance. Speakers of speechocean762 were recorded on mobile phones in quiet rooms.",
        best=dict.fromkeys(columns, "highest"),
        formats=dict.fromkeys(columns, ".1f"),
    )


def _choice_table(chosen: Mapping[str, Chosen], tuning: Sequence[Heard], timed: Conversation) -> Table:
    rows: list[list[reports.Cell]] = []
    for name, one in chosen.items():
        began = time.process_time()
        one.detector.find(timed.waveform, timed.sample_rate)
        speed = timed.seconds / (time.process_time() - began)
        rows.append([name, _described(one.detector.config), 100 * one.errors.f1, speed])
    return Table(
        ["Detector", "Settings", "F1 there (%)", "Times real time"],
        rows,
        f"Chosen from {', '.join(f'{len(GRIDS[name][1])} ({name})' for name in chosen)} settings on {len(tuning)} "
        "conversations of other speakers (validation speakers, or of a corpus that has too few of them all who are not "
        "tested, most of whom trained the networks); and the speed of the whole detector, compiled.",
        formats={"F1 there (%)": ".1f", "Times real time": ".0f"},
    )


def _described(settings: ChangeConfig) -> str:
    if settings.method == "bic":
        return f"λ {settings.penalty:g}, first window {settings.window_seconds:g} s"
    shrinkage = f", shrinkage {settings.shrinkage:g}" if settings.shrinkage else ""
    return (
        f"{settings.distance}, windows of {settings.window_seconds:g} s{shrinkage}, "
        f"peaks of {settings.threshold:g} and more"
    )


def _csv_rows(scores: Scores) -> Iterator[dict[str, str | int | float]]:
    for name, by_place in scores.items():
        for (corpus, tolerance), errors in by_place.items():
            rates = {
                rate: getattr(errors, rate) for rate in ("false_alarm_rate", "miss_rate", "precision", "recall", "f1")
            }
            yield {"detector": name, "corpus": corpus, "tolerance": tolerance, **errors._asdict(), **rates}


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.score_changes"))
    except JaxspkError as error:
        sys.exit(f"error: {error}")
