"""From a configuration to all that comes of it: encoder, calibration, scores and tables, in one run directory."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from jaxspk import data, training
from jaxspk.data import Manifest
from jaxspk.errors import ArgumentError, CorpusError
from jaxspk.systems._calibration_trials import calibration_trials
from jaxspk.systems._operating_points import ErrorRates
from jaxspk.systems._speaker_card import speaker_card
from jaxspk.systems._speaker_evaluation import (
    POOLED,
    VerificationScores,
    evaluate_verification,
    summary_rows,
    write_trial_scores,
)
from jaxspk.systems._speaker_model import save_speaker_model
from jaxspk.systems._speaker_training import SpeakerTraining, TrainedEncoder, train_speaker_encoder
from jaxspk.systems._speech import Speech, load_speech
from jaxspk.systems._trial_scoring import PROTOCOLS, Embedder
from jaxspk.systems._verification import Protocol, Verification, fit_verification, save_verification
from jaxspk.training import Run

SUMMARY_FILE = "summary.csv"
SCORES_FILE = "scores.txt"


@dataclasses.dataclass(frozen=True)
class SpeakerOutcome:
    """Everything that came of a run; reports are made of it.

    Attributes:
      folder: the run directory.
      config: what was asked for.
      speech: who was trained on, validated and tested with.
      trained: the encoder and how its training went.
      scores: of the test speakers, by protocol.
      calibration: what scores mean, from trials of validation speakers; empty where there were too few.
      metrics: the lines of ``metrics.jsonl``.
    """

    folder: Path
    config: SpeakerTraining
    speech: Speech
    trained: TrainedEncoder
    scores: Mapping[str, VerificationScores]
    calibration: tuple[Verification, ...]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def model_folder(self) -> Path:
        """The model directory."""
        return self.folder / "model"


def run_speaker_verification(
    config: SpeakerTraining,
    workdir: Path | str,
    *,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> SpeakerOutcome:
    """Trains, calibrates, tests and saves; goes on where a killed run stopped.

    Writes into ``workdir``: the files of :class:`jaxspk.training.Run`, the model directory ``model/`` with its
    calibration, and in ``results/`` the measures of every group of trials (``summary.csv``) and all scored trials of
    the test speakers (``scores.txt``).

    Args:
      config: what to do.
      workdir: the run directory; a new one, or that of a run with the same configuration.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      JaxspkError: see :func:`load_speech`, :class:`jaxspk.training.Run` and :func:`train_speaker_encoder`.
    """
    with Run(workdir, config) as run:
        speech = load_speech(config.data)
        say(speech.describe())
        trained = train_speaker_encoder(config, speech, run, progress=progress)
        say(f"scoring {len(speech.test)} recordings of {len(speech.test.speakers)} test speakers, all against all")
        scores = {name: evaluate_verification(trained.encoder, speech.test, protocol=name) for name in PROTOCOLS}
        back_end = config.system.back_end
        calibration = calibrate_encoder(
            trained.encoder,
            speech.validation,
            # What was fitted to stand other microphones is calibrated with them.
            equalizer_db=back_end.equalizer_db if back_end is not None and back_end.equalized else 0.0,
        )
        metrics = tuple(training.read_metrics(run.folder))
        outcome = SpeakerOutcome(run.folder, config, speech, trained, scores, calibration, metrics)
        save_outcome_model(outcome, outcome.model_folder)
        _write_tables(outcome, run.results)
    return outcome


def save_outcome_model(
    outcome: SpeakerOutcome, folder: Path, *, dtype: type[np.floating[Any]] = np.float32, sources: str = ""
) -> Path:
    """Writes the encoder with its card and calibration; ``dtype=np.float16`` halves it."""
    card = speaker_card(outcome.config, outcome.speech, outcome.trained, outcome.scores, sources=sources)
    encoder = outcome.trained.encoder
    save_speaker_model(folder, encoder.config, encoder.model, card=card, dtype=dtype)
    if outcome.calibration:
        save_verification(outcome.calibration, folder)
    return folder


def calibrate_encoder(
    encoder: Embedder,
    speakers: Manifest,
    *,
    protocols: Iterable[Protocol] = ("whole", "ten_crops"),
    equalizer_db: float = 0.0,
) -> tuple[Verification, ...]:
    """What scores of each protocol mean, from all trials of speakers the encoder did not learn.

    Args:
      encoder: what scores.
      speakers: validation speakers; nothing comes of them where they make too few trials.
      protocols: keys of :data:`jaxspk.systems.PROTOCOLS`.
      equalizer_db: of :func:`calibration_trials`.
    """
    rules = []
    for protocol in protocols:
        try:
            trials = calibration_trials(encoder, speakers, protocol=protocol, equalizer_db=equalizer_db)
            rules.append(
                fit_verification(
                    trials.scores,
                    trials.labels,
                    protocol=protocol,
                    trials=f"{len(trials.scores)} trials of {len(speakers.speakers)} validation speakers",
                    speech_seconds=trials.speech_seconds,
                )
            )
        except (ArgumentError, CorpusError):
            return ()
    return tuple(rules)


def calibrated_ratios(
    rules: Iterable[Verification], scores: VerificationScores, *, protocol: str = "whole", group: str = POOLED
) -> Float64[np.ndarray, " trials"] | None:
    """Log-likelihood ratios of a group of trials, each by the level that its recordings have enough speech for.

    Args:
      rules: what scores mean, by protocol.
      scores: by this protocol.
      protocol: a key of :data:`jaxspk.systems.PROTOCOLS`; None comes of one without a rule.
      group: of the trials.
    """
    for rule in rules:
        if rule.protocol == protocol:
            scored = scores.groups[group]
            shorter = np.minimum(*(scores.speech_seconds[side] for side in (scored.group.enrol, scored.group.test)))
            ratios = np.empty(len(scored.scores))
            # The last level that a trial has enough speech for; the first also serves shorter recordings.
            for number, level in enumerate(rule.levels):
                fits = (shorter >= level.speech_seconds) | (number == 0)
                ratios[fits] = level.calibration.log_likelihood_ratio(scored.scores[fits])
            return ratios
    return None


def calibrated_scores(
    outcome: SpeakerOutcome, *, protocol: str = "whole", group: str = POOLED
) -> Float64[np.ndarray, " trials"] | None:
    """The same of the test speakers' trials, by the calibration from validation speakers."""
    return calibrated_ratios(outcome.calibration, outcome.scores[protocol], protocol=protocol, group=group)


def calibrated_errors(outcome: SpeakerOutcome, protocol: str = "whole") -> ErrorRates | None:
    """What decisions by the calibration cost on the test speakers; None without a calibration."""
    ratios = calibrated_scores(outcome, protocol=protocol)
    if ratios is None:
        return None
    return ErrorRates.measure(ratios, outcome.scores[protocol].groups[POOLED].group.labels)


def _write_tables(outcome: SpeakerOutcome, results: Path) -> None:
    rows = [{"protocol": name, **row} for name, scores in outcome.scores.items() for row in summary_rows(scores)]
    data.write_table(results / SUMMARY_FILE, list(rows[0]), rows)
    # Named from the folder they all lie in, as a list of trials names them.
    root = Path(os.path.commonpath([utterance.path.parent for utterance in outcome.speech.test]))
    write_trial_scores(
        results / SCORES_FILE,
        outcome.scores["whole"],
        lambda path: path.relative_to(root).as_posix().replace(" ", "_"),
    )
